"""Which part of a log a scenario runs: all of a short one, the busiest time of a long one."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenarios.intake.figures import MINUTE, busiest
from scenarios.intake.ordering import ACCESS, Accesses

MOST_REQUESTS = 200_000
"""Of a run: ten replications of so many take a minute."""

MOST_HISTORY = 300_000
_LONGEST = 6 * 3600.0
_TO_THE_SECOND = 10
"""Minutes up to which a window of so long is placed by seconds: of a longer one they are little."""
_CANDIDATES = 8
_SECOND = 1_000_000
_LENGTHS = (60, 30, 10, 5, 2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The accesses of the trace, by their number in the log, and those of them that the run plays.

    first to stop: of the trace; start: the first of the run. begin: the run's start in
    microseconds since 1970; seconds: how long it is. is_whole: whether the run is the whole log.
    """

    first: int
    start: int
    stop: int
    begin: int
    seconds: float
    is_whole: bool

    @property
    def offset(self) -> int:
        """How many accesses of the trace stand before the run."""
        return self.start - self.first


def accesses_of(part: Path, first: int, stop: int) -> Accesses:
    """Return the accesses in *part* from *first* to *stop*."""
    return np.fromfile(part, ACCESS, count=stop - first, offset=first * ACCESS.itemsize)


def _place(part: Path, total: int, time: int) -> int:
    """Return how many of *total* accesses in *part* are before *time*."""
    # Read one by one: searchsorted would copy the times of the whole log into memory.
    return bisect_left(
        range(total), time, key=lambda at: int(accesses_of(part, at, at + 1)["time"][0])
    )


def _to_the_second(
    part: Path, minutes: Counter[int], length: int, total: int, lasts: int, begin: int
) -> int:
    """Return the second from which on *lasts* microseconds have most accesses, of *begin* too.

    It is looked for from the minutes on which, with *length* more, have most.
    """
    sums = {m: sum(minutes.get(m + n, 0) for n in range(length + 1)) for m in minutes}
    best, most = begin, _place(part, total, begin + lasts) - _place(part, total, begin)
    for minute in sorted(sums, key=lambda m: -sums[m])[:_CANDIDATES]:
        if sums[minute] <= most:
            break
        start = minute * MINUTE
        places = [_place(part, total, start + n * _SECOND) for n in range(60)]
        ends = [_place(part, total, start + n * _SECOND + lasts) for n in range(60)]
        counts = [end - place for place, end in zip(places, ends, strict=True)]
        if (found := max(counts)) > most:
            best, most = start + counts.index(found) * _SECOND, found
    return best


def choose(
    part: Path, minutes: Counter[int], first: int, last: int, total: int, asked: float | None
) -> Window:
    """Return the window of *total* accesses in *part*; asked: its seconds.

    first and last: times in microseconds; minutes: accesses by the minute.
    """
    span = (last - first) / 1e6
    is_whole = asked >= span if asked is not None else total <= MOST_REQUESTS and span <= _LONGEST
    if is_whole:
        # The last access, too, arrives before the end.
        seconds = max(1.0, math.ceil(span * 1000 + 1) / 1000)
        return Window(first=0, start=0, stop=total, begin=first, seconds=seconds, is_whole=True)
    if asked is not None:
        length = max(1, math.ceil(asked / 60))
    else:
        length = next((n for n in _LENGTHS if busiest(minutes, n)[1] <= MOST_REQUESTS), 1)
    begin = max(first, busiest(minutes, length)[0] * MINUTE)
    if asked is not None and length <= _TO_THE_SECOND:
        begin = _to_the_second(part, minutes, length, total, round(asked * 1e6), begin)
    seconds = asked if asked is not None else min(60.0 * length, max(1.0, (last - begin) / 1e6))
    start = _place(part, total, begin)
    stop = _place(part, total, begin + round(seconds * 1e6))
    return Window(
        first=max(0, start - MOST_HISTORY), start=start, stop=max(stop, start + 1), begin=begin,
        seconds=round(seconds, 3), is_whole=False,
    )  # fmt: skip
