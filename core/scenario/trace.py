"""Read recorded cache-access traces: tables, JSON lines, raw words and published formats."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.packed import access_log_hint
from core.scenario.trace_formats import READ, UNITS_OF, TraceFormat, operation
from core.scenario.trace_order import StepsBack
from core.scenario.trace_rows import rows_of
from core.scenario.trace_source import (
    HEAD_BYTES,
    AccessLogFault,
    Source,
    TraceFault,
    is_text,
    open_trace,
)
from core.scenario.trace_time import UNIT_NAMES, TimeUnit, UnitFrom, relative, unit_of
from core.scenario.trace_values import name_id, size_of, text_of, time_of, ttl_of, written_time
from core.scenario.trace_writes import Writes, carried, writes_of
from core.texts import count_of

TYPE_SHIFT = 27  # a raw word holds the object type in its bits 27-31

CHUNK_BYTES = 2**20  # a multiple of the four bytes of a raw word

_NO_ACCESS = "the trace ends here without an access; it needs at least one"


# Arrays have no single truth value: a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """The reads of one trace in file order; every array has shape (n,) and is read-only.

    Keys are dense ids, numbered by first appearance in the file, so a longer reading of the same
    file keeps them. In CSV and JSON lines a key is a (type, key) pair where there are types, and
    names stand in order of first appearance. In the raw format a key is the whole 32-bit word,
    and `type_names` are the decimal numbers of the types that were read, ascending.
    """

    source: str  # the file's name without directories
    format: str  # one of TraceFormat
    keys: NDArray[np.uint32]
    key_count: int
    times: NDArray[np.float64] | None = None  # seconds since the first access, non-decreasing
    time_unit: TimeUnit = "s"  # of the times in the file
    unit_from: UnitFrom = "default"  # how time_unit was told
    types: NDArray[np.uint16] | None = None  # index into type_names
    type_names: tuple[str, ...] = ()
    endpoints: NDArray[np.uint16] | None = None  # index into endpoint_names
    endpoint_names: tuple[str, ...] = ()
    sizes: NDArray[np.int64] | None = None  # bytes
    key_names: tuple[str, ...] = ()  # the keys as the file has them, by id, where asked for
    ttls: NDArray[np.float64] | None = None  # seconds, 0 where the key has none (see `carried`)
    writes: Writes | None = None  # sets and deletes, which are not among the accesses
    notes: tuple[str, ...] = ()  # what was taken for granted, a sentence each

    def __post_init__(self) -> None:
        for values in (
            self.keys, self.times, self.types, self.endpoints, self.sizes, self.ttls,
        ):  # fmt: skip
            if values is not None:
                values.setflags(write=False)


def read_trace(
    path: Path,
    *,
    stop: int | None = None,
    time_unit: TimeUnit | None = None,
    format_: TraceFormat | None = None,
    columns: Mapping[str, str] | None = None,
    with_names: bool = False,
) -> Trace:
    """Return the first *stop* reads of the trace at *path* and the writes among them, or all.

    time_unit: of the times in the file; None tells it by the values, seconds by default. format_:
    of the file; None tells it by the ending of its name. columns: of a table or of JSON lines by
    field, names or numbers from 1 on; None takes columns that are named as the fields.
    with_names: whether the keys are kept as they stand in the file, too.

    Times that step back are sorted if none steps back further than SORTED_WITHIN; what stands
    behind *stop* is only looked at if one steps back before it.

    A file of fewer accesses gives those it has; what stands behind access *stop* is not checked
    and, but for a buffer's length, not decompressed.

    Raise ValueError if *stop* is below 1, and InputError if the file cannot be read or a value
    in it cannot be used; the message is one line that names the file, the line or the byte
    (after decompression), the value and the remedy.
    """
    if stop is not None and stop < 1:
        raise ValueError(f"stop is {stop}; a trace is read up to its first access at least")
    name = str(path) if str(path).isprintable() else repr(str(path))
    try:
        chosen, stream = open_trace(path, format_)
    except TraceFault as fault:
        raise InputError(f"{name}: {fault}{_hint(fault, path)}") from None
    with stream:
        source = Source(stream)
        try:
            if chosen in ("words", "oracleGeneral") and columns:
                raise TraceFault(f"{chosen} has no columns; leave --columns out", place="byte 0")
            if chosen == "oracleGeneral" and time_unit not in (None, "s"):
                raise TraceFault(
                    f"oracleGeneral has its times in seconds, not {time_unit}; leave --time-unit "
                    "out",
                    place="byte 0",
                )
            if chosen == "words":
                return _read_raw(path.name, source, stop, with_names)
            if chosen == "oracleGeneral":
                return _read_oracle(path.name, source, stop, with_names)
            return _read_text(path.name, source, stop, chosen, time_unit, columns, with_names)
        except TraceFault as fault:
            told = f"{fault}{_hint(fault, path)}"
            raise InputError(f"{name} {fault.place or source.place}: {told}") from None


def _hint(fault: TraceFault, path: Path) -> str:
    return "" if isinstance(fault, AccessLogFault) else access_log_hint(path)


def _read_raw(file_name: str, source: Source, stop: int | None, with_names: bool) -> Trace:
    """Return the trace of big-endian 32-bit words, numbering the keys chunk by chunk.

    One np.unique over the whole file takes three times as long and far more memory.
    """
    known = np.empty(0, np.uint32)  # every word so far, sorted
    known_ids = np.empty(0, np.uint32)
    chunks: list[NDArray[np.uint32]] = []
    missing = math.inf if stop is None else 4 * stop
    while data := source.read(int(min(CHUNK_BYTES, missing))):
        if not chunks and is_text(data[:HEAD_BYTES]):
            raise TraceFault(
                "this is text, and .trace is the ending of 32-bit words; say --format lirs for a "
                "block's number a line, arc, spc, csv or another text format",
                place="byte 0",
            )
        if len(data) % 4:
            raise TraceFault(
                f"the last word has {len(data) % 4} of its 4 bytes; copy the file again"
            )
        missing -= len(data)
        words = np.frombuffer(data, ">u4").astype(np.uint32)
        distinct, first, inverse = np.unique(words, return_index=True, return_inverse=True)
        at = np.searchsorted(known, distinct)
        is_known = at < known.size
        is_known[is_known] = known[at[is_known]] == distinct[is_known]
        ids = np.empty(distinct.size, np.uint32)
        ids[is_known] = known_ids[at[is_known]]
        fresh = np.flatnonzero(~is_known)
        by_appearance = fresh[np.argsort(first[fresh])]
        ids[by_appearance] = np.arange(known.size, known.size + fresh.size, dtype=np.uint32)
        known = np.insert(known, at[fresh], distinct[fresh])
        known_ids = np.insert(known_ids, at[fresh], ids[fresh])
        chunks.append(ids[inverse])
    if not chunks:
        raise TraceFault(_NO_ACCESS)
    keys = np.concatenate(chunks)
    numbers, type_of_known = np.unique(known >> TYPE_SHIFT, return_inverse=True)
    type_of_key = np.empty(known.size, np.uint16)
    type_of_key[known_ids] = type_of_known
    return Trace(
        source=file_name,
        format="words",
        keys=keys,
        key_count=known.size,
        types=type_of_key[keys],
        type_names=tuple(str(number) for number in numbers.tolist()),
        key_names=tuple(map(str, known[np.argsort(known_ids)].tolist())) if with_names else (),
    )


ORACLE = np.dtype([("time", "<u4"), ("key", "<u8"), ("size", "<u4"), ("next", "<i8")])
"""libCacheSim's oracleGeneral: time in seconds, object, bytes, number of its next access."""


