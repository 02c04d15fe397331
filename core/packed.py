"""Files as they are handed around: compressed, encoded, and read as a stream of bytes or lines."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from core.errors import InputError

PARQUET = b"PAR1"
MAX_LINE = 2**20
"""The most characters of a line; a longer one is no line of a log or a table."""

_BUFFER = 2**18
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive, as .xlsx files are", "unpack it, or save its table as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook (.xls)", "save its table as CSV"),
    (b"SQLite format 3\0", "an SQLite database", "export its table as CSV"),
    (b"%PDF", "a PDF document", "export the data as CSV"),
    (b"Obj\x01", "an Avro file", "export the data as CSV, NDJSON or Parquet"),
    (b"ORC", "an ORC file", "export the data as CSV, NDJSON or Parquet"),
)
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_DAMAGED: tuple[type[Exception], ...] = (
    EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile,
)  # fmt: skip
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
NO_ZSTD = (
    "is compressed with zstd, which needs a package: pip install 'edgeproof[formats]', or "
    "decompress it with zstd -d"
)


class Packed(io.BufferedReader):
    """The decompressed bytes of a file, and how much of the file has been read."""

    def __init__(self, source: Any, descriptor: int) -> None:
        super().__init__(source, _BUFFER)
        self._descriptor = descriptor

    def share(self) -> float:
        """Return the share of the file that has been read, 0 of a pipe."""
        try:
            size = os.fstat(self._descriptor).st_size
            return os.lseek(self._descriptor, 0, os.SEEK_CUR) / size if size else 0.0
        except OSError:
            return 0.0


@contextmanager
def open_packed(file: Path) -> Iterator[Packed]:
    """Open the bytes of *file*, decompressed: plain, .gz, .xz, .bz2 or .zst, as the content says.

    A pipe is read, too. Raise InputError, also while the bytes are read, for a file that cannot be
    read, is damaged, or holds another kind of data.
    """
    try:
        with file.open("rb", buffering=0) as raw:
            kind = os.fstat(raw.fileno()).st_mode
            if stat.S_ISBLK(kind) or (stat.S_ISCHR(kind) and not raw.isatty()):
                raise InputError(f"{file}: is a device, and may never end; give a file or a pipe")
            yield _decompressed(file, Packed(raw, raw.fileno()), raw.fileno())
    except damage() as error:
        raise InputError(
            f"{file}: is compressed and damaged ({error}); copy the file again"
        ) from None
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror or error}); check the path"
        ) from None


def _decompressed(file: Path, raw: Packed, descriptor: int) -> Packed:
    head = raw.peek(16)[:16]
    source = cast(BinaryIO, raw)
    if head.startswith(b"\x1f\x8b"):
        opened: object = gzip.GzipFile(fileobj=source)
    elif head.startswith(b"\xfd7zXZ\0"):
        opened = lzma.LZMAFile(source)  # noqa: SIM115  # closed with what wraps it
    elif head.startswith(b"BZh"):
        opened = bz2.BZ2File(source)
    elif head.startswith(ZSTD_MAGIC):
        library = zstd()
        if library is None:
            raise InputError(f"{file}: {NO_ZSTD}")
        opened = library.ZstdFile(source)
    else:
        return raw
    return Packed(opened, descriptor)


def zstd() -> Any:
    """Return the module that reads zstd: Python's own from 3.14 on, its backport; None: neither."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def damage() -> tuple[type[Exception], ...]:
    """Return what reading damaged compressed data raises; a gzip file's is an OSError, too."""
    library = zstd()
    return _DAMAGED if library is None else (*_DAMAGED, library.ZstdError)


@contextmanager
def text_lines(file: Path, stream: Packed) -> Iterator[Iterator[str]]:
    """Read the bytes of *stream* as text: UTF-8, or UTF-16 or -32 with a mark.

    Lines keep their ends. Raise InputError, also while lines are read, for other bytes and for a
    line of over MAX_LINE characters.
    """
    encoding = _encoding(file, stream.peek(4096)[:4096])
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    try:
        yield _bounded(file, text)
    except UnicodeDecodeError as error:
        wrong = error.object[error.start : error.start + 1].hex()
        raise InputError(
            f"{file}: is not {error.encoding.upper()} text (it has the byte 0x{wrong}); "
            "convert it to UTF-8, for example with iconv"
        ) from None
    finally:
        text.detach()


def _bounded(file: Path, text: io.TextIOWrapper) -> Iterator[str]:
    read = text.readline
    while line := read(MAX_LINE):
        if len(line) == MAX_LINE:
            raise InputError(
                f"{file}: has a line of more than {MAX_LINE:,} characters; it holds no lines of a "
                "log or a table"
            )
        yield line


_ACCESS_LOG = re.compile(
    rb"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]|^#Fields: |\"EdgeStartTimestamp\""
    rb"|\"ClientRequestURI\"|^(?:https?|h2|wss?) \d{4}-\d\d-\d\dT\S+Z app/",
    re.MULTILINE,
)


def access_log_hint(file: Path) -> str:
    """Return what to do with *file* if it begins as an access log does, "" for another one."""
    try:
        if not file.is_file():
            return ""
        with open_packed(file) as stream:
            is_log = _ACCESS_LOG.search(stream.peek(4096)[:4096]) is not None
    except (InputError, OSError):
        return ""
    return "; an access log: edgeproof import log FILE --out NAME.toml reads it" if is_log else ""


def _encoding(file: Path, head: bytes) -> str:
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise InputError(f"{file}: is {what}; {remedy}")
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    start = head[:64] if len(head) % 2 == 0 else head[:63]
    if b"\0" in start:
        if not any(start[1::2]):
            return "utf-16-le"
        if not any(start[::2]):
            return "utf-16-be"
        raise InputError(f"{file}: is binary data, no text; export the data as CSV or NDJSON")
    return "utf-8-sig"
