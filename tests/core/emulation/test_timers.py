"""Claims about timers on real time: the order is right, nothing is early, errors are counted."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import SystemClock
from core.emulation.timers import Timers

MILLISECOND = 0.001
LIMIT_SECONDS = 60.0

Scene = Callable[[Timers, SystemClock], Awaitable[None]]


async def wait(timers: Timers, when: float) -> bool:
    """Wait until *when*; return False if that was past, which a slow machine can bring about."""
    future = timers.until(when)
    assert isinstance(future, asyncio.Future)
    waits = not future.done()
    await future
    return waits


@pytest.fixture(params=["timerfd", "asyncio"])
def with_timers(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Scene], Timers]:
    """Return what runs a scene with timers of each kind, and returns them closed."""
    if request.param == "timerfd" and sys.platform != "linux":
        pytest.skip("only Linux has timerfd")

    def run(scene: Scene) -> Timers:
        async def main() -> Timers:
            clock = SystemClock()
            if request.param == "asyncio":
                monkeypatch.setattr(sys, "platform", "other")
            timers = Timers(clock)
            monkeypatch.undo()
            try:
                await asyncio.wait_for(scene(timers, clock), LIMIT_SECONDS)
            finally:
                timers.close()
            return timers

        return asyncio.run(main())

    return run


def test_nothing_is_done_before_its_time_less_a_millisecond(
    with_timers: Callable[[Scene], Timers],
) -> None:
    waited: list[bool] = []

    async def scene(timers: Timers, clock: SystemClock) -> None:
        async def one(delay: float) -> None:
            when = clock.now() + delay
            waited.append(await wait(timers, when))
            assert clock.now() - when > -MILLISECOND

        for _ in range(20):
            await asyncio.gather(*(one(n * 0.00037) for n in range(1, 30)))

    assert with_timers(scene).waits == sum(waited)


def test_futures_are_done_in_the_order_of_their_times(
    with_timers: Callable[[Scene], Timers],
) -> None:
    async def scene(timers: Timers, clock: SystemClock) -> None:
        start = clock.now() + 0.02
        # A fixed shuffle; two at every time, of which the one asked for first comes first.
        delays = [(n * 37 % 100) * 0.0002 for n in range(100)] * 2
        waited: list[int] = []
        done: list[int] = []

        async def one(number: int) -> None:
            future = timers.until(start + delays[number])
            assert isinstance(future, asyncio.Future)
            if not future.done():  # on a slow machine its time may be past already
                waited.append(number)
                await future
                done.append(number)

        await asyncio.gather(*(one(number) for number in range(len(delays))))
        assert done == sorted(waited, key=lambda n: (delays[n], n))

    with_timers(scene)


def test_earlier_time_that_is_asked_for_later_comes_first(
    with_timers: Callable[[Scene], Timers],
) -> None:
    waited: list[bool] = []

    async def scene(timers: Timers, clock: SystemClock) -> None:
        now = clock.now()
        late = timers.until(now + LIMIT_SECONDS * 10)
        waited.append(await wait(timers, now + 0.02))
        assert isinstance(late, asyncio.Future)
        assert not late.done()

    assert with_timers(scene).waits == sum(waited)


@pytest.mark.parametrize("ago", [0.0, 1e-9, 1.0, 1e6, math.inf])
def test_past_time_is_done_at_once_and_no_wait(
    with_timers: Callable[[Scene], Timers], ago: float
) -> None:
    async def scene(timers: Timers, clock: SystemClock) -> None:
        future = timers.until(clock.now() - ago)
        assert isinstance(future, asyncio.Future)
        assert future.done()
        await future

    timers = with_timers(scene)
    assert (timers.waits, timers.error_seconds) == (0, 0.0)


def test_waits_and_their_errors_are_counted(with_timers: Callable[[Scene], Timers]) -> None:
    errors: list[float] = []

    async def scene(timers: Timers, clock: SystemClock) -> None:
        for _ in range(50):
            when = clock.now() + 0.0013
            if await wait(timers, when):
                errors.append(clock.now() - when)

    timers = with_timers(scene)
    assert timers.waits == len(errors)
    # Each was counted when its timer rang, a moment before its waiter ran.
    assert -50 * MILLISECOND < timers.error_seconds <= sum(errors)


def test_waiter_that_was_cancelled_holds_up_nobody(
    with_timers: Callable[[Scene], Timers],
) -> None:
    async def scene(timers: Timers, clock: SystemClock) -> None:
        # Far enough ahead for all to be waiting when half of them are cancelled.
        start = clock.now() + 0.3
        tasks = [asyncio.ensure_future(wait(timers, start + 0.0001 * n)) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes]
        assert cancelled == [True, False] * 10

    assert with_timers(scene).waits == 20


def test_waiters_of_closed_timers_stay_undone(with_timers: Callable[[Scene], Timers]) -> None:
    waiting: list[asyncio.Future[None]] = []

    async def scene(timers: Timers, clock: SystemClock) -> None:
        future = timers.until(clock.now() + 0.002)
        assert isinstance(future, asyncio.Future)
        waiting.append(future)
        timers.close()
        timers.close()  # again does no harm
        other = Timers(clock)
        await other.until(clock.now() + 0.02)
        other.close()

    assert with_timers(scene).waits == 0
    assert not waiting[0].done()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has timerfd")
def test_closed_timer_gives_its_descriptor_back() -> None:
    def open_descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def main() -> None:
        clock = SystemClock()
        Timers(clock).close()
        before = open_descriptors()
        for _ in range(20):
            timers = Timers(clock)
            await timers.until(clock.now() + 0.0001)
            assert open_descriptors() == before + 1
            timers.close()
        assert open_descriptors() == before

    asyncio.run(main())


def test_waits_started_by_waiters_are_met_too(with_timers: Callable[[Scene], Timers]) -> None:
    waited: list[bool] = []

    async def scene(timers: Timers, clock: SystemClock) -> None:
        async def chain(length: int) -> None:
            for _ in range(length):
                when = clock.now() + 0.0005
                waited.append(await wait(timers, when))
                assert clock.now() - when > -MILLISECOND

        await asyncio.gather(*(chain(n) for n in range(1, 20)))

    assert with_timers(scene).waits == sum(waited)
    assert len(waited) == sum(range(1, 20))


@settings(max_examples=25)
@given(st.lists(st.integers(-5, 60), min_size=1, max_size=40))
def test_any_times_are_met_in_order(hundreds_of_microseconds: list[int]) -> None:
    async def main() -> None:
        clock = SystemClock()
        timers = Timers(clock)
        start = clock.now()
        waited: list[float] = []
        done: list[float] = []

        async def one(delay: float) -> None:
            future = timers.until(start + delay)
            assert isinstance(future, asyncio.Future)
            if future.done():
                assert clock.now() - start >= delay
                return
            waited.append(delay)
            await future
            assert clock.now() - start > delay - MILLISECOND
            done.append(delay)

        delays = [n * 1e-4 for n in hundreds_of_microseconds]
        await asyncio.wait_for(asyncio.gather(*map(one, delays)), LIMIT_SECONDS)
        timers.close()
        assert done == sorted(waited)
        assert timers.waits == len(waited)

    asyncio.run(main())
