"""Ordinary asyncio code runs on simulated time, in exact time and in a stated order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pytest
import simpy
from hypothesis import assume, given
from hypothesis import strategies as st

from sim.loop import SimLoop
from tests.sim.runs import simulated

_T = TypeVar("_T")


def run(main: Callable[[SimLoop], Coroutine[Any, Any, _T]]) -> tuple[_T, float]:
    """Return what *main* returns on a new loop, and when."""

    async def timed(loop: SimLoop) -> tuple[_T, float]:
        return await main(loop), loop.time()

    with simulated() as loop:
        return loop.run(timed(loop))


# A small language of programs whose duration can be computed by hand.


@dataclass(frozen=True)
class Sleep:
    """Wait for a number of 1/64 s, which floats hold exactly."""

    ticks: int


@dataclass(frozen=True)
class Steps:
    """One program after another."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Together:
    """All programs at once, with gather or in a TaskGroup."""

    parts: tuple[Any, ...]
    in_group: bool


@dataclass(frozen=True)
class Limited:
    """A program that is cut off after a number of 1/64 s, with wait_for or a timeout block."""

    part: Any
    ticks: int
    in_block: bool


class Tie(Exception):
    """A program that ends just when its time is up: asyncio promises nothing about it."""


programs = st.recursive(
    st.builds(Sleep, st.integers(1, 200)),
    lambda parts: st.one_of(
        st.builds(Steps, st.lists(parts, min_size=1, max_size=3).map(tuple)),
        st.builds(Together, st.lists(parts, min_size=1, max_size=3).map(tuple), st.booleans()),
        st.builds(Limited, parts, st.integers(1, 200), st.booleans()),
    ),
    max_leaves=12,
)


def ticks_of(program: Any) -> int:
    """Return how long *program* lasts in 1/64 s."""
    if isinstance(program, Sleep):
        return program.ticks
    if isinstance(program, Steps):
        return sum(ticks_of(part) for part in program.parts)
    if isinstance(program, Together):
        return max(ticks_of(part) for part in program.parts)
    whole = ticks_of(program.part)
    if whole == program.ticks:
        raise Tie
    return min(whole, int(program.ticks))


async def perform(program: Any) -> None:
    if isinstance(program, Sleep):
        await asyncio.sleep(program.ticks / 64)
    elif isinstance(program, Steps):
        for part in program.parts:
            await perform(part)
    elif isinstance(program, Together) and program.in_group:
        async with asyncio.TaskGroup() as group:
            for part in program.parts:
                group.create_task(perform(part))
    elif isinstance(program, Together):
        await asyncio.gather(*(perform(part) for part in program.parts))
    elif program.in_block:
        with suppress(TimeoutError):
            async with asyncio.timeout(program.ticks / 64):
                await perform(program.part)
    else:
        with suppress(TimeoutError):
            await asyncio.wait_for(perform(program.part), program.ticks / 64)


@given(programs)
def test_sleeps_timeouts_groups_and_gathers_take_their_exact_time(program: Any) -> None:
    try:
        ticks = ticks_of(program)
    except Tie:
        assume(False)

    async def main(loop: SimLoop) -> None:
        assert asyncio.get_running_loop() is loop
        await perform(program)

    assert run(main)[1] == ticks / 64


def test_semaphore_admits_as_many_as_it_says_first_come_first_served() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, float]]:
        semaphore, left = asyncio.Semaphore(2), []

        async def visit(number: int) -> None:
            async with semaphore:
                await asyncio.sleep(1 + number / 8)
                left.append((number, loop.time()))

        await asyncio.gather(*(visit(number) for number in range(5)))
        return left

    # Two servers: 0 until 1, 1 until 1.125, 2 from 1, 3 from 1.125, 4 from 2.25.
    assert run(main)[0] == [(0, 1.0), (1, 1.125), (2, 2.25), (3, 2.5), (4, 3.75)]


def test_bounded_queue_holds_its_producer_back() -> None:
    async def main(loop: SimLoop) -> tuple[list[float], list[tuple[int, float]]]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        put: list[float] = []
        got: list[tuple[int, float]] = []

        async def produce() -> None:
            for number in range(4):
                await queue.put(number)
                put.append(loop.time())

        async def consume() -> None:
            for _ in range(4):
                await asyncio.sleep(1)
                got.append((await queue.get(), loop.time()))

        await asyncio.gather(produce(), consume())
        return put, got

    put, got = run(main)[0]
    assert put == [0.0, 1.0, 2.0, 3.0]
    assert got == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]


