"""Claims that every clock keeps, and those of the clock that stands still."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from core.clock import DATA_EPOCH_MS, Clock, ManualClock, SystemClock, epoch_ms


@pytest.fixture(params=[ManualClock, SystemClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    make: Callable[[], Clock] = request.param
    return make()


def test_a_new_clock_is_not_below_0_and_never_goes_back(clock: Clock) -> None:
    times = [clock.now() for _ in range(1_000)]
    assert times[0] >= 0
    assert all(later >= earlier for earlier, later in pairwise(times))


def test_the_origin_stays_where_it_is(clock: Clock) -> None:
    origin = clock.origin_ms
    clock.now()
    assert clock.origin_ms == origin
    assert isinstance(origin, int)


def test_epoch_time_is_the_origin_and_whole_milliseconds_since(clock: Clock) -> None:
    before = clock.now()
    stamp = epoch_ms(clock)
    after = clock.now()
    assert isinstance(stamp, int)
    assert int(before * 1000) <= stamp - clock.origin_ms <= int(after * 1000)


def test_two_system_clocks_agree_on_the_scale_of_the_machine() -> None:
    one, other = SystemClock(), SystemClock()
    first = one.now()
    second = other.now()
    third = one.now()
    assert first <= second <= third
    assert abs(other.origin_ms - one.origin_ms) < 60_000


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5.0)
    assert clock.now() == clock.now() == 5.0
    clock.advance(2.5)
    clock.advance(0.0)
    assert clock.now() == 7.5


def test_a_manual_clock_does_not_go_back() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match=r"cannot go back by 0\.5 s"):
        clock.advance(-0.5)
    assert clock.now() == 0.0


@pytest.mark.parametrize(("now", "milliseconds"), [(0.0, 0), (0.0009, 0), (1.5, 1500)])
def test_epoch_milliseconds_are_rounded_down(now: float, milliseconds: int) -> None:
    assert epoch_ms(ManualClock(now)) == DATA_EPOCH_MS + milliseconds
