"""Read recorded cache-access traces: CSV, JSON lines or raw words, plain, .gz or .xz."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import math
import re
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

FIELDS = ("key", "time", "endpoint", "type", "size")
FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".trace": "raw"}
COMPRESSIONS = (".gz", ".xz")
TYPE_SHIFT = 27  # a raw word holds the object type in its bits 27-31

MAX_BYTES = 2**30  # after decompression
MAX_LINE_BYTES = 2**20
MAX_FIELD_CHARS = 2**16
CHUNK_BYTES = 2**20  # a multiple of the four bytes of a raw word

_MAX = sys.float_info.max
_NO_ACCESS = "the trace ends here without an access; it needs at least one"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
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
    types: NDArray[np.uint16] | None = None  # index into type_names
    type_names: tuple[str, ...] = ()
    endpoints: NDArray[np.uint16] | None = None  # index into endpoint_names
    endpoint_names: tuple[str, ...] = ()
    sizes: NDArray[np.int64] | None = None  # bytes

    def __post_init__(self) -> None:
        for values in (self.keys, self.times, self.types, self.endpoints, self.sizes):
            if values is not None:
                values.setflags(write=False)


def read_trace(path: Path, *, stop: int | None = None) -> Trace:
    """Return the first *stop* accesses of the trace at *path*, or all of them.

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
        format_, stream = _open(path)
    except _Fault as fault:
        raise InputError(f"{name}: {fault}") from None
    with stream:
        source = _Source(stream)
        try:
            if format_ == "raw":
                return _read_raw(path.name, source, stop)
            return _read_text(path.name, source, stop, format_)
        except _Fault as fault:
            raise InputError(f"{name} {source.place}: {fault}") from None


class _Fault(Exception):
    """What is wrong with the file and what to do, without the place."""


def _open(path: Path) -> tuple[str, io.BufferedIOBase]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    format_ = FORMATS.get(suffixes[-1] if suffixes else "")
    if format_ is None:
        known = f"{', '.join(FORMATS)}, each alone or followed by {' or '.join(COMPRESSIONS)}"
        raise _Fault(f"the ending names no trace format; known are {known}")
    try:
        if path.exists() and not path.is_file():  # a pipe would block, a device never ends
            raise _Fault("this is a folder or a device; name one trace file")
        if compression == ".gz":
            return format_, gzip.open(path, "rb")
        return format_, lzma.open(path, "rb") if compression == ".xz" else path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: the path holds a NUL
        reason = getattr(error, "strerror", error)
        raise _Fault(f"it cannot be opened ({reason}); check the path") from None


