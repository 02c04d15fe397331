"""Read recorded cache-access traces: tables, JSON lines, raw words and published formats."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.scenario.trace_formats import (
    LAYOUTS,
    READ,
    SPECIAL,
    UNITS_OF,
    Layout,
    Row,
    TraceFormat,
    operation,
    recognised,
    table_rows,
)
from core.scenario.trace_source import (
    BINARY,
    HEAD_BYTES,
    Source,
    TraceFault,
    holds_binary,
    is_text,
    open_trace,
)
from core.scenario.trace_time import UNITS, TimeUnit, relative, unit_of
from core.scenario.trace_writes import Writes, carried, writes_of

FIELDS = ("key", "time", "endpoint", "type", "size", "op", "ttl")
TYPE_SHIFT = 27  # a raw word holds the object type in its bits 27-31

MAX_FIELD_CHARS = 2**16
CHUNK_BYTES = 2**20  # a multiple of the four bytes of a raw word

_MAX = sys.float_info.max
_NO_ACCESS = "the trace ends here without an access; it needs at least one"
_NUMBER = re.compile(r"[+-]?(\d++\.?\d*+|\.\d++)([eE][+-]?\d++)?", re.ASCII)  # linear on any text
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape half a character


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
    unit_from: Literal["caller", "values", "default"] = "default"  # how time_unit was told
    types: NDArray[np.uint16] | None = None  # index into type_names
    type_names: tuple[str, ...] = ()
    endpoints: NDArray[np.uint16] | None = None  # index into endpoint_names
    endpoint_names: tuple[str, ...] = ()
    sizes: NDArray[np.int64] | None = None  # bytes
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
) -> Trace:
    """Return the first *stop* reads of the trace at *path* and the writes among them, or all.

    time_unit: of the times in the file; None tells it by the values, seconds by default. format_:
    of the file; None tells it by the ending of its name. columns: of a table or of JSON lines by
    field, names or numbers from 1 on; None takes columns that are named as the fields.

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
        raise InputError(f"{name}: {fault}") from None
    with stream:
        source = Source(stream)
        try:
            if chosen in ("words", "oracleGeneral") and columns:
                raise TraceFault(f"{chosen} has no columns; leave --columns out", place="byte 0")
            if chosen == "words":
                return _read_raw(path.name, source, stop)
            if chosen == "oracleGeneral":
                return _read_oracle(path.name, source, stop)
            return _read_text(path.name, source, stop, chosen, time_unit, columns)
        except TraceFault as fault:
            raise InputError(f"{name} {fault.place or source.place}: {fault}") from None


def _read_raw(file_name: str, source: Source, stop: int | None) -> Trace:
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
    )


_ORACLE = np.dtype([("time", "<u4"), ("key", "<u8"), ("size", "<u4"), ("next", "<i8")])
"""libCacheSim's oracleGeneral: time in seconds, object, bytes, number of its next access."""


def _read_oracle(file_name: str, source: Source, stop: int | None) -> Trace:
    wanted = math.inf if stop is None else stop * _ORACLE.itemsize
    chunks = []
    while data := source.read(int(min(_ORACLE.itemsize * 2**15, wanted))):
        if len(data) % _ORACLE.itemsize:
            raise TraceFault(
                f"the last record has {len(data) % _ORACLE.itemsize} of its 24 bytes; copy the "
                "file again"
            )
        wanted -= len(data)
        chunks.append(np.frombuffer(data, _ORACLE))
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
    )


