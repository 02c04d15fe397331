"""The text of a table: it is decompressed and decoded, and its header is found."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, BinaryIO, cast

from core.errors import InputError
from core.packed import NO_ZSTD, ZSTD_MAGIC, damage, zstd

SEPARATORS = (",", ";", "\t", "|")
_SEARCHED = 100
"""Lines that are searched for a header: exports put titles and comments before it."""
_LONGEST = 2**20
"""The most characters of a line; a longer line is not a row of a table."""
_SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # tells a spreadsheet the separator

_FOREIGN = (
    (b"PK\x03\x04", "a zip archive, as .xlsx files are", "save the table in it as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook (.xls)", "save the table in it as CSV"),
    (b"SQLite format 3\0", "an SQLite database", "give it as --db if the service made it"),
    (b"PAR1", "a Parquet file", "write it as CSV"),
    (b"%PDF", "a PDF document", "save the table in it as CSV"),
)
_BOMS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(slots=True)
class Table:
    """A table's header and its rows, read once.

    separator: between columns. notes: about the lines before the header.
    """

    file: Path
    names: list[str]
    separator: str
    header_line: int
    lines: Iterator[str]
    notes: list[str] = field(default_factory=list)

    def place(self, line: int) -> str:
        """Return the name of line number *line* of the rows in an error."""
        return f"{self.file}:{self.header_line + line}"


@contextmanager
def open_text(file: Path) -> Iterator[IO[str]]:
    """Open the text in *file*: UTF-8, or UTF-16 or -32 with a mark; plain, .gz, .xz, .bz2 or .zst.

    The content decides, not the ending. Raise InputError that names any other content.
    """
    try:
        with file.open("rb") as raw:
            kind = os.fstat(raw.fileno()).st_mode
            if stat.S_ISBLK(kind) or (stat.S_ISCHR(kind) and not raw.isatty()):
                raise InputError(f"{file}: is a device, and may never end; give a file or a pipe")
            stream = _decompressed(file, raw)
            encoding = _encoding(file, stream.peek(4096)[:4096])
            with io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
                yield text
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: is not {error.encoding.upper()} text ({error.reason}); save it as UTF-8"
        ) from None
    except damage() as error:
        raise InputError(
            f"{file}: is compressed and damaged ({error}); copy the file again"
        ) from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from None


def _decompressed(file: Path, raw: io.BufferedReader) -> io.BufferedReader:
    head = raw.peek(6)
    source = cast(BinaryIO, raw)
    if head.startswith(b"\x1f\x8b"):
        opened: object = gzip.GzipFile(fileobj=source)
    elif head.startswith(b"\xfd7zXZ\0"):
        opened = lzma.LZMAFile(source)  # noqa: SIM115  # closed with what wraps it
    elif head.startswith(b"BZh"):
        opened = bz2.BZ2File(source)
    elif head.startswith(ZSTD_MAGIC):
        if (library := zstd()) is None:
            raise InputError(f"{file}: {NO_ZSTD}")
        opened = library.ZstdFile(source)
    else:
        return raw
    return io.BufferedReader(cast(io.RawIOBase, opened))


def _encoding(file: Path, head: bytes) -> str:
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise InputError(f"{file}: is {what}, not a CSV file; {remedy}")
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    start = head[:64] if len(head) % 2 == 0 else head[:63]
    if b"\0" in start:
        if not any(start[1::2]):
            return "utf-16-le"
        if not any(start[::2]):
            return "utf-16-be"
        raise InputError(f"{file}: is binary data, not a CSV file; save the table as UTF-8 CSV")
    if head.lstrip()[:1] in (b"{", b"["):
        raise InputError(f"{file}: is JSON, not a CSV file; write the table as CSV")
    if head.lstrip()[:1] == b"<":
        raise InputError(f"{file}: is HTML or XML, not a CSV file; save the table as CSV")
    return "utf-8-sig"


def find_table(
    file: Path,
    stream: IO[str],
    is_header: Callable[[str, Sequence[str]], bool],
    *,
    is_row: Callable[[Sequence[str]], bool] | None = None,
) -> Table:
    """Return the table in *stream*, whose header is the first line that *is_header* takes.

    Columns are separated by ",", ";", tab or "|", whichever the header shows; a line "sep=;",
    comments, titles and blank lines may stand before it. is_header: is given the line's place, for
    errors, and its cells. *is_row* is given where columns have numbers and no names: the first line
    that it takes is the first row. Raise NoHeader if there is none.
    """
    lines = _lines(file, stream)
    passed: list[int] = []
    first: tuple[int, str] | None = None
    separators: Sequence[str] = SEPARATORS
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if stated := _SEP_LINE.fullmatch(line):
            separators = tuple(dict.fromkeys((stated[1], *SEPARATORS)))
            continue
        for separator in separators:
            names = _cells(line, separator)
            if is_row is not None:
                if not is_row(names):
                    continue
                numbers = [str(place) for place in range(1, len(names) + 1)]
                table = Table(file, numbers, separator, number - 1, chain((line,), lines))
            elif is_header(f"{file}:{number}", names):
                table = Table(file, names, separator, number, lines)
            else:
                continue
            if passed:
                what = "header" if is_row is None else "first row"
                table.notes.append(
                    f"{file}: the {what} stands in line {number}; {_listed(passed)} passed over"
                )
            return table
        passed.append(number)
        if first is None and not line.startswith("#"):
            first = number, line
        if number >= _SEARCHED:
            break
    number, line = first or (1, "")
    separator = max(separators, key=line.count)
    raise NoHeader(file, number, [name.strip() for name in _cells(line, separator)])


class NoHeader(InputError):
    """No line has the required columns; names: the columns of the first line."""

    def __init__(self, file: Path, line: int, names: list[str]) -> None:
        super().__init__(f"{file}:{line}: no header")
        self.place = f"{file}:{line}"
        self.names = names


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _lines(file: Path, stream: IO[str]) -> Iterator[str]:
    read = stream.readline
    while line := read(_LONGEST):
        if len(line) == _LONGEST:
            raise InputError(
                f"{file}: has a line of more than {_LONGEST:,} characters; it is no table of rows"
            )
        yield line


def _listed(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]} before it is"
    return f"{len(numbers)} lines before it are"