def test_shielded_work_goes_on_when_its_waiter_gives_up() -> None:
    async def main(loop: SimLoop) -> tuple[float, float]:
        async def work() -> float:
            await asyncio.sleep(3)
            return loop.time()

        task = asyncio.ensure_future(work())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 1)
        gave_up = loop.time()
        return gave_up, await task

    assert run(main) == ((1.0, 3.0), 3.0)


def test_failure_in_a_task_group_cancels_the_others_at_once() -> None:
    async def main(loop: SimLoop) -> list[float]:
        cancelled = []

        async def bystander() -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancelled.append(loop.time())
                raise

        async def fail() -> None:
            await asyncio.sleep(2)
            raise ValueError("planned")

        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(bystander())
                group.create_task(fail())

        with pytest.raises(ExceptionGroup) as caught:
            await together()
        assert [str(error) for error in caught.value.exceptions] == ["planned"]
        return cancelled

    assert run(main) == ([2.0], 2.0)


def test_cancelled_timer_never_fires_and_takes_no_time() -> None:
    async def main(loop: SimLoop) -> list[str]:
        fired: list[str] = []
        kept = loop.call_later(1, fired.append, "kept")
        dropped = loop.call_later(2, fired.append, "dropped")
        assert (kept.when(), dropped.when()) == (1.0, 2.0)
        dropped.cancel()
        assert dropped.cancelled()
        await asyncio.sleep(1.5)
        return fired

    assert run(main) == (["kept"], 1.5)


def test_time_in_the_past_means_now() -> None:
    async def main(loop: SimLoop) -> list[float]:
        seen: list[float] = []
        await asyncio.sleep(5)
        loop.call_at(1, lambda: seen.append(loop.time()))
        loop.call_later(-3, lambda: seen.append(loop.time()))
        await loop.until(2.0)
        seen.append(loop.time())
        return seen

    assert run(main)[0] == [5.0, 5.0, 5.0]


def test_result_and_error_of_the_main_coroutine_come_out() -> None:
    async def succeed() -> str:
        return "result"

    async def fail() -> None:
        await asyncio.sleep(1)
        raise LookupError("planned")

    with simulated() as loop:
        assert loop.run(succeed()) == "result"
        with pytest.raises(LookupError, match="planned"):
            loop.run(fail())


# SimPy beside coroutines.


def holding(
    env: simpy.Environment,
    resource: simpy.Resource,
    log: list[tuple[int, float, float]],
    count: int,
) -> None:
    """Send *count* customers of SimPy's own through *resource*."""

    def customer(number: int) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(number * 0.25)
        arrived = env.now
        with resource.request() as request:
            yield request
            yield env.timeout(1 + number / 16)
        log.append((number, arrived, env.now))

    for number in range(count):
        env.process(customer(number))


def test_simpy_processes_run_as_they_do_alone_while_coroutines_share_their_time() -> None:
    alone, beside = simpy.Environment(), simpy.Environment()
    expected: list[tuple[int, float, float]] = []
    found: list[tuple[int, float, float]] = []
    holding(alone, simpy.Resource(alone, 2), expected, 12)
    alone.run()
    holding(beside, simpy.Resource(beside, 2), found, 12)

    async def tick(loop: SimLoop) -> list[float]:
        times = []
        for _ in range(40):
            await asyncio.sleep(0.25)
            times.append(loop.time())
        return times

    with simulated(beside) as loop:
        assert loop.run(tick(loop)) == [0.25 * n for n in range(1, 41)]
    assert found == expected
    assert len(expected) == 12


def test_coroutine_waits_for_a_simpy_event() -> None:
    env = simpy.Environment()

    async def main(loop: SimLoop) -> tuple[str, float]:
        future: asyncio.Future[str] = loop.create_future()
        event = env.timeout(2.5, value="from simpy")
        assert event.callbacks is not None
        event.callbacks.append(lambda done: future.set_result(str(done.value)))
        return await future, loop.time()

    with simulated(env) as loop:
        assert loop.run(main(loop)) == ("from simpy", 2.5)