def _read_text(
    file_name: str,
    source: Source,
    stop: int | None,
    format_: str,
    asked: TimeUnit | None,
    columns: Mapping[str, str] | None,
) -> Trace:
    keys, times, sizes = array("I"), array("d"), array("q")
    endpoints, type_of_key = array("H"), array("H")
    operations, ttls = array("B"), array("d")
    key_ids: dict[tuple[int, str], int] = {}
    type_ids: dict[str, int] = {}
    endpoint_ids: dict[str, int] = {}
    notes: list[str] = []
    back = _StepsBack()
    without_zone = False
    reads = 0
    for row in _rows(source, format_, columns, notes.append):
        type_ = _name_id(type_ids, row, "type") if "type" in row else 0
        key_id = key_ids.setdefault((type_, _text(row, "key")), len(key_ids))
        if key_id == len(type_of_key):
            type_of_key.append(type_)
        keys.append(key_id)
        if "time" in row:
            value = row["time"]
            if type(value) is str:
                value, is_zoned = _time_of(value)
                without_zone |= not is_zoned
            times.append(back.checked(_time(value), source.place))
        if "endpoint" in row:
            endpoints.append(_name_id(endpoint_ids, row, "endpoint"))
        if "size" in row:
            sizes.append(_size(row["size"]))
        if "op" in row:
            operations.append(code := operation(row["op"]))
            reads += code == READ
        else:
            reads += 1
        if "ttl" in row:
            ttls.append(_ttl(row["ttl"]))
        # Sorting moves accesses, so a file whose times step back is read to its end.
        if reads == stop and not back.is_met:
            break
    if not keys:
        raise TraceFault(_NO_ACCESS)
    key_array = np.frombuffer(keys, np.uint32)
    first_line = 2 if format_ == "csv" else 1
    fixed = asked or UNITS_OF.get(format_)
    unit, unit_from = unit_of(times, fixed, first_line) if times else ("s", "default")
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
        raise TraceFault(f"the {len(keys):,} accesses of the trace are no reads, and a run reads")
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
        writes=writes,
        notes=tuple(notes),
        **every,
    )


SORTED_WITHIN = 60.0
"""Seconds by which the times of a trace may step back, and are sorted: logs of several writers."""


class _StepsBack:
    """Times that are earlier than one before them: where the furthest one is."""

    def __init__(self) -> None:
        self._latest = 0.0
        self._furthest, self._place, self._number = 0.0, "", 0
        self.is_met = False

    def checked(self, time: float, place: str) -> float:
        if time >= self._latest:
            self._latest = time
            return time
        self.is_met = True
        self._number += 1
        if self._latest - time > self._furthest:
            self._furthest, self._place = self._latest - time, place
        return time

    def order(self, times: NDArray[np.float64], unit: TimeUnit) -> tuple[NDArray[np.int64], str]:
        """Return the order of *times*, stable, and what to tell; TraceFault if too far back."""
        seconds = self._furthest / UNITS[unit]
        if seconds > SORTED_WITHIN:
            raise TraceFault(
                f"time steps back by {seconds:,.6g} s; up to {SORTED_WITHIN:g} s are sorted: sort "
                "the trace by time",
                place=self._place,
            )
        told = (
            f"{self._number:,} accesses of the trace stand up to {seconds:.3g} s behind later "
            "ones; they are sorted by time."
        )
        return np.argsort(times, kind="stable"), told


def _rows(
    source: Source,
    format_: str,
    columns: Mapping[str, str] | None,
    note: Callable[[str], None],
) -> Iterator[Row]:
    if columns and (format_ in SPECIAL or format_ in LAYOUTS):
        raise TraceFault(f"{format_} has columns of its own; leave --columns or --format out")
    if format_ in SPECIAL:
        yield from map(_numbers, SPECIAL[format_](source))
    elif format_ in LAYOUTS:
        yield from map(_numbers, table_rows(source, LAYOUTS[format_], note))
    elif format_ == "jsonl":
        yield from _json_rows(source, columns, note)
    elif columns:
        layout = Layout(columns=columns, separator="\t" if format_ == "tsv" else ",")
        yield from map(_numbers, table_rows(source, layout, note))
    else:
        yield from _csv_rows(source, "\t" if format_ == "tsv" else ",", note)


