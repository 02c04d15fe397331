"""Claims about the conversions queue, in simulated time, against a plain account of its rules."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock
from core.context import Span
from core.delivery.queue import MAX_ATTEMPTS, ConversionQueue
from core.errors import StoreError
from core.metrics.profiler import LatencyProfiler
from sim.loop import SimLoop

WAIT = 1.0


@dataclass(slots=True)
class Batch:
    """One attempt at a batch as the consumer saw it."""

    ids: list[str]
    span: Span
    started: float
    ended: float | None = None


@dataclass(slots=True)
class Consumer:
    """Takes batches for as long as it is told and fails those that it is told."""

    loop: SimLoop
    seconds: Callable[[int], float] = lambda _: 0.0
    fails: Callable[[int, Sequence[str]], bool] = lambda *_: False
    attempts: list[Batch] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def process(self, span: Span, ids: Sequence[str]) -> None:
        number = len(self.attempts)
        batch = Batch([*ids], span, self.loop.env.now)
        self.attempts.append(batch)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.loop.until(batch.started + self.seconds(number))
        self.running -= 1
        batch.ended = self.loop.env.now
        if self.fails(number, ids):
            raise StoreError("the database is away")

    @property
    def batches(self) -> list[list[str]]:
        return [batch.ids for batch in self.attempts]


class LoopClock:
    """The clock of a simulated loop."""

    origin_ms = 0

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return self._loop.time()


@dataclass(frozen=True, slots=True)
class Bench:
    """A queue on simulated time, its consumer and its profiler."""

    loop: SimLoop
    queue: ConversionQueue
    consumer: Consumer
    profiler: LatencyProfiler

    async def until(self, when: float) -> None:
        """Wait until *when*."""
        await self.loop.until(when)


def on_bench(
    scene: Callable[[Bench], Awaitable[None]],
    *,
    batch_size: int = 3,
    max_parallel: int = 2,
    wait: float = WAIT,
    seconds: Callable[[int], float] = lambda _: 0.0,
    fails: Callable[[int, Sequence[str]], bool] = lambda *_: False,
    retry_delay: float = 0.0,
    doubles: bool = True,
    max_attempts: int = 3,
) -> Bench:
    """Run *scene* on a queue in simulated time; return what it was run on."""
    loop = SimLoop(simpy.Environment())
    consumer = Consumer(loop, seconds, fails)
    profiler = LatencyProfiler()
    queue = ConversionQueue(
        consumer.process, batch_size=batch_size, max_parallel=max_parallel, wait=wait,
        clock=LoopClock(loop), profiler=profiler, retry_delay=retry_delay,
        doubles=doubles, max_attempts=max_attempts,
    )  # fmt: skip
    bench = Bench(loop, queue, consumer, profiler)

    async def run() -> None:
        await scene(bench)

    try:
        loop.run(run())
    finally:
        loop.close()
    return bench


def test_full_batch_is_handed_out_at_once() -> None:
    async def scene(bench: Bench) -> None:
        for name in "abcdefg":
            bench.queue.put(name)
        assert bench.queue.pending == 1 + 2  # one collected, two batches
        await bench.until(0.5)
        assert [b.started for b in bench.consumer.attempts] == [0.0, 0.0]
        assert bench.consumer.batches == [["a", "b", "c"], ["d", "e", "f"]]
        assert bench.queue.pending == 1

    on_bench(scene)


def test_batch_goes_when_its_first_conversion_has_waited_long_enough() -> None:
    async def scene(bench: Bench) -> None:
        await bench.until(5.0)
        bench.queue.put("a")
        await bench.until(5.9)
        bench.queue.put("b")
        await bench.until(6.5)
        bench.queue.put("c")
        await bench.until(100.0)
        assert [(b.started, b.ids) for b in bench.consumer.attempts] == [
            (6.0, ["a", "b"]),
            (7.5, ["c"]),
        ]

    on_bench(scene)


def test_timer_of_a_batch_that_was_full_does_not_cut_the_next_one_short() -> None:
    async def scene(bench: Bench) -> None:
        for name in "abc":
            bench.queue.put(name)
        await bench.until(0.8)
        bench.queue.put("d")
        await bench.until(10.0)
        assert [(b.started, b.ids) for b in bench.consumer.attempts] == [
            (0.0, ["a", "b", "c"]),
            (1.8, ["d"]),
        ]

    on_bench(scene)


def test_no_more_than_max_parallel_batches_run_at_a_time() -> None:
    async def scene(bench: Bench) -> None:
        for number in range(30):
            bench.queue.put(str(number))
        await bench.queue.drain()
        assert bench.consumer.most == 2
        assert [b.started for b in bench.consumer.attempts] == [
            0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0,
        ]  # fmt: skip

    on_bench(scene, seconds=lambda _: 1.0)


def test_drain_hands_out_what_is_collected_and_waits_for_all() -> None:
    async def scene(bench: Bench) -> None:
        for name in "abcd":
            bench.queue.put(name)
        await bench.queue.drain()
        assert bench.loop.time() == 0.5  # no waiting for the timer
        assert bench.consumer.batches == [["a", "b", "c"], ["d"]]
        assert all(batch.ended == 0.5 for batch in bench.consumer.attempts)
        assert bench.queue.pending == 0

    on_bench(scene, seconds=lambda _: 0.5)


def test_drain_of_an_idle_queue_returns_at_once() -> None:
    async def scene(bench: Bench) -> None:
        await bench.queue.drain()
        assert bench.loop.time() == 0.0
        assert bench.consumer.batches == []

    on_bench(scene)


def test_drain_waits_for_retries_too() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.put("a")
        await bench.queue.drain()
        assert bench.consumer.batches == [["a"], ["a"]]
        assert bench.loop.time() == 2.0

    on_bench(scene, seconds=lambda _: 1.0, fails=lambda number, _: number == 0)


def test_end_of_a_queue_without_a_backlog_waits_for_retries_that_are_put_off() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.put("a")
        await bench.queue.finish()
        assert [batch.started for batch in bench.consumer.attempts] == [0.0, 5.0]

    on_bench(scene, fails=lambda number, _: number == 0, retry_delay=5.0)


@pytest.mark.parametrize(
    ("doubles", "delay", "starts"),
    [
        (True, 5.0, [0.0, 5.0, 15.0, 35.0]),
        (False, 5.0, [0.0, 5.0, 10.0, 15.0]),
        (True, 30_000.0, [0.0, 30_000.0, 73_200.0, 116_400.0]),  # 12 h at most
    ],
)
def test_retries_wait_as_long_each_or_twice_as_long_each(
    doubles: bool, delay: float, starts: list[float]
) -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.put("a")
        await bench.queue.drain()
        assert [batch.started for batch in bench.consumer.attempts] == starts

    on_bench(scene, fails=lambda *_: True, retry_delay=delay, doubles=doubles, max_attempts=4)


def test_failed_batch_is_tried_again_behind_those_that_wait() -> None:
    async def scene(bench: Bench) -> None:
        for name in "abcdef":
            bench.queue.put(name)
        await bench.queue.drain()
        assert bench.consumer.batches == [["a", "b", "c"], ["d", "e", "f"], ["a", "b", "c"]]

    bench = on_bench(
        scene, max_parallel=1, seconds=lambda _: 1.0, fails=lambda number, _: number == 0
    )
    assert (bench.queue.retries, bench.queue.given_up, bench.queue.batches) == (1, 0, 3)


def test_batch_is_given_up_after_three_attempts_and_counted_by_conversions() -> None:
    async def scene(bench: Bench) -> None:
        for name in "abcd":
            bench.queue.put(name)
        await bench.queue.drain()

    bench = on_bench(scene, fails=lambda _, ids: "a" in ids)
    assert MAX_ATTEMPTS == 3
    assert sorted(bench.consumer.batches) == [["a", "b", "c"]] * 3 + [["d"]]
    assert (bench.queue.retries, bench.queue.given_up) == (2, 3)
    assert bench.queue.pending == 0


def test_what_was_given_up_can_be_queued_again() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.put("a")
        await bench.queue.drain()
        assert bench.queue.given_up == 1
        bench.queue.put("a")
        bench.queue.put("b")
        await bench.queue.drain()
        assert bench.consumer.batches[-1] == ["a", "b"]

    on_bench(scene, fails=lambda number, _: number < MAX_ATTEMPTS)


def test_conversions_come_in_batches_and_in_order() -> None:
    async def scene(bench: Bench) -> None:
        for number in range(7):
            bench.queue.put(str(number))
        await bench.queue.drain()
        assert bench.consumer.batches == [["0", "1", "2"], ["3", "4", "5"], ["6"]]

    on_bench(scene)


def test_time_of_a_batch_is_recorded_from_hand_out_to_its_last_result() -> None:
    async def scene(bench: Bench) -> None:
        for number in range(9):
            bench.queue.put(str(number))
        await bench.queue.drain()

    # Three batches, one at a time: waiting for the one before is no part of it. The second one's
    # first attempt fails: it goes behind the third and is in hand for all three spans.
    bench = on_bench(
        scene, max_parallel=1, seconds=lambda _: 0.5, fails=lambda number, _: number == 1
    )
    histogram = bench.profiler.histogram("queue")
    assert histogram.count == 3
    assert histogram.total_ns == (1 + 1 + 3) * 500_000_000


def test_spans_number_the_batches() -> None:
    async def scene(bench: Bench) -> None:
        for number in range(9):
            bench.queue.put(str(number))
        await bench.queue.drain()

    bench = on_bench(scene, fails=lambda number, _: number == 0)
    assert [batch.span.row for batch in bench.consumer.attempts] == [0, 1, 2, 3]
    assert all(batch.span.is_batch for batch in bench.consumer.attempts)


def test_bug_in_the_consumer_ends_a_simulation() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.put("a")
        await bench.queue.drain()

    def broken(*_: object) -> bool:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        on_bench(scene, fails=broken)


# --- random schedules --------------------------------------------------------------------------


def closings(puts: Sequence[float], size: int, wait: float) -> list[tuple[float, list[str]]]:
    """Return when each batch is closed, and its ids: a plain account of the rules.

    What arrives at the very end of a batch's wait still belongs to it.
    """
    batches: list[tuple[float, list[str]]] = []
    collecting: list[str] = []
    deadline = 0.0
    for number, time in enumerate(puts):
        if collecting and time > deadline:
            batches.append((deadline, collecting))
            collecting = []
        if not collecting:
            deadline = time + wait
        collecting.append(str(number))
        if len(collecting) == size:
            batches.append((time, collecting))
            collecting = []
    if collecting:
        # The drain after the last arrival closes it, unless its time has run out before.
        batches.append((min(deadline, puts[-1]), collecting))
    return batches


@given(
    # Quarters of a second: ties happen, and the sums are exact.
    puts=st.lists(st.integers(0, 40).map(lambda n: n / 4), min_size=1, max_size=40).map(sorted),
    size=st.integers(1, 5),
    parallel=st.integers(1, 3),
    wait=st.sampled_from([0.25, 0.5, 1.0, 5.0]),
    seconds=st.lists(st.integers(0, 12).map(lambda n: n / 4), min_size=40, max_size=40),
)
def test_batches_and_their_starts_are_those_of_a_plain_account(
    puts: list[float], size: int, parallel: int, wait: float, seconds: list[float]
) -> None:
    async def scene(bench: Bench) -> None:
        for number, time in enumerate(puts):
            bench.loop.call_at(time, bench.queue.put, str(number))
        await bench.until(puts[-1])
        await bench.queue.drain()

    bench = on_bench(
        scene, batch_size=size, max_parallel=parallel, wait=wait, seconds=seconds.__getitem__
    )
    expected = closings(puts, size, wait)
    assert bench.consumer.batches == [ids for _, ids in expected]
    free = [0.0] * parallel
    for number, (closed, _) in enumerate(expected):
        start = max(closed, heapq.heappop(free))
        heapq.heappush(free, start + seconds[number])
        assert bench.consumer.attempts[number].started == start


@given(
    puts=st.lists(st.integers(0, 40).map(lambda n: n / 4), min_size=1, max_size=40).map(sorted),
    size=st.integers(1, 5),
    parallel=st.integers(1, 3),
    seconds=st.lists(st.integers(0, 12).map(lambda n: n / 4), min_size=1, max_size=7),
    fates=st.lists(st.booleans(), min_size=1, max_size=7),
)
def test_nothing_is_lost_and_nothing_done_twice_whatever_fails(
    puts: list[float], size: int, parallel: int, seconds: list[float], fates: list[bool]
) -> None:
    async def scene(bench: Bench) -> None:
        for number, time in enumerate(puts):
            bench.loop.call_at(time, bench.queue.put, str(number))
        await bench.until(puts[-1])
        await bench.queue.drain()
        assert bench.queue.pending == 0

    def fails(number: int, _: Sequence[str]) -> bool:
        return fates[number % len(fates)]

    bench = on_bench(
        scene, batch_size=size, max_parallel=parallel,
        seconds=lambda number: seconds[number % len(seconds)], fails=fails,
    )  # fmt: skip
    attempts = bench.consumer.attempts
    done = [ids for number, ids in enumerate(bench.consumer.batches) if not fails(number, ids)]
    failed = [ids for number, ids in enumerate(bench.consumer.batches) if fails(number, ids)]
    given_up = [ids for ids in failed if ids not in done]
    once = {tuple(ids) for ids in given_up}
    stored = [name for ids in done for name in ids]
    assert sorted(stored + [name for ids in once for name in ids], key=int) == [
        str(number) for number in range(len(puts))
    ]
    assert bench.queue.given_up == sum(len(ids) for ids in once)
    assert all(failed.count([*ids]) == MAX_ATTEMPTS for ids in once)
    assert all(failed.count(ids) < MAX_ATTEMPTS for ids in done)
    assert bench.queue.retries == len(failed) - len(once)
    assert bench.queue.batches == len(attempts)
    assert max(len(batch.ids) for batch in attempts) <= size
    assert bench.consumer.most <= parallel
    histogram = bench.profiler.histogram("queue")
    assert (histogram.count, histogram.failed) == (len(done) + len(once), len(once))


@pytest.mark.parametrize("drains", [1, 3])
def test_every_drain_at_a_time_returns(drains: int) -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.put("a")
        await asyncio.gather(*(bench.queue.drain() for _ in range(drains)))
        assert bench.consumer.batches == [["a"]]

    on_bench(scene, seconds=lambda _: 1.0)


def test_conversion_that_arrives_during_a_drain_is_handed_out_in_its_time() -> None:
    async def scene(bench: Bench) -> None:
        bench.queue.put("a")
        bench.loop.call_at(0.5, bench.queue.put, "b")
        await bench.queue.drain()
        assert bench.loop.time() == 1.0
        await bench.until(10.0)
        assert [(b.started, b.ids) for b in bench.consumer.attempts] == [
            (0.0, ["a"]), (1.5, ["b"]),
        ]  # fmt: skip

    on_bench(scene, seconds=lambda _: 1.0)


def on_asyncio(
    process: Callable[[Span, Sequence[str]], Awaitable[None]],
    scene: Callable[[ConversionQueue], Awaitable[None]],
) -> list[str]:
    """Run *scene* on a queue of asyncio's own loop; return what its exception handler was told."""
    told: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(repr(context["exception"])))
        queue = ConversionQueue(
            process, batch_size=10, max_parallel=1, wait=0.001, clock=SystemClock(),
            profiler=LatencyProfiler(),
        )  # fmt: skip
        await asyncio.wait_for(scene(queue), 30)

    asyncio.run(main())
    return told


def test_queue_runs_on_asyncios_own_loop_too() -> None:
    handled: list[str] = []
    came = asyncio.Event()

    async def process(_: Span, ids: Sequence[str]) -> None:
        handled.extend(ids)
        came.set()

    async def scene(queue: ConversionQueue) -> None:
        queue.put("a")
        await came.wait()  # its timer has rung
        queue.put("b")
        await queue.drain()

    assert on_asyncio(process, scene) == []
    assert handled == ["a", "b"]


def test_bug_in_the_consumer_is_told_and_does_not_stop_the_queue() -> None:
    handled: list[str] = []

    async def process(_: Span, ids: Sequence[str]) -> None:
        if "a" in ids:
            raise ZeroDivisionError("a bug")
        handled.extend(ids)

    async def scene(queue: ConversionQueue) -> None:
        queue.put("a")
        await queue.drain()
        queue.put("b")
        await queue.drain()
        assert (queue.retries, queue.pending) == (0, 0)

    assert on_asyncio(process, scene) == ["ZeroDivisionError('a bug')"]
    assert handled == ["b"]