class _Source:
    """The decompressed bytes of a file, bounded in number, and how far they have been read."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._position = 0
        self._line = 0

    @property
    def place(self) -> str:
        return f"line {self._line}" if self._line else f"byte {self._position}"

    def read(self, size: int, *, line: bool = False) -> bytes:
        """Return the next *size* bytes, fewer only at the end of the file or of the *line*."""
        try:
            data = self._stream.readline(size) if line else self._stream.read(size)
        except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            raise _Fault(f"the data cannot be read on ({error}); copy the file again") from None
        self._position += len(data)
        if self._position > MAX_BYTES:
            raise _Fault(f"the trace is over {MAX_BYTES} bytes when decompressed; split it")
        return data

    def lines(self) -> Iterator[str]:
        """Yield the lines without their ends."""
        self._line = 1
        while line := self.read(MAX_LINE_BYTES + 2, line=True):
            content = line.removesuffix(b"\n").removesuffix(b"\r")
            if len(content) > MAX_LINE_BYTES:
                raise _Fault(f"the line is over {MAX_LINE_BYTES} bytes; write an access a line")
            try:
                text = content.decode()
            except UnicodeDecodeError as error:
                wrong = f"0x{content[error.start]:02x} at its byte {error.start + 1}"
                raise _Fault(f"the line holds {wrong}; convert the file to UTF-8") from None
            yield text.removeprefix("\ufeff") if self._line == 1 else text
            self._line += 1


def _read_raw(file_name: str, source: _Source, stop: int | None) -> Trace:
    """Return the trace of big-endian 32-bit words, numbering the keys chunk by chunk.

    One np.unique over the whole file takes three times as long and far more memory.
    """
    known = np.empty(0, np.uint32)  # every word so far, sorted
    known_ids = np.empty(0, np.uint32)
    chunks: list[NDArray[np.uint32]] = []
    missing = math.inf if stop is None else 4 * stop
    while data := source.read(int(min(CHUNK_BYTES, missing))):
        if len(data) % 4:
            raise _Fault(f"the last word has {len(data) % 4} of its 4 bytes; copy the file again")
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
        raise _Fault(_NO_ACCESS)
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
    )


def _read_text(file_name: str, source: _Source, stop: int | None, format_: str) -> Trace:
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
        raise _Fault(_NO_ACCESS)
    key_array = np.frombuffer(keys, np.uint32)
    time_array = np.frombuffer(times, np.float64)
    return Trace(
        source=file_name,
        format=format_,
        keys=key_array,
        key_count=len(key_ids),
        times=time_array - time_array[0] if times else None,
        types=np.frombuffer(type_of_key, np.uint16)[key_array] if type_ids else None,
        type_names=tuple(type_ids),
        endpoints=np.frombuffer(endpoints, np.uint16) if endpoints else None,
        endpoint_names=tuple(endpoint_ids),
        sizes=np.frombuffer(sizes, np.int64) if sizes else None,
    )


def _csv_rows(source: _Source) -> Iterator[dict[str, object]]:
    """Yield a dictionary a row; each line is a row, so an open quote is found where it stands."""
    header: list[str] = []
    for line in source.lines():
        cells = line.split(",")
        if '"' in line or "\r" in line:
            try:
                cells = next(csv.reader([line], strict=True))
            except csv.Error as error:
                raise _Fault(f"the row is no CSV ({error}); close quotes on their line") from None
        if not header:
            _check_fields(cells)
            header = cells
            continue
        if len(cells) != len(header):
            message = f"the row has {len(cells)} values and the header {len(header)} fields"
            raise _Fault(f"{message}; write one value a field, with commas between")
        row: dict[str, object] = dict(zip(header, cells, strict=True))
        if "time" in row and _NUMBER.fullmatch(text := str(row["time"])):
            row["time"] = float(text)
        if "size" in row and _INTEGER.fullmatch(text := str(row["size"])):
            row["size"] = int(text)
        yield row


def _json_rows(source: _Source) -> Iterator[dict[str, object]]:
    # Objects become tuples of pairs: a field that stands twice stays visible.
    decoder = json.JSONDecoder(object_pairs_hook=tuple)
    fields: set[str] = set()
    for line in source.lines():
        try:
            pairs = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", str(error))
            raise _Fault(f"the line is no JSON ({reason}); write one object a line") from None
        if not isinstance(pairs, tuple):
            raise _Fault(f"the line is {_shown(pairs)}; write one object a line")
        row = dict(pairs)
        if not fields or len(row) != len(pairs) or row.keys() != fields:
            _check_fields([name for name, _ in pairs])
            if fields:
                message = f"the fields are {', '.join(row)}, on line 1 {', '.join(sorted(fields))}"
                raise _Fault(f"{message}; write the same on every line")
            fields = set(row)
        yield row


def _check_fields(names: Sequence[str]) -> None:
    known = f"known are {', '.join(FIELDS)}"
    for index, name in enumerate(names):
        if name not in FIELDS:
            raise _Fault(f"there is a field {_shown(name)}; {known}, remove all others")
        if name in names[:index]:
            raise _Fault(f"the field {_shown(name)} stands twice; keep one")
    if "key" not in names:
        raise _Fault(f"there is no field 'key', and every trace needs it; {known}")


def _text(row: dict[str, object], field: str) -> str:
    value = row[field]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_FIELD_CHARS:
        limits = f"a {field} is a whole number or text of 1 to {MAX_FIELD_CHARS} characters"
        raise _Fault(f"{field} is {_shown(value)}; {limits}")
    if not value.isascii() and _SURROGATE.search(value):
        raise _Fault(f"{field} is {_shown(value)}, which is not Unicode; mend its escapes")
    return value


def _name_id(ids: dict[str, int], row: dict[str, object], field: str) -> int:
    name = _text(row, field)
    number = ids.setdefault(name, len(ids))
    if number == 2**16:
        raise _Fault(f"{field} {_shown(name)} is one more than {2**16}; merge some of them")
    return number


def _time(value: object, after: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _MAX:
        raise _Fault(f"time is {_shown(value)}; a time is a number of seconds, at least 0")
    if (time := float(value)) < after:
        raise _Fault(f"time is {time} after {after}; times never decrease, sort by time")
    return time


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise _Fault(f"size is {_shown(value)}; a size is a whole number of bytes, at least 0")
    return value


def _shown(value: object) -> str:
    """Return a short text of *value* on one line."""
    if isinstance(value, tuple | list):
        return "an object" if isinstance(value, tuple) else "a list"
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