def _numbers(row: Row) -> Row:
    """Return *row* with whole sizes as numbers, as `_size` needs them."""
    if "size" in row and _INTEGER.fullmatch(text := str(row["size"]).strip()):
        row["size"] = int(text)
    return row


def _csv_rows(source: Source, separator: str, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield a dictionary a row; each line is a row, so an open quote is found where it stands.

    Lines that begin with # are passed over before the header, and columns that are no fields.
    """
    header: list[str] = []
    passed: list[str] = []
    comment = ""
    for line in source.lines():
        if not header and line.startswith("#"):
            comment = comment or line
            continue
        cells = line.split(separator)
        if '"' in line or "\r" in line:
            try:
                cells = next(csv.reader([line], delimiter=separator, strict=True))
            except csv.Error as error:
                raise TraceFault(
                    f"the row is no CSV ({error}); close quotes on their line"
                ) from None
        if not header:
            _check_header(line, cells, separator, comment)
            header = cells
            passed = [name for name in header if name not in FIELDS]
            if passed:
                note(f"Columns of the trace that are passed over: {', '.join(passed[:10])}.")
            continue
        if len(cells) != len(header):
            message = f"the row has {len(cells)} values and the header {len(header)} fields"
            raise TraceFault(f"{message}; write one value a field, with commas between")
        row: Row = dict(zip(header, cells, strict=True))
        for name in passed:
            del row[name]
        if "size" in row and _INTEGER.fullmatch(text := str(row["size"])):
            row["size"] = int(text)
        yield row


def _json_rows(
    source: Source, columns: Mapping[str, str] | None, note: Callable[[str], None]
) -> Iterator[Row]:
    # Objects become tuples of pairs: a field that stands twice stays visible.
    decoder = json.JSONDecoder(object_pairs_hook=tuple)
    fields: set[str] = set()
    wanted = {name: field for field, name in columns.items()} if columns else None
    passed: list[str] = []
    for line in source.lines():
        try:
            pairs = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", str(error))
            if not fields and holds_binary(line):
                raise TraceFault(BINARY) from None
            if not fields:
                reason += _other_format(line)
            raise TraceFault(f"the line is no JSON ({reason}); write one object a line") from None
        if not isinstance(pairs, tuple):
            raise TraceFault(f"the line is {_shown(pairs)}; write one object a line")
        row: Row = dict(pairs)
        if wanted is not None:
            for name, field in wanted.items():
                if name not in row:
                    raise TraceFault(
                        f"there is no {_shown(name)} for the {field}; the line has {', '.join(row)}"
                    )
            yield {field: row[name] for name, field in wanted.items()}
            fields = fields or {"key"}
            continue
        if not fields or len(row) != len(pairs) or row.keys() != fields:
            _check_fields([name for name, _ in pairs])
            if not fields and (passed := [name for name in row if name not in FIELDS]):
                note(f"Fields of the trace that are passed over: {', '.join(passed[:10])}.")
            if fields:
                message = f"the fields are {', '.join(row)}, on line 1 {', '.join(sorted(fields))}"
                raise TraceFault(f"{message}; write the same on every line")
            fields = set(row)
        for name in passed:
            del row[name]
        yield row


_KNOWN = f"known are {', '.join(FIELDS)}"


def _other_format(line: str) -> str:
    """Return what the first *line* of a file named as JSON lines looks like, after a comma."""
    if line.startswith("["):
        return ", it begins a list: `jq -c '.[]'` unpacks it"
    is_csv = any(cell.strip('" ') in FIELDS for cell in line[:HEAD_BYTES].split(","))
    return ", it looks like the header of a CSV: name the file .csv" if is_csv else ""


def _check_header(line: str, cells: Sequence[str], separator: str, comment: str) -> None:
    """Raise TraceFault unless *cells*, those of the first *line* of a table, name the fields.

    comment: one before it.
    """
    if (known := recognised(line)) and separator == ",":
        raise TraceFault(
            f"the line {_shown(line[:60])} is of a trace as {known} publishes them; say "
            f"--format {known}"
        )
    if any(cell in FIELDS for cell in cells):
        return _check_fields(cells)
    if line.lstrip().startswith(("{", "[")):
        raise TraceFault(
            "the line is JSON, no header of a CSV; name the file .jsonl, an object a line, or say "
            "--format jsonl"
        )
    start = _shown(line[:60])
    for mark, name, remedy in ((";", "semicolons", "write commas"),
                               ("\t", "tabs", "say --format tsv, or write commas")):  # fmt: skip
        if any(cell.strip('"') in FIELDS for cell in line[:HEAD_BYTES].split(mark)):
            raise TraceFault(f"the header {start} has {name} between its fields; {remedy}")
    if holds_binary(line):
        raise TraceFault(BINARY)
    message = "the first line must name the fields"
    near = {cell.strip(' "').lower() for cell in cells[:100]} & set(FIELDS)
    if near:
        raise TraceFault(
            f"{message} and is {start}; write {', '.join(sorted(near))} just so; {_KNOWN}"
        )
    said = f" (behind the comment {_shown(comment[:60])})" if comment else ""
    raise TraceFault(
        f"{message} and is {start}{said}; say which column is what, by name or number: --columns "
        f"key=2,time=1; {_KNOWN}"
    )


def _check_fields(names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise TraceFault(f"the field {_shown(name)} stands twice; keep one")
        if name not in FIELDS and (near := name.strip(' "').lower()) in FIELDS:
            raise TraceFault(f"there is a field {_shown(name)}; write {near} just so; {_KNOWN}")
    if "key" not in names:
        raise TraceFault(
            f"there is no field 'key', and every trace needs it; {_KNOWN}: --columns key=NAME says "
            "which column it is"
        )


def _text(row: dict[str, object], field: str) -> str:
    value = row[field]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_FIELD_CHARS:
        limits = f"a {field} is a whole number or text of 1 to {MAX_FIELD_CHARS} characters"
        raise TraceFault(f"{field} is {_shown(value)}; {limits}")
    if not value.isascii() and _SURROGATE.search(value):
        raise TraceFault(f"{field} is {_shown(value)}, which is not Unicode; mend its escapes")
    return value


def _name_id(ids: dict[str, int], row: dict[str, object], field: str) -> int:
    name = _text(row, field)
    number = ids.setdefault(name, len(ids))
    if number == 2**16:
        raise TraceFault(f"{field} {_shown(name)} is one more than {2**16}; merge some of them")
    return number


def _time_of(text: str) -> tuple[float, bool]:
    """Return the time that *text* writes, a number or ISO 8601, and whether it states its zone."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text), True
    try:
        time = datetime.fromisoformat(
            text.removesuffix(" UTC") + ("Z" if text[-4:] == " UTC" else "")
        )
    except ValueError:
        raise TraceFault(
            f"time is {_shown(text)}; a time is a number, at least 0, or as in 2026-01-31T12:00:00Z"
        ) from None
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC).timestamp(), False
    return time.timestamp(), True


def _time(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _MAX:
        raise TraceFault(f"time is {_shown(value)}; a time is a number, at least 0")
    return float(value)


def _ttl(value: object) -> float:
    """Return a TTL in seconds; 0 and nothing are none."""
    text = "" if value is None else str(value).strip()
    if not text:
        return 0.0
    if isinstance(value, bool) or not _NUMBER.fullmatch(text) or not 0 <= float(text) <= _MAX:
        raise TraceFault(f"ttl is {_shown(value)}; a ttl is a number of seconds, 0 for none")
    return float(text)


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise TraceFault(f"size is {_shown(value)}; a size is a whole number of bytes, at least 0")
    return value


def _shown(value: object) -> str:
    """Return a short text of *value* on one line."""
    if isinstance(value, tuple | list):
        return "an object" if isinstance(value, tuple) else "a list"
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
