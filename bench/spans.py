"""What a span of the profiler costs beside a bare context manager: `python -m bench.spans`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from itertools import repeat
from statistics import median
from time import perf_counter, process_time, thread_time_ns
from types import TracebackType
from typing import Any

from bench.halves import Speeds
from core.clock import SystemClock
from core.metrics.profiler import LatencyProfiler

ROUNDS = 50
SPANS = 2_112
STAGES = 10
"""Stages of a request."""

TASKS = 16
"""Requests at a time."""

TARGET = 2e-6
"""Seconds that a span may cost."""

_WITHOUT = f"{TASKS} tasks of {STAGES} awaits"
_WITH = "the same with a span around each"


class Timed:
    """The minimal context manager that times its body."""

    __slots__ = ("seconds", "started")

    def __enter__(self) -> None:
        self.started = perf_counter()

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.seconds = perf_counter() - self.started


def bare(calls: int) -> float:
    """Return the CPU nanoseconds of one of *calls* pieces of work that `Timed` times."""
    started = thread_time_ns()
    for _ in repeat(None, calls):
        with Timed():
            pass
    return (thread_time_ns() - started) / calls


def spans() -> Callable[[int], float]:
    """Return a function that times the same work by spans outside of a request."""
    profiler = LatencyProfiler(SystemClock())

    def timed(calls: int) -> float:
        started = thread_time_ns()
        for _ in repeat(None, calls):
            with profiler.span("query", "load_user"):
                pass
        return (thread_time_ns() - started) / calls

    return timed


def requests() -> Callable[[int], float]:
    """Return a function for spans in requests of STAGES each; a request is a span, too."""
    profiler = LatencyProfiler(SystemClock())

    def timed(calls: int) -> float:
        count = calls // (STAGES + 1) + 1
        started = thread_time_ns()
        for _ in repeat(None, count):
            with profiler.span("request", "checkout"):
                for _ in repeat(None, STAGES):
                    with profiler.span("query", "load_user"):
                        pass
        return (thread_time_ns() - started) / (count * (STAGES + 1))

    return timed


def measure(machine: Speeds, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return CPU seconds per span of each way to time something, an entry a round, in turns.

    Raise ValueError for less than one round.
    """
    if rounds < 1:
        raise ValueError(f"{rounds} rounds; at least 1 is needed")
    profiler = LatencyProfiler(SystemClock())

    def alone(open_span: Callable[[], AbstractContextManager[object]]) -> None:
        for _ in range(SPANS):
            with open_span():
                pass

    def nested() -> None:
        for _ in range(SPANS // (STAGES + 1)):
            with profiler.span("request", "checkout"):
                for _ in range(STAGES):
                    with profiler.span("query", "load_user"):
                        pass

    async def stage() -> None:
        await asyncio.sleep(0)

    async def timed_stage() -> None:
        with profiler.span("query", "load_user"):
            await asyncio.sleep(0)

    async def request() -> None:
        for _ in range(STAGES):
            await stage()

    async def timed_request() -> None:
        with profiler.span("request", "checkout"):
            for _ in range(STAGES):
                await timed_stage()

    async def in_tasks(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        for _ in range(SPANS // (STAGES + 1) // TASKS):
            await asyncio.gather(*(run() for _ in range(TASKS)))

    ways: dict[str, Callable[[], None]] = {
        "context manager, two perf_counter": lambda: alone(Timed),
        "span, outside of a request": lambda: alone(lambda: profiler.span("query", "load_user")),
        "request": lambda: alone(lambda: profiler.span("request", "checkout")),
        f"request with {STAGES} spans nested in it": nested,
        _WITHOUT: lambda: asyncio.run(in_tasks(request)),
        _WITH: lambda: asyncio.run(in_tasks(timed_request)),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in machine.between(range(rounds + 1)):
        for name, run in ways.items():
            started = process_time()
            run()
            if number:
                taken[name].append((process_time() - started) / SPANS)
    return taken


def main(arguments: Sequence[str]) -> int:
    """Print microseconds per span; the one argument is the number of rounds."""
    if {"-h", "--help"} & {*arguments}:
        print(__doc__)
        return 0
    try:
        machine = Speeds()
        taken = measure(machine, *(int(text) for text in arguments[:1]))
    except ValueError as error:
        print(f"python -m bench.spans [ROUNDS]: {error}", file=sys.stderr)
        return 2
    if note := machine.line():
        print(note)
    least = next(iter(taken.values()))
    for name, seconds in taken.items():
        ratio = median(a / b for a, b in zip(seconds, least, strict=True))
        print(f"{name:<38} {1e6 * median(seconds):5.2f} us {ratio:6.2f}")
    spans = [median(seconds) for name, seconds in taken.items() if name not in (_WITHOUT, _WITH)]
    spans.append(median(a - b for a, b in zip(taken[_WITH], taken[_WITHOUT], strict=True)))
    print(f"over awaits a span adds {1e6 * spans[-1]:.2f} us")
    print(f"a span takes at most {1e6 * max(spans):.2f} us; at most {1e6 * TARGET:g} are asked for")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
