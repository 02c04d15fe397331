"""A run whose halves met a machine of two speeds says so, and no other does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.halves import LIMIT, READINGS, Speeds, work_ns
from edgeproof.paired import comparison, timing


def sampled(works: Sequence[float], times: Sequence[float] | None = None) -> Speeds:
    """Return the speeds of a run whose samples are *works*, at *times*."""
    readings = iter([work for work in works for _ in range(READINGS)])
    clock = iter(times if times is not None else range(len(works)))
    speeds = Speeds(clock=lambda: next(clock), work=lambda: next(readings))
    for _ in works:
        speeds.sample()
    return speeds


@pytest.mark.parametrize(
    ("works", "words"),
    [
        ([100, 100, 106, 106], "6% slower"),
        ([106, 106, 100, 100], "6% faster"),
        ([100, 100, 200, 200], "50% slower"),
        ([100, 150], "33% slower"),
        ([100, 100, 100, 900, 100, 100], ""),  # one sample that was interrupted
        ([100, 104], ""),
        ([100, 105], ""),
        ([105, 100], ""),
        ([100], ""),
        ([], ""),
    ],
)
def test_line_says_by_how_much_the_halves_differ(works: list[float], words: str) -> None:
    line = sampled(works).line()
    if not words:
        assert line == ""
    else:
        assert line.startswith(f"The CPU was {words} in the second half of this run")


def test_halves_are_those_of_the_time_not_of_the_samples() -> None:
    # Six samples in the first minute and one at the end of a run of ten minutes.
    speeds = sampled([100, 100, 100, 100, 100, 100, 120], [0, 10, 20, 30, 40, 50, 600])
    assert speeds.ratio() == pytest.approx(1.2)
    assert "17% slower" in speeds.line("take care")
    assert speeds.line("take care").endswith(": take care.")


def test_samples_at_one_moment_have_no_halves() -> None:
    speeds = sampled([100, 200], [5, 5])
    assert speeds.ratio() is None
    assert speeds.line() == ""


def test_loop_is_sampled_before_each_round_and_after_the_last() -> None:
    clock, taken = iter(range(9)), []

    def work() -> float:
        taken.append(1)
        return 100.0

    speeds = Speeds(clock=lambda: next(clock), work=work)
    seen = [(number, len(taken) // READINGS) for number in speeds.between("abc")]
    assert seen == [("a", 1), ("b", 2), ("c", 3)]
    assert len(taken) == 4 * READINGS
    assert speeds.work == 100.0
    assert Speeds().work is None


def test_limit_and_work_are_those_of_bench_compare() -> None:
    # What runs in a measured project imports nothing of `bench`, so that both state them.
    assert comparison.SPEEDS_DIFFER == LIMIT
    assert timing.speed_ns.__code__.co_consts[1:] == work_ns.__code__.co_consts[1:]
    assert timing.speed_ns.__code__.co_code == work_ns.__code__.co_code
    assert work_ns() > 0
