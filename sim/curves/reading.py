"""The reads of a trace file for its curve; oracleGeneral without a copy of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.scenario.trace import ORACLE, read_trace
from core.scenario.trace_formats import TraceFormat
from core.scenario.trace_source import COMPRESSIONS
from core.scenario.trace_time import TimeUnit
from sim.curves.numbering import numbered
from sim.curves.policies import Accesses


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTrace:
    """A trace's reads, and what was taken for granted, a sentence each.

    has_ttls: whether a key's life stands in the trace.
    """

    source: str
    accesses: Accesses
    has_ttls: bool
    notes: tuple[str, ...] = ()


def read_accesses(
    path: Path,
    *,
    stop: int | None = None,
    format_: TraceFormat | None = None,
    columns: Mapping[str, str] | None = None,
    time_unit: TimeUnit | None = None,
    with_times: bool = True,
    with_sizes: bool = True,
) -> ReadTrace:
    """Return the first *stop* reads of the trace at *path*, or all.

    A plain oracleGeneral file is mapped into memory, so that only what is asked for is read;
    everything else goes through `core.scenario.trace.read_trace`. Raise InputError as that does.
    """
    if _is_plain_oracle(path, format_) and not columns and time_unit in (None, "s"):
        return _mapped(path, stop, with_times=with_times, with_sizes=with_sizes)
    trace = read_trace(path, stop=stop, format_=format_, columns=columns, time_unit=time_unit)
    ttls = trace.ttls
    if ttls is not None:
        ttls = np.where(ttls > 0, ttls, np.inf)
    notes = list(trace.notes)
    if trace.writes is not None:
        notes.append("Sets and deletes of the trace are left out: its reads alone are replayed.")
    has_ttls = ttls is not None and trace.times is not None
    if ttls is not None and trace.times is None:
        notes.append("The trace has TTLs and no times, so its TTLs have no effect; see --rate.")
    accesses = Accesses(
        keys=trace.keys.astype(np.int32),
        key_count=trace.key_count,
        times=trace.times,
        ttls=ttls,
        sizes=trace.sizes,
    )
    return ReadTrace(source=trace.source, accesses=accesses, has_ttls=has_ttls, notes=tuple(notes))


def _is_plain_oracle(path: Path, format_: TraceFormat | None) -> bool:
    named = path.suffix.lower() == ".oraclegeneral" if format_ is None else False
    if not named and format_ != "oracleGeneral":
        return False
    try:
        with path.open("rb") as file:
            head = file.read(8)
        size = path.stat().st_size
    except OSError:
        return False  # read_trace says it
    packed = head.startswith((b"\x1f\x8b\x08", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"))
    return not packed and path.suffix not in COMPRESSIONS and size > 0 and size % 24 == 0


def _mapped(path: Path, stop: int | None, *, with_times: bool, with_sizes: bool) -> ReadTrace:
    try:
        records = np.memmap(path, ORACLE, "r")[:stop]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: it cannot be read ({error}); check the path") from None
    keys, count = numbered(records["key"])
    times = None
    if with_times:
        times = records["time"].astype(np.float64)
        if times.size > 1 and (back := np.flatnonzero(np.diff(times) < 0)).size:
            at = int(back[0]) + 1
            raise InputError(
                f"{path} byte {24 * at}: time is {times[at]:.0f} after {times[at - 1]:.0f}: times "
                "of oracleGeneral never decrease; is the file another format?"
            )
        times -= times[0]
    sizes = records["size"].astype(np.int64) if with_sizes else None
    accesses = Accesses(keys=keys, key_count=count, times=times, sizes=sizes)
    return ReadTrace(source=path.name, accesses=accesses, has_ttls=False)