def _read_oracle(file_name: str, source: Source, stop: int | None, with_names: bool) -> Trace:
    wanted = math.inf if stop is None else stop * ORACLE.itemsize
    chunks = []
    while data := source.read(int(min(ORACLE.itemsize * 2**15, wanted))):
        if len(data) % ORACLE.itemsize:
            raise TraceFault(
                f"the last record has {len(data) % ORACLE.itemsize} of its 24 bytes; copy the "
                "file again"
            )
        wanted -= len(data)
        chunks.append(np.frombuffer(data, ORACLE))
    if not chunks:
        raise TraceFault(_NO_ACCESS)
    records = np.concatenate(chunks)
    times = records["time"].astype(np.float64)
    if times.size > 1 and (back := np.flatnonzero(np.diff(times) < 0)).size:
        raise TraceFault(
            f"time is {times[back[0] + 1]:.0f} after {times[back[0]]:.0f}: times of oracleGeneral "
            "never decrease; is the file another format?",
            place=f"byte {24 * (int(back[0]) + 1)}",
        )
    distinct, first, inverse = np.unique(records["key"], return_index=True, return_inverse=True)
    rank = np.empty(distinct.size, np.uint32)
    rank[np.argsort(first)] = np.arange(distinct.size, dtype=np.uint32)
    return Trace(
        source=file_name,
        format="oracleGeneral",
        keys=rank[inverse],
        key_count=distinct.size,
        times=times - times[0],
        unit_from="caller",
        sizes=records["size"].astype(np.int64),
        key_names=tuple(map(str, distinct[np.argsort(first)].tolist())) if with_names else (),
    )


