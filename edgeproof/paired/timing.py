"""Timing two calls in turns, in blocks shorter than the periods of constant machine speed."""

from __future__ import annotations

import contextvars
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter_ns
from types import FrameType
from typing import Any, Protocol

BLOCK_NS = 500_000
"""Shorter than a scheduler's slice, so that few pairs are broken by other processes: with six of
them on two processors, medians of 20 pairs of 5 ms had a standard deviation of 9 %, of 200 pairs
of 0.5 ms one of 0.2 %."""
ROUNDS = 200
MOST_NS = 600_000_000
"""The most time of a benchmark in one process: more processes tell more than more rounds."""
FEW = 8
LONG_NS = 2_500_000_000
"""Of waiting for a processor and of setting up, too; then FEW rounds have to do."""
WARM_UP_NS = 20_000_000
WARM_UP_CALLS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one call: *timed* alone, and *whole* with its setup; its allowed number."""

    timed: float
    whole: float
    most_calls: int | None


class Timed(Protocol):
    """A call that can be repeated; times in nanoseconds."""

    def warm_up(self) -> Cost: ...

    def block(self, calls: int) -> float:
        """Return the mean time of *calls* calls."""
        ...


class Call:
    """The call that a test passed to its `benchmark` fixture."""

    def __init__(
        self,
        target: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        *,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        most_calls: int | None = None,
        warm_ups: int | None = None,
    ) -> None:
        self._target, self._args, self._kwargs = target, tuple(args), dict(kwargs)
        self._setup, self._teardown = setup, teardown
        self._most_calls, self._warm_ups = most_calls, warm_ups
        self._context = contextvars.copy_context()
        self.result: Any = None

    def once(self) -> Any:
        """Make the call, untimed, and return its result."""
        self._single()
        return self.result

    @property
    def may_be_made(self) -> bool:
        """Whether the test allows a further call."""
        return self._most_calls is None or self._most_calls > 0

    def files(self) -> set[str]:
        """Make one of the allowed calls, and return the files whose code it ran."""
        found: set[str] = set()

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                found.add(frame.f_code.co_filename)

        # A measured call if there are several: without a warm-up the cost of a call is not known,
        # and all calls that the test allows would be made, however long they take.
        if self._most_calls is not None and (self._most_calls > 1 or not self._warm_ups):
            self._most_calls -= 1
        elif self._warm_ups:
            self._warm_ups -= 1
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            self._context.run(self._single)
        finally:
            sys.setprofile(before)
        return found

    def warm_up(self) -> Cost:
        if self._warm_ups is not None:
            times = [self._context.run(self._single) for _ in range(self._warm_ups)]
        else:
            times = [self._context.run(self._single)]
            while len(times) < WARM_UP_CALLS and sum(whole for _, whole in times) < WARM_UP_NS:
                times.append(self._context.run(self._single))
        if not times:
            return Cost(timed=0.0, whole=0.0, most_calls=self._most_calls)
        return Cost(
            timed=min(timed for timed, _ in times),
            whole=min(whole for _, whole in times),
            most_calls=self._most_calls,
        )

    def block(self, calls: int) -> float:
        gc.collect()
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            if self._setup is None and self._teardown is None:
                if self._most_calls is None:
                    self._context.run(self._loop, 1)  # what ran before has the processor's caches
                return self._context.run(self._loop, calls) / calls
            return sum(self._context.run(self._single)[0] for _ in range(calls)) / calls
        finally:
            if was_enabled:
                gc.enable()

    def _loop(self, calls: int) -> int:
        target, args, kwargs = self._target, self._args, self._kwargs
        if kwargs:
            started = perf_counter_ns()
            for _ in repeat(None, calls):
                result = target(*args, **kwargs)
            ended = perf_counter_ns()
        else:
            started = perf_counter_ns()
            for _ in repeat(None, calls):
                result = target(*args)
            ended = perf_counter_ns()
        self.result = result
        return ended - started

    def _single(self) -> tuple[int, int]:
        entered = perf_counter_ns()
        args, kwargs = self._args, self._kwargs
        if self._setup is not None:
            made = self._setup()
            if made:
                if args or kwargs:
                    raise TypeError("arguments cannot come from both pedantic() and its setup")
                args, kwargs = made
        started = perf_counter_ns()
        self.result = self._target(*args, **kwargs)
        ended = perf_counter_ns()
        if self._teardown is not None:
            self._teardown(*args, **kwargs)
        return ended - started, perf_counter_ns() - entered


def plan(first: Cost, second: Cost) -> tuple[int, int]:
    """Return the number of rounds, and of calls in each."""
    timed, whole = max(first.timed, second.timed, 1.0), max(first.whole, second.whole, 1.0)
    calls = max(1, round(min(BLOCK_NS / timed, 4 * BLOCK_NS / whole)))
    rounds = max(2, min(ROUNDS, int(MOST_NS / (2 * calls * whole)) // 2 * 2))
    allowed = [cost.most_calls for cost in (first, second) if cost.most_calls is not None]
    if allowed:  # pedantic(rounds=...) promises that there are no more calls
        most = min(allowed)
        calls = min(calls, max(1, most // ROUNDS))
        rounds = max(1, min(rounds, most // calls))
    return rounds, calls


def timed_pairs(
    first: Timed, second: Timed, *, turned: bool = False, most: int = ROUNDS
) -> list[tuple[float, float]]:
    """Return the times of both in each round, per call, timed as A B, B A, B A, A B and so on.

    *turned* starts with the second; *most* limits the rounds. A slow drift of the machine affects
    each round in the opposite way of the one before.
    """
    costs = (first.warm_up(), second.warm_up())
    rounds, calls = plan(*costs)
    rounds, started = min(rounds, most), perf_counter_ns()
    pairs: list[tuple[float, float]] = []
    gc.collect()
    gc.freeze()  # otherwise each collection before a block would scan all objects of the tests
    try:
        for number in range(rounds):
            if number % 4 == 0 and number >= FEW and perf_counter_ns() - started > LONG_NS:
                break
            if turned ^ (number % 4 in (1, 2)):
                later = second.block(calls)
                pairs.append((first.block(calls), later))
            else:
                earlier = first.block(calls)
                pairs.append((earlier, second.block(calls)))
    finally:
        gc.unfreeze()
    return pairs


def speed_ns() -> int:
    """Return the time of a fixed piece of work, the shortest of three: how fast the machine is."""
    times = []
    for _ in range(3):
        started = perf_counter_ns()
        total = 0
        for number in range(20_000):
            total += number & 7
        times.append(perf_counter_ns() - started)
    return min(times)
