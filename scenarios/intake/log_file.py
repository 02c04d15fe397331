"""One log file: its format, and its lines read chunk by chunk."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.packed import MAX_LINE, Packed, open_packed, text_lines
from scenarios.intake.chunk import Chunk
from scenarios.intake.clustering import Collector
from scenarios.intake.layout import Field, Layout
from scenarios.intake.objects import ObjectReader, har_entries
from scenarios.intake.plain import PlainReader
from scenarios.intake.recognition import HAR, Recognised, Stated, fields_of, recognise
from scenarios.intake.requests import Matcher
from scenarios.intake.rules import KeyFrom, Rule
from scenarios.intake.tables import Tables, tables_of

BLOCK = 2**19
"""Bytes that are read at a time."""

MAX_HAR = 2**26
"""Bytes of a HAR file, which is one object and is read whole."""

_HEAD = 2**16
_TELLING = range(5, 51)
"""Lines that a log begins with by which it is taken for the copy of another."""
_FIRST = 4
_END = 10
_OF_KEY = {KeyFrom.ADDRESS: Field.ADDRESS, KeyFrom.USER: Field.USER}
_UTF8 = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How requests are told apart; salt: the key of the hash of keys."""

    rules: Sequence[Rule]
    agents: Sequence[bytes]
    salt: tuple[int, int]
    with_keys: bool = False
    is_compiled: bool = False

    @property
    def fields(self) -> frozenset[Field]:
        """The fields of a line that are needed."""
        needed = {
            Field.TIME, Field.DATE, Field.CLOCK, Field.REQUEST, Field.METHOD, Field.TARGET,
            Field.QUERY, Field.STATUS, Field.LATENCY, Field.CACHE,
        }  # fmt: skip
        if self.agents:
            needed.add(Field.AGENT)
        needed.update(_OF_KEY[rule.key] for rule in self.rules if rule.key in _OF_KEY)
        return frozenset(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Rows of a file; line: the number of the first one; data: their lines."""

    chunk: Chunk
    line: int
    data: bytes


class LogFile:
    """A log file that has been opened once, for its format."""

    def __init__(self, path: Path, stated: Stated) -> None:
        self.path, self._stated = path, stated
        self.share = 0.0
        self._tables: tuple[Layout, Tables] | None = None
        with self._opened() as (_, blocks):
            head = next(blocks, b"")
        self.is_empty = not head.strip()
        self.beginning = _beginning(head)
        self.found: Recognised = recognise(head[:_HEAD], str(path), stated)
        self.begin = self._begin(head[: head.rfind(b"\n", 0, _HEAD) + 1])

    def _begin(self, head: bytes) -> int:
        """Return the earliest time of the first lines, in microseconds; 2**62 if there is none."""
        lines = Collector()
        if self.found.format == "har":
            return 0
        if self.found.objects is not None:
            chunk = ObjectReader(self.found.objects, lines).read(head)  # type: ignore[arg-type]  # it has row()
        else:
            assert self.found.layout is not None
            chunk = PlainReader(self.found.layout, lines).read(head)  # type: ignore[arg-type]  # it has row()
        known = chunk.time[chunk.time > 0]
        return int(known.min()) if known.size else 2**62

    def sample(self, collector: Collector, most: int) -> Iterator[float]:
        """Let *collector* count requests of about *most* blocks from all over the file.

        Yield the share of the file that was read.
        """
        size = self.path.stat().st_size
        stride = max(1, size // (BLOCK * most))
        if self.found.format == "har":
            for _ in self.pieces(None, collector):
                yield 1.0
            return
        with self._opened() as (stream, blocks):
            layout, objects, taken = self.found.layout, self.found.objects, 0
            for number, block in enumerate(blocks):
                if number % stride and number >= _FIRST:
                    continue
                if objects is not None:
                    ObjectReader(objects, collector).read(block)  # type: ignore[arg-type]  # it has row()
                else:
                    assert layout is not None
                    for part in _parts(block, layout.name):
                        if part.startswith(b"#Fields:"):
                            layout = self._changed(part, layout)
                        PlainReader(layout, collector).read(part)  # type: ignore[arg-type]  # it has row()
                taken += 1
                if taken == 2 * most:  # compressed: its blocks are more than its size tells
                    taken, stride = 0, stride * 4
                yield stream.share()

    @contextmanager
    def _opened(self) -> Iterator[tuple[Packed, Iterator[bytes]]]:
        with open_packed(self.path) as stream, closing(_blocks(self.path, stream)) as blocks:
            yield stream, blocks

    def pieces(
        self, reading: Reading | None, collector: Collector | None = None
    ) -> Iterator[Piece]:
        """Yield the rows of the file, in its order; of *collector*'s, if that is given.

        Raise InputError for a file that cannot be read to its end.
        """
        matcher = collector if reading is None else Matcher(reading.rules, reading.agents,
                                                            reading.salt)  # fmt: skip
        assert matcher is not None
        with_keys = reading is not None and reading.with_keys
        objects = self.found.objects
        with self._opened() as (stream, blocks):
            if self.found.format == "har":
                data = b"".join(_bounded(self.path, blocks))
                entries = har_entries(data, str(self.path))
                assert objects is not None
                reader = ObjectReader(objects, matcher)  # type: ignore[arg-type]  # it has row()
                yield Piece(
                    chunk=reader.read_objects(entries, with_keys=with_keys), line=1, data=b""
                )
                return
            line = 1
            if objects is not None:
                lines = ObjectReader(objects, matcher)  # type: ignore[arg-type]  # it has row()
                for block in blocks:
                    self.share = stream.share()
                    yield Piece(chunk=lines.read(block, with_keys=with_keys), line=line, data=block)
                    line += block.count(b"\n")
                return
            layout = self.found.layout
            assert layout is not None
            if reading is not None:
                layout = layout.up_to(reading.fields)
            for block in blocks:
                self.share = stream.share()
                for part in _parts(block, layout.name if not self._stated.fields else ""):
                    if part.startswith(b"#Fields:") and layout.name in ("cloudfront", "w3c"):
                        layout = self._changed(part, layout)
                    yield Piece(
                        chunk=self._chunk(part, layout, reading, matcher, with_keys=with_keys),
                        line=line, data=part,
                    )  # fmt: skip
                    line += part.count(b"\n")

    def _changed(self, part: bytes, layout: Layout) -> Layout:
        """Return the layout of what follows a #Fields line within the file."""
        if self._stated.fields or fields_of([part.partition(b"\n")[0]]) is None:
            return layout
        found = recognise(part[:_HEAD], str(self.path), self._stated)
        return found.layout or layout

    def _chunk(
        self,
        data: bytes,
        layout: Layout,
        reading: Reading | None,
        matcher: Matcher | Collector,
        *,
        with_keys: bool,
    ) -> Chunk:
        if reading is None or not reading.is_compiled:
            reader = PlainReader(layout, matcher)  # type: ignore[arg-type]  # it has row()
            return reader.read(data, with_keys=with_keys)
        if self._tables is None or self._tables[0] is not layout:
            tables = tables_of(layout, reading.rules, reading.agents, reading.salt)
            self._tables = layout, tables
        return compiled_chunk(data, self._tables[1], with_keys=with_keys)


def compiled_chunk(data: bytes, tables: Tables, *, with_keys: bool) -> Chunk:
    """Return a row for each line of *data*, which ends with a line's end; by compiled code."""
    from scenarios.intake.compiled import scan

    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == _END)
    count = ends.size
    chunk = Chunk(
        rule=np.empty(count, np.int16), time=np.empty(count, np.int64),
        key=np.empty(count, np.uint64), status=np.empty(count, np.int16),
        latency=np.empty(count, np.int64), cache=np.empty(count, np.int8),
    )  # fmt: skip
    at, zones = np.empty((count, 2), np.int64), np.zeros(1, np.int64)
    scan(
        array, ends, tables, chunk.rule, chunk.time, chunk.key, at, chunk.status,
        chunk.latency, chunk.cache, zones,
    )  # fmt: skip
    texts = None
    if with_keys:
        texts = [data[a:b] if a >= 0 else b"" for a, b in at.tolist()]
    return Chunk(
        rule=chunk.rule, time=chunk.time, key=chunk.key, status=chunk.status,
        latency=chunk.latency, cache=chunk.cache, key_text=texts, without_zone=int(zones[0]),
    )  # fmt: skip


