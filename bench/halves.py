"""The machine's speed during a run, and the first line of results if the speed changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from statistics import median
from time import monotonic, perf_counter_ns
from typing import TypeVar

LIMIT = 0.05
"""A larger difference between the speeds of two halves is reported."""
READINGS = 5
"""Pieces of work in a sample; their median is the sample."""

_T = TypeVar("_T")


def work_ns() -> int:
    """Return the nanoseconds of a fixed piece of work, the shortest of three.

    `bench compare` times the same work, but cannot import it from here.
    """
    times = []
    for _ in range(3):
        started = perf_counter_ns()
        total = 0
        for number in range(20_000):
            total += number & 7
        times.append(perf_counter_ns() - started)
    return min(times)


class Speeds:
    """Samples of the machine's speed, taken between the measurements of a run.

    `sample()` before, between and after measurements, or `between()` around a loop of them, takes
    about 15 ms. The results start with the result of
    `line()` at the end.
    """

    def __init__(
        self, *, clock: Callable[[], float] = monotonic, work: Callable[[], float] = work_ns
    ) -> None:
        self._clock = clock
        self._work = work
        self._samples: list[tuple[float, float]] = []

    def sample(self) -> float:
        """Take a sample and return it: nanoseconds of the fixed piece of work."""
        found = median(self._work() for _ in range(READINGS))
        self._samples.append((self._clock(), found))
        return found

    def between(self, rounds: Iterable[_T]) -> Iterator[_T]:
        """Yield each of *rounds*, with a sample before each and one after the last."""
        for one in rounds:
            self.sample()
            yield one
        self.sample()

    @property
    def work(self) -> float | None:
        """The median of all samples in nanoseconds, the speed of the run; None without any."""
        return median(time for _, time in self._samples) if self._samples else None

    def ratio(self) -> float | None:
        """Return the time of the work in the run's second half over that in its first.

        A half is half of the time between the first and the last sample. None if a half has no
        sample: nothing was measured between two of them.
        """
        if len(self._samples) < 2:
            return None
        middle = (self._samples[0][0] + self._samples[-1][0]) / 2
        first = [time for at, time in self._samples if at < middle]
        second = [time for at, time in self._samples if at >= middle]
        if not first:
            return None
        return median(second) / median(first)

    def line(self, advice: str = "times of this run may differ for that alone; repeat it") -> str:
        """Return the first line of results if the two halves' speeds differ, else "".

        *advice* tells the consequence for the figures that follow.
        """
        ratio = self.ratio()
        if ratio is None or 1 / (1 + LIMIT) <= ratio <= 1 + LIMIT:
            return ""
        return (
            f"The CPU was {abs(1 / ratio - 1):.0%} {'slower' if ratio > 1 else 'faster'} in the "
            f"second half of this run than in the first: {advice}."
        )