def _read_text(
    file_name: str,
    source: Source,
    stop: int | None,
    format_: str,
    asked: TimeUnit | None,
    columns: Mapping[str, str] | None,
    with_names: bool,
) -> Trace:
    keys, times, sizes = array("I"), array("d"), array("q")
    endpoints, type_of_key = array("H"), array("H")
    operations, ttls = array("B"), array("d")
    key_ids: dict[tuple[int, str], int] = {}
    type_ids: dict[str, int] = {}
    endpoint_ids: dict[str, int] = {}
    notes: list[str] = []
    back = StepsBack()
    without_zone = False
    reads = 0
    for row in rows_of(source, format_, columns, notes.append):
        type_ = name_id(type_ids, row, "type") if "type" in row else 0
        key_id = key_ids.setdefault((type_, text_of(row, "key")), len(key_ids))
        if key_id == len(type_of_key):
            type_of_key.append(type_)
        keys.append(key_id)
        if "time" in row:
            value = row["time"]
            if type(value) is str:
                value, is_zoned = written_time(value)
                without_zone |= not is_zoned
            times.append(back.checked(time_of(value), source.place))
        if "endpoint" in row:
            endpoints.append(name_id(endpoint_ids, row, "endpoint"))
        if "size" in row:
            sizes.append(size_of(row["size"]))
        if "op" in row:
            operations.append(code := operation(row["op"]))
            reads += code == READ
        else:
            reads += 1
        if "ttl" in row:
            ttls.append(ttl_of(row["ttl"]))
        # Sorting moves accesses, so a file whose times step back is read to its end.
        if reads == stop and not back.is_met:
            break
    if not keys:
        raise TraceFault(_NO_ACCESS)
    key_array = np.frombuffer(keys, np.uint32)
    first_line = 2 if format_ == "csv" else 1
    fixed = asked or UNITS_OF.get(format_)
    unit: TimeUnit = "s"
    unit_from: UnitFrom = "default"
    if times:
        unit, unit_from = unit_of(times, fixed, first_line, source.time_column)
    if unit_from == "column":
        notes.append(
            f"The column {source.time_column!r} states {UNIT_NAMES[unit]}, and the trace's times "
            "are taken so; --time-unit says otherwise."
        )
    order = None
    if back.is_met:
        order, told = back.order(np.frombuffer(times, np.float64), unit)
        notes.append(told)
        times = array("d", np.frombuffer(times, np.float64)[order].tolist())
        key_array = key_array[order]
    if without_zone:
        notes.append("The trace's times have no zone and are taken as UTC.")

    def column(values: array[Any], kind: type[Any]) -> Any:
        if not values:
            return None
        found = np.frombuffer(values, kind)
        return found if order is None else found[order]

    found_ttls = column(ttls, np.float64)
    every: dict[str, Any] = {
        "keys": key_array,
        "times": relative(times, unit, first_line) if times else None,
        "types": np.frombuffer(type_of_key, np.uint16)[key_array] if type_ids else None,
        "endpoints": column(endpoints, np.uint16),
        "ttls": None if found_ttls is None else carried(key_array, found_ttls),
    }
    codes = column(operations, np.uint8)
    writes = None if codes is None else writes_of(codes, **every)
    every["sizes"] = column(sizes, np.int64)
    if writes is not None:
        is_read = codes == READ
        every = {n: None if each is None else each[is_read] for n, each in every.items()}
    if not every["keys"].size:
        raise TraceFault(
            f"the trace has {count_of(len(keys), 'access')} and no read, and a run reads"
        )
    if order is not None and stop is not None:
        every = {n: None if each is None else each[:stop] for n, each in every.items()}
    return Trace(
        source=file_name,
        format=format_,
        key_count=len(key_ids),
        time_unit=unit,
        unit_from=unit_from,
        type_names=tuple(type_ids),
        endpoint_names=tuple(endpoint_ids),
        key_names=tuple(key for _, key in key_ids) if with_names else (),
        writes=writes,
        notes=tuple(notes),
        **every,
    )
