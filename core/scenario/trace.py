"""Read recorded cache-access traces: CSV, JSON lines or raw words, plain, .gz or .xz."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.scenario.trace_source import (
    BINARY,
    HEAD_BYTES,
    Source,
    TraceFault,
    holds_binary,
    is_text,
    open_trace,
)
from core.scenario.trace_time import TimeUnit, relative, unit_of

FIELDS = ("key", "time", "endpoint", "type", "size")
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
    """The accesses of one trace in file order; every array has shape (n,) and is read-only.

    Keys are dense ids, numbered by first appearance in the file, so a longer reading of the same
    file keeps them. In CSV and JSON lines a key is a (type, key) pair where there are types, and
    names stand in order of first appearance. In the raw format a key is the whole 32-bit word,
    and `type_names` are the decimal numbers of the types that were read, ascending.
    """

    source: str  # the file's name without directories
    format: str  # "csv", "jsonl" or "raw"
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
    key_names: tuple[str, ...] = ()  # the keys as the file has them, by id, where asked for

    def __post_init__(self) -> None:
        for values in (self.keys, self.times, self.types, self.endpoints, self.sizes):
            if values is not None:
                values.setflags(write=False)


def read_trace(
    path: Path,
    *,
    stop: int | None = None,
    time_unit: TimeUnit | None = None,
    with_names: bool = False,
) -> Trace:
    """Return the first *stop* accesses of the trace at *path*, or all of them.

    time_unit: of the times in the file; None tells it by the values, seconds by default.
    with_names: whether the keys are kept as they stand in the file, too.

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
        format_, stream = open_trace(path)
    except TraceFault as fault:
        raise InputError(f"{name}: {fault}") from None
    with stream:
        source = Source(stream)
        try:
            if format_ == "raw":
                return _read_raw(path.name, source, stop, with_names)
            return _read_text(path.name, source, stop, format_, time_unit, with_names)
        except TraceFault as fault:
            raise InputError(f"{name} {fault.place or source.place}: {fault}") from None


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
                "this is text, and .trace is the ending of 32-bit words; name it .csv and write "
                "the fields into its first line, such as key",
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
        format="raw",
        keys=keys,
        key_count=known.size,
        types=type_of_key[keys],
        type_names=tuple(str(number) for number in numbers.tolist()),
        key_names=tuple(map(str, known[np.argsort(known_ids)].tolist())) if with_names else (),
    )


def _read_text(
    file_name: str,
    source: Source,
    stop: int | None,
    format_: str,
    asked: TimeUnit | None,
    with_names: bool,
) -> Trace:
    keys, times, sizes = array("I"), array("d"), array("q")
    endpoints, type_of_key = array("H"), array("H")
    key_ids: dict[tuple[int, str], int] = {}
    type_ids: dict[str, int] = {}
    endpoint_ids: dict[str, int] = {}
    for row in _csv_rows(source) if format_ == "csv" else _json_rows(source):
        type_ = _name_id(type_ids, row, "type") if "type" in row else 0
        key_id = key_ids.setdefault((type_, _text(row, "key")), len(key_ids))
        if key_id == len(type_of_key):
            type_of_key.append(type_)
        keys.append(key_id)
        if "time" in row:
            times.append(_time(row["time"], times[-1] if times else 0.0))
        if "endpoint" in row:
            endpoints.append(_name_id(endpoint_ids, row, "endpoint"))
        if "size" in row:
            sizes.append(_size(row["size"]))
        if len(keys) == stop:
            break
    if not keys:
        raise TraceFault(_NO_ACCESS)
    key_array = np.frombuffer(keys, np.uint32)
    first_line = 2 if format_ == "csv" else 1
    unit, unit_from = unit_of(times, asked, first_line) if times else ("s", "default")
    return Trace(
        source=file_name,
        format=format_,
        keys=key_array,
        key_count=len(key_ids),
        times=relative(times, unit, first_line) if times else None,
        time_unit=unit,
        unit_from=unit_from,
        types=np.frombuffer(type_of_key, np.uint16)[key_array] if type_ids else None,
        type_names=tuple(type_ids),
        endpoints=np.frombuffer(endpoints, np.uint16) if endpoints else None,
        endpoint_names=tuple(endpoint_ids),
        sizes=np.frombuffer(sizes, np.int64) if sizes else None,
        key_names=tuple(key for _, key in key_ids) if with_names else (),
    )


