"""The verdict from pairs of times of several processes: a ratio and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST = 8
"""The fewest processes: with fewer, no interval is both narrow and right."""
ENOUGH = 16
"""Processes after which a slowdown whose interval contains the limit is not measured further."""
LINE = 0.8
"""The share of the limit that an interval must stay below. A slowdown as large as the limit has to
be found, but precise measurements read it as smaller than the limit in half of all runs."""
LEVEL = 0.95
"""The confidence of all intervals of a comparison together."""
RESAMPLES = 1_000
TRIMMED = 0.2
"""Share of processes left out at either end: one may have met a neighbour's load throughout."""

Pairs = Sequence[tuple[float, float]]
"""Times of base and head, in nanoseconds per call, of one process."""


class Word(StrEnum):
    """The verdict on a benchmark."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    SAME = "SAME"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A benchmark's ratio head/base; the interval is None if there are too few processes."""

    word: Word
    base: float
    head: float
    ratio: float
    interval: tuple[float, float] | None
    processes: int
    pairs: int
    reason: str = ""

    def is_beyond(self, limit: float) -> bool:
        """Return whether it is slower, possibly by about *limit* or more."""
        if self.word is not Word.SLOWER or self.interval is None:
            return False
        return self.interval[1] >= 1 + LINE * limit

    def is_decided(self, limit: float) -> bool:
        """Return whether more processes would hardly change the verdict."""
        if self.word is not Word.SLOWER:
            return self.word is not Word.UNDECIDED
        assert self.interval is not None
        low, high = self.interval
        line = 1 + LINE * limit
        return high < line or low >= line or self.processes >= ENOUGH


def judged(processes: Sequence[Pairs], *, limit: float, benchmarks: int) -> Verdict:
    """Return the verdict on one of *benchmarks*, where *limit* is the slowdown that matters.

    SLOWER and FASTER have an interval on one side of 1, SAME one within the limit of 1. A time
    that is not a positive number makes the verdict UNDECIDED.
    """
    times = [pair for pairs in processes for pair in pairs]
    used = [pairs for pairs in processes if pairs]
    if not all(_is_time(value) for pair in times for value in pair):
        return _undecided(times, len(used), "a time is no positive number")
    if not times:
        return _undecided(times, 0, "nothing was measured")
    centre, interval = log_interval(
        [[math.log(head / base) for base, head in pairs] for pairs in used],
        level=1 - (1 - LEVEL) / max(1, benchmarks),
    )
    if interval is None:
        missing = f"{len(used)} of at least {FEWEST} processes were measured; give a larger budget"
        return _undecided(times, len(used), missing, math.exp(centre))
    low, high = math.exp(interval[0]), math.exp(interval[1])
    word, reason = Word.UNDECIDED, "the interval is wider than the limit"
    if low > 1:
        word, reason = Word.SLOWER, ""
    elif high < 1:
        word, reason = Word.FASTER, ""
    elif low > 1 / (1 + limit) and high < 1 + limit:
        word, reason = Word.SAME, ""
    return Verdict(
        word=word, base=median(pair[0] for pair in times), head=median(pair[1] for pair in times),
        ratio=math.exp(centre), interval=(low, high), processes=len(used), pairs=len(times),
        reason=reason,
    )  # fmt: skip


def log_interval(
    processes: Sequence[Sequence[float]], *, level: float, seed: int = 1
) -> tuple[float, tuple[float, float] | None]:
    """Return the trimmed mean of the processes' medians, and its interval at *level*.

    The standard error is a bootstrap's that resamples processes first and then the pairs within
    them, which share a memory layout and a hash seed and are not independent (Davison & Hinkley,
    Bootstrap Methods, 1997, section 3.8). It is multiplied by Student's quantile, because the
    plain percentiles of so few processes are too narrow at the levels that many benchmarks ask
    for; its degrees of freedom are those of Yuen's trimmed mean. None below FEWEST processes.
    """
    import numpy as np  # imported late: it would slow down workers and the start of pytest
    from scipy.special import stdtrit

    count = len(processes)
    centre = _trimmed(np.array([[median(pairs) for pairs in processes]]))[0]
    if count < FEWEST:
        return float(centre), None
    generator = np.random.Generator(np.random.Philox(seed))
    medians = np.column_stack(
        [_medians(tuple(pairs), (seed, index)) for index, pairs in enumerate(processes)]
    )
    rows = generator.integers(0, RESAMPLES, (RESAMPLES, count))
    chosen = generator.integers(0, count, (RESAMPLES, count))
    error = float(_trimmed(medians[rows, chosen]).std()) * math.sqrt(count / (count - 1))
    freedom = count - 2 * int(TRIMMED * count) - 1
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    return float(centre), (float(centre) - half, float(centre) + half)


@lru_cache(maxsize=2048)  # each further process leaves those before it as they were
def _medians(pairs: tuple[float, ...], seed: tuple[int, int]) -> NDArray[np.float64]:
    """Return the medians of resamples of one process's pairs."""
    import numpy as np

    values = np.asarray(pairs)
    generator = np.random.Generator(np.random.Philox(seed))
    drawn = generator.integers(0, values.size, (RESAMPLES, values.size))
    medians: NDArray[np.float64] = np.median(values[drawn], axis=1)
    return medians


def _trimmed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = values.copy()
    ordered.sort(axis=1)
    cut = int(TRIMMED * ordered.shape[1])
    means: NDArray[np.float64] = ordered[:, cut : ordered.shape[1] - cut].mean(axis=1)
    return means


def _is_time(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _undecided(times: Pairs, processes: int, reason: str, ratio: float = math.nan) -> Verdict:
    sides = [[pair[side] for pair in times if _is_time(pair[side])] for side in (0, 1)]
    base, head = (median(side) if side else math.nan for side in sides)
    return Verdict(
        word=Word.UNDECIDED, base=base, head=head, ratio=ratio, interval=None,
        processes=processes, pairs=len(times), reason=reason,
    )  # fmt: skip