def _beginning(head: bytes) -> bytes:
    """Return what is the same of a copy of a log: a hash of its first requests; b"": too few."""
    if HAR.match(head):
        return hashlib.sha256(head[:_HEAD]).digest()
    lines = [line.rstrip(b"\r") for line in head[:_HEAD].split(b"\n")]
    lines = [line for line in lines if line and not line.startswith(b"#")][: _TELLING.stop - 1]
    return hashlib.sha256(b"\n".join(lines)).digest() if len(lines) in _TELLING else b""


def _blocks(path: Path, stream: Packed) -> Generator[bytes]:
    """Yield the bytes of *stream* in blocks that end with a line's end, as UTF-8.

    Raise InputError for data that are no text, and for a line that never ends.
    """
    head = stream.peek(4)[:4]
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        with text_lines(path, stream) as lines:
            yield from _joined(lines)
        return
    if HAR.match(stream.peek(256)[:256]):
        while data := stream.read(BLOCK):
            yield data
        return
    rest = b""
    is_first = True
    while data := stream.read(BLOCK):
        if is_first:
            data = data.removeprefix(_UTF8)
            is_first = False
        if b"\0" in data[:_HEAD]:
            raise InputError(
                f"{path}: is binary data, no log; give a log as text, or compressed with gzip, xz "
                "or zstd"
            )
        end = data.rfind(b"\n") + 1
        if end == 0:
            rest += data
            if len(rest) > MAX_LINE + BLOCK:
                raise InputError(
                    f"{path}: has a line of more than {MAX_LINE:,} characters; it is no log of "
                    "lines (one JSON object: say --format har, or write an object a line)"
                )
            continue
        yield rest + data[:end]
        rest = data[end:]
    if rest:
        yield rest + b"\n"


def _joined(lines: Iterator[str]) -> Iterator[bytes]:
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        gathered.append(line.encode("utf-8", "replace"))
        size += len(line)
        if size > BLOCK:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        found = b"".join(gathered)
        yield found if found.endswith(b"\n") else found + b"\n"


def _bounded(path: Path, blocks: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > MAX_HAR:
            raise InputError(
                f"{path}: is a HAR file of over {MAX_HAR:,} bytes, which is read whole; export a "
                "part of it, without the bodies of answers"
            )
        yield block


def _parts(block: bytes, format_: str) -> Iterator[bytes]:
    """Yield *block* in parts that begin at its #Fields lines, where the format has such."""
    if format_ not in ("cloudfront", "w3c"):
        yield block
        return
    start = 0
    while (at := block.find(b"\n#Fields:", start)) >= 0:
        yield block[start : at + 1]
        start = at + 1
    yield block[start:]
