"""The times of a trace: their unit, and those that lie far outside the others' range."""

from __future__ import annotations

import re
from array import array
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.scenario.trace_source import TraceFault

TimeUnit = Literal["s", "ms", "us", "ns"]
UNITS: dict[TimeUnit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""How many of the unit a second has."""

UNIT_NAMES: dict[TimeUnit, str] = {
    "s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds",
}  # fmt: skip

_WORDS: dict[str, TimeUnit] = {
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "ms": "ms", "msec": "ms", "millis": "ms", "millisecond": "ms", "milliseconds": "ms",
    "us": "us", "µs": "us", "μs": "us", "usec": "us", "micros": "us", "microsecond": "us",
    "microseconds": "us", "ns": "ns", "nsec": "ns", "nanos": "ns", "nanosecond": "ns",
    "nanoseconds": "ns",
}  # fmt: skip

UnitFrom = Literal["caller", "values", "column", "default"]
"""How the unit of times was told."""

_EPOCH = (3e8, 2.5e9)
"""Seconds since 1970 that a recorded time can be: 1979 to 2049."""

_LATEST = 1e11
_DAY = 86_400.0


def unit_named(column: str) -> TimeUnit | None:
    """Return the unit that a column's name states, such as "time_ms" or "timestamp (us)"."""
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column))
    return next((_WORDS[word] for each in words if (word := each.lower()) in _WORDS), None)


def unit_of(
    times: array[float], asked: TimeUnit | None, first_line: int, column: str = ""
) -> tuple[TimeUnit, UnitFrom]:
    """Return the unit of *times* and how it was told: by the caller, by the values, by the name of
    their *column*, or not at all.

    Times since 1970 tell it by their size. Raise Fault for times that are too large for seconds
    and no time of this century in any unit.
    """
    if asked is not None:
        return asked, "caller"
    for unit, a_second in UNITS.items():
        if _EPOCH[0] <= times[0] / a_second < _EPOCH[1]:
            return unit, "values"
    if times[0] >= _LATEST:
        raise TraceFault(
            f"time is {times[0]:.17g}, no time of this century in any unit; say the unit with "
            "--time-unit s, ms, us or ns",
            place=f"line {first_line}",
        )
    if (named := unit_named(column)) is not None:
        return named, "column"
    return "s", "default"


def relative(times: array[float], unit: TimeUnit, first_line: int) -> NDArray[np.float64]:
    """Return *times*, given in *unit*, in seconds since the first one; shape (n,).

    Raise Fault if one gap is longer than a day and than everything else together: what lies
    beyond it is no part of the same recording.
    """
    given = np.frombuffer(times, np.float64)
    since: NDArray[np.float64] = (given - given[0]) / UNITS[unit]
    if given[0] / UNITS[unit] >= _EPOCH[0]:
        # Seconds since 1970 are floats to 0.24 us: the same times in another unit become equal.
        since = np.round(since, 6)
    gaps = np.diff(since)
    if gaps.size and (longest := float(gaps.max())) > _DAY and longest > since[-1] - longest:
        at = int(gaps.argmax())
        is_first = at + 1 <= gaps.size / 2
        raise TraceFault(
            f"time is {given[at if is_first else at + 1]:.17g}, {longest / _DAY:,.0f} days "
            f"{'before the next' if is_first else 'after the last'} access, and all others lie "
            f"within {since[-1] - longest:,.3g} s; correct it or remove what lies beyond the gap",
            place=f"line {first_line + (at if is_first else at + 1)}",
        )
    return since
