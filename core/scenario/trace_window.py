"""The accesses of a recorded trace that a run replays at their own times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.scenario.scenario import Scenario
from core.scenario.trace import Trace, read_trace
from core.scenario.trace_formats import TraceFormat
from core.scenario.trace_time import UNIT_NAMES, UNITS, TimeUnit
from core.scenario.traffic import TraceSource
from core.texts import count_of

_WORTH_KEEPING = 100_000
"""Bytes of a trace file; a smaller one is read in milliseconds, and could change unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedWindow:
    """The accesses of a trace with times that a run replays: those from *offset* to *stop*.

    span: the seconds of the recording that they take. rate: requests/s on average at the
    scenario's trace.speed; 0 where all have the same time.
    """

    trace: Trace
    offset: int
    stop: int
    span: float
    rate: float


def timed_window(scenario: Scenario) -> TimedWindow | None:
    """Return which accesses *scenario* replays at their own times; None without such a trace.

    The run's time is the recording's, divided by trace.speed. Raise InputError if the trace cannot
    be read, has no access after the offset, or times that look like no seconds.
    """
    source = scenario.trace
    if source.file is None:
        return None
    path, named = Path(source.file), bool(scenario.subjects)
    if trace_of(source, 1).times is None:
        return None
    offset = source.offset or 0
    # One access more tells where the window ends.
    wanted = None if source.limit is None else offset + source.limit + 1
    trace = trace_of(source, wanted, with_names=named)
    times = trace.times
    assert times is not None
    if offset >= times.size:
        raise InputError(
            f"{trace.source}: {count_of(times.size, 'access')}, none after offset {offset:,}; "
            "lower --trace-offset"
        )
    since = times[offset:] - times[offset]
    _check_unit(path, trace, since)
    # Rounded: a run at another speed ends before the same access.
    end = round(scenario.total_time * source.speed, 9)
    count = int(np.searchsorted(since, end, side="left"))
    count = min(count, source.limit or count)
    if count < since.size:
        span = min(float(since[count]), end)
    else:
        span = min(float(since[-1]) * count / max(1, count - 1), end)
    return TimedWindow(
        trace=trace,
        offset=offset,
        stop=offset + count,
        span=span,
        rate=count * source.speed / span if span and count > 1 else 0.0,
    )


def trace_of(source: TraceSource, stop: int | None, *, with_names: bool = False) -> Trace:
    """Return the trace of *source* up to *stop*; a large file that has not changed is read once.

    with_names: whether the keys are kept as they stand in the file, too. Raise as `read_trace`
    does.
    """
    path = Path(source.file or "")
    asked = (stop, source.time_unit, source.format, tuple(source.columns.items()), with_names)
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return _read(path, *asked)  # it says what is wrong
    if facts.st_size < _WORTH_KEEPING:
        return _read(path, *asked)
    changed = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return _kept(path, *asked, changed)


@lru_cache(maxsize=2)  # its first access, and its window: every replication and rate asks anew
def _kept(
    path: Path,
    stop: int | None,
    unit: TimeUnit | None,
    format_: TraceFormat | None,
    columns: tuple[tuple[str, str], ...],
    with_names: bool,
    _: tuple[int, ...],
) -> Trace:
    return _read(path, stop, unit, format_, columns, with_names)


def _read(
    path: Path,
    stop: int | None,
    unit: TimeUnit | None,
    format_: TraceFormat | None,
    columns: tuple[tuple[str, str], ...],
    with_names: bool,
) -> Trace:
    return read_trace(
        path, stop=stop, time_unit=unit, format_=format_, columns=dict(columns),
        with_names=with_names,
    )  # fmt: skip


def _check_unit(path: Path, trace: Trace, since: NDArray[np.float64]) -> None:
    """Raise InputError for times that nobody called seconds and that hardly are."""
    if trace.unit_from != "default" or since.size < 2 or not since[-1]:
        return
    rate = (since.size - 1) / float(since[-1])
    if rate >= 1 or (rate >= 0.1 and np.any(since != np.floor(since))):
        return
    guess: TimeUnit = next((u for u, a_second in UNITS.items() if rate * a_second >= 1), "ns")
    raise InputError(
        f"{path}: its times taken for seconds give {rate:.2g} requests/s; say --time-unit {guess} "
        f"if they are {UNIT_NAMES[guess]}, --time-unit s if they are seconds"
    )