def _csv_rows(source: Source) -> Iterator[dict[str, object]]:
    """Yield a dictionary a row; each line is a row, so an open quote is found where it stands."""
    header: list[str] = []
    for line in source.lines():
        cells = line.split(",")
        if '"' in line or "\r" in line:
            try:
                cells = next(csv.reader([line], strict=True))
            except csv.Error as error:
                raise TraceFault(
                    f"the row is no CSV ({error}); close quotes on their line"
                ) from None
        if not header:
            _check_header(line, cells)
            header = cells
            continue
        if len(cells) != len(header):
            message = f"the row has {len(cells)} values and the header {len(header)} fields"
            raise TraceFault(f"{message}; write one value a field, with commas between")
        row: dict[str, object] = dict(zip(header, cells, strict=True))
        if "time" in row and _NUMBER.fullmatch(text := str(row["time"])):
            row["time"] = float(text)
        if "size" in row and _INTEGER.fullmatch(text := str(row["size"])):
            row["size"] = int(text)
        yield row


def _json_rows(source: Source) -> Iterator[dict[str, object]]:
    # Objects become tuples of pairs: a field that stands twice stays visible.
    decoder = json.JSONDecoder(object_pairs_hook=tuple)
    fields: set[str] = set()
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
        row = dict(pairs)
        if not fields or len(row) != len(pairs) or row.keys() != fields:
            _check_fields([name for name, _ in pairs])
            if fields:
                message = f"the fields are {', '.join(row)}, on line 1 {', '.join(sorted(fields))}"
                raise TraceFault(f"{message}; write the same on every line")
            fields = set(row)
        yield row


_KNOWN = f"known are {', '.join(FIELDS)}"


def _other_format(line: str) -> str:
    """Return what the first *line* of a file named as JSON lines looks like, after a comma."""
    if line.startswith("["):
        return ", it begins a list: `jq -c '.[]'` unpacks it"
    is_csv = any(cell.strip('" ') in FIELDS for cell in line[:HEAD_BYTES].split(","))
    return ", it looks like the header of a CSV: name the file .csv" if is_csv else ""


def _check_header(line: str, cells: Sequence[str]) -> None:
    """Raise Fault unless *cells*, those of the first *line* of a CSV, name the fields."""
    if any(cell in FIELDS for cell in cells) and not line.startswith("#"):
        return _check_fields(cells)
    if line.lstrip().startswith(("{", "[")):
        raise TraceFault(
            "the line is JSON, no header of a CSV; name the file .jsonl, an object a line"
        )
    start = _shown(line[:60])
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if any(cell.strip('"') in FIELDS for cell in line[:HEAD_BYTES].split(mark)):
            raise TraceFault(f"the header {start} has {name} between its fields; write commas")
    if holds_binary(line):
        raise TraceFault(BINARY)
    message = "the first line must name the fields"
    if line.startswith("#"):
        raise TraceFault(f"{message} and is the comment {start}; write such as key,time; {_KNOWN}")
    near = {cell.strip(' "').lower() for cell in cells[:100]} & set(FIELDS)
    if near:
        raise TraceFault(
            f"{message} and is {start}; write {', '.join(sorted(near))} just so; {_KNOWN}"
        )
    raise TraceFault(
        f"{message} and is {start}; write such as key,time above it, a name for each column; "
        f"{_KNOWN}"
    )


def _check_fields(names: Sequence[str]) -> None:
    if unknown := list(dict.fromkeys(name for name in names if name not in FIELDS)):
        shown = ", ".join(map(_shown, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        are = f"is a field {shown}" if len(unknown) == 1 else f"are fields {shown}"
        raise TraceFault(f"there {are}; {_KNOWN}, remove all others")
    for index, name in enumerate(names):
        if name in names[:index]:
            raise TraceFault(f"the field {_shown(name)} stands twice; keep one")
    if "key" not in names:
        raise TraceFault(f"there is no field 'key', and every trace needs it; {_KNOWN}")


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


def _time(value: object, after: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _MAX:
        raise TraceFault(f"time is {_shown(value)}; a time is a number, at least 0")
    if (time := float(value)) < after:
        raise TraceFault(f"time is {time} after {after}; times never decrease, sort by time")
    return time


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