def test_failure_of_a_simpy_process_ends_the_run() -> None:
    env = simpy.Environment()

    def fail() -> Generator[simpy.Event, Any, None]:
        yield env.timeout(1)
        raise ArithmeticError("planned")

    env.process(fail())

    async def wait() -> None:
        await asyncio.sleep(10)

    with simulated(env) as loop, pytest.raises(ArithmeticError, match="planned"):
        loop.run(wait())


# Order.


def test_everything_ready_runs_before_the_next_timed_event_of_the_same_instant() -> None:
    async def main(loop: SimLoop) -> list[str]:
        order: list[str] = []

        def first() -> None:
            order.append("first timer")
            loop.call_soon(order.append, "soon")
            loop.call_soon(lambda: loop.call_soon(order.append, "sooner of the soon"))

        loop.call_at(1, first)
        loop.call_at(1, order.append, "second timer")
        await asyncio.sleep(2)
        return order

    assert run(main)[0] == ["first timer", "soon", "sooner of the soon", "second timer"]


@given(
    st.lists(st.tuples(st.sampled_from(["call", "flow", "future", "simpy"]), st.integers(0, 4))),
    st.lists(st.integers(0, 4)).map(sorted),
)
def test_ties_follow_the_order_of_scheduling_and_arrivals_come_last(
    events: list[tuple[str, int]], arrivals: list[int]
) -> None:
    env = simpy.Environment()
    order: list[tuple[float, Any]] = []

    async def main(loop: SimLoop) -> None:
        def note(what: Any) -> None:
            order.append((loop.time(), what))

        def note_event(what: Any, _: object) -> None:
            note(what)

        async def flow(what: Any) -> None:
            note(what)

        for number, (kind, when) in enumerate(events):
            if kind == "call":
                loop.call_at(when, note, number)
            elif kind == "flow":
                loop.start_at(when, flow(number))
            elif kind == "simpy":
                timeout = env.timeout(when)
                assert timeout.callbacks is not None
                timeout.callbacks.append(partial(note_event, number))
            else:
                future = loop.until(when)
                assert isinstance(future, asyncio.Future)
                future.add_done_callback(partial(note_event, number))
        await asyncio.sleep(10)

    with simulated(env) as loop:
        loop.run(main(loop), arrivals, lambda i: order.append((loop.time(), f"arrival {i}")))
    expected = [(float(when), 0, number, number) for number, (_, when) in enumerate(events)]
    late = [(float(when), 1, i, f"arrival {i}") for i, when in enumerate(arrivals)]
    assert order == [(when, what) for when, _, _, what in sorted([*expected, *late])]


def test_urgent_events_of_simpy_come_before_timers_of_their_instant() -> None:
    env = simpy.Environment()
    order: list[str] = []

    def process() -> Generator[simpy.Event, Any, None]:
        order.append("process starts")
        yield env.timeout(1)

    async def main(loop: SimLoop) -> None:
        loop.call_at(0, order.append, "timer")
        env.process(process())
        await asyncio.sleep(0.5)

    with simulated(env) as loop:
        loop.run(main(loop))
    assert order == ["process starts", "timer"]


def test_what_an_arrival_starts_at_its_instant_runs_before_the_next_arrival() -> None:
    order: list[str] = []

    async def request(number: int) -> None:
        order.append(f"request {number}")

    with simulated() as loop:

        def arrive(number: int) -> None:
            order.append(f"arrival {number}")
            loop.start_at(loop.time(), request(number))

        async def main() -> None:
            await asyncio.sleep(2)

        loop.run(main(), [1.0, 1.0], arrive)
    assert order == ["arrival 0", "request 0", "arrival 1", "request 1"]


# What has no meaning in simulated time.


async def _sleep_for_nothing() -> None:
    await asyncio.sleep(0)


async def _use_a_thread() -> None:
    await asyncio.to_thread(len, "")


async def _use_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, len, "")


async def _call_from_a_thread() -> None:
    asyncio.get_running_loop().call_soon_threadsafe(len, "")


async def _wait_for_nobody() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (_sleep_for_nothing, r"asyncio\.sleep\(0\)"),
        (_use_a_thread, "threads"),
        (_use_an_executor, "executors"),
        (_call_from_a_thread, "threads"),
        (_wait_for_nobody, "nothing is left to happen"),
    ],
)
def test_what_cannot_be_simulated_is_a_clear_error_and_not_a_hang(
    main: Callable[[], Coroutine[Any, Any, None]], words: str
) -> None:
    with simulated() as loop, pytest.raises(RuntimeError, match=words):
        loop.run(main())


def test_sleep_of_zero_in_a_child_task_is_an_error_too() -> None:
    async def main() -> None:
        await asyncio.gather(asyncio.sleep(1), _sleep_for_nothing())

    with simulated() as loop, pytest.raises(RuntimeError, match=r"asyncio\.sleep\(0\)"):
        loop.run(main())


def test_starting_a_task_is_not_taken_for_a_sleep_of_zero() -> None:
    async def main(loop: SimLoop) -> list[int]:
        async def number(n: int) -> int:
            return n

        tasks = [asyncio.create_task(number(n)) for n in range(3)]
        return [await task for task in tasks]

    assert run(main) == ([0, 1, 2], 0.0)


# Flows.


def test_flow_waits_for_times_and_for_futures() -> None:
    async def main(loop: SimLoop) -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []
        future: asyncio.Future[str] = loop.create_future()
        over = loop.create_future()

        async def flow() -> None:
            seen.append(("started", loop.time()))
            await loop.until(3.0)
            seen.append(("until", loop.time()))
            await loop.until(1.0)
            seen.append(("past", loop.time()))
            seen.append((await future, loop.time()))
            await loop.until(7.0)
            over.set_result(None)

        loop.start_at(2, flow())
        loop.call_at(5, future.set_result, "future")
        await over
        return seen

    assert run(main) == (
        [("started", 2.0), ("until", 3.0), ("past", 3.0), ("future", 5.0)],
        7.0,
    )


def test_flow_gets_the_exception_of_the_future_that_it_waits_for() -> None:
    async def main(loop: SimLoop) -> str:
        future: asyncio.Future[None] = loop.create_future()
        told: asyncio.Future[str] = loop.create_future()

        async def flow() -> None:
            try:
                await future
            except LookupError as error:
                told.set_result(str(error))

        loop.start_at(0, flow())
        loop.call_at(1, future.set_exception, LookupError("planned"))
        return await told

    assert run(main) == ("planned", 1.0)


@pytest.mark.parametrize("waits", [False, True])
def test_error_of_a_flow_ends_the_run(waits: bool) -> None:
    async def main(loop: SimLoop) -> None:
        async def flow() -> None:
            if waits:
                await loop.until(2.0)
            raise LookupError("planned")

        loop.start_at(1, flow())
        await asyncio.sleep(10)

    with simulated() as loop:
        with pytest.raises(LookupError, match="planned"):
            loop.run(main(loop))
        assert loop.time() == (2.0 if waits else 1.0)


def test_run_ends_with_its_main_coroutine_whatever_is_still_due() -> None:
    fired: list[str] = []

    async def main(loop: SimLoop) -> None:
        loop.call_at(2, fired.append, "later")
        await asyncio.sleep(1)

    with simulated() as loop:
        loop.run(main(loop))
        assert (loop.time(), fired) == (1.0, [])


def test_flow_that_sleeps_for_nothing_is_a_clear_error() -> None:
    async def main(loop: SimLoop) -> None:
        loop.start_at(1, _sleep_for_nothing())
        await asyncio.sleep(10)

    with pytest.raises(RuntimeError, match="never ends"):
        run(main)


def test_flows_have_contexts_of_their_own() -> None:
    number: ContextVar[int] = ContextVar("number", default=-1)

    async def main(loop: SimLoop) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        async def flow(own: int) -> None:
            number.set(own)
            await loop.until(2.0)
            future = loop.create_future()
            loop.call_at(3, future.set_result, None)
            await future
            child = asyncio.create_task(_read(number))
            seen.append((own, await child))

        for own in range(5):
            loop.start_at(1, flow(own))
        await asyncio.sleep(4)
        assert number.get() == -1
        return seen

    assert run(main)[0] == [(own, own) for own in range(5)]


async def _read(variable: ContextVar[int]) -> int:
    return variable.get()


def test_garbage_collector_is_as_before_after_a_run_that_failed() -> None:
    import gc

    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with simulated() as loop, pytest.raises(RuntimeError, match="nothing is left"):
        loop.run(_wait_for_nobody())
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() <= frozen
