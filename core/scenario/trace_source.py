"""The bytes of a trace file: opened, checked against the file's name, bounded, read by line."""

from __future__ import annotations

import gzip
import io
import lzma
import re
from collections.abc import Iterator
from pathlib import Path

from core.packed import NO_ZSTD, damage, zstd

FORMATS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".trace": "words",
    ".oracleGeneral": "oracleGeneral",
}  # fmt: skip
COMPRESSIONS = (".gz", ".xz", ".zst")

MAX_BYTES = 2**30  # after decompression
MAX_LINE_BYTES = 2**20
HEAD_BYTES = 2**13  # what a format is told by

_MAGIC = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"PAR1": "Parquet",
    b"SQLite format 3\x00": "SQLite",
}
"""First bytes that tell what a file is, whatever it is called."""

_ENDING = {"gzip": ".gz", "xz": ".xz", "zstd": ".zst"}
_UNPACK = {"zip": "unpack it with `unzip`",
           "bzip2": "unpack it with `bunzip2`"}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NUMBERS = re.compile(rb"[0-9 \t\r\n]+")
_COMBINED = re.compile(rb'\S+ \S+ \S+ \[[^\]]+\] "[A-Z]+ ')
_BALANCED = re.compile(rb"(?:https?|h2|wss?|grpcs?) \d{4}-\d\d-\d\dT\S+ app/")
_REQUEST = re.compile(rb'"(ClientRequestURI|request_uri|uri|path|request)"\s*:\s*"')
_SURE_BYTES = 16
"""So many printable bytes are no 32-bit words by chance; fewer have to be digits."""


BINARY = "the file holds binary data, no text; export it as text"


class TraceFault(Exception):
    """What is wrong with the file and what to do; *place* where it is not where reading stands."""

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class AccessLogFault(TraceFault):
    """The file is an access log, and the message says what reads it."""


def open_trace(path: Path, stated: str | None = None) -> tuple[str, io.BufferedIOBase]:
    """Return the format that the name of *path* tells, or the *stated* one, and its bytes.

    The bytes are decompressed; of a stated format the content tells how. Raise TraceFault if the
    name tells none, the file cannot be opened, or its first bytes are not what the name says.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    endings = {ending.lower(): known for ending, known in FORMATS.items()}
    format_ = endings.get(suffixes[-1] if suffixes else "")
    try:
        if path.exists() and not path.is_file():  # a pipe would block, a device never ends
            raise TraceFault("this is a folder or a device; name one trace file")
        if stated is not None:
            return stated, _decompressed(path, _ENDING.get(_kind(path), ""))
        if format_ is None:
            known = f"{', '.join(FORMATS)}, each alone or followed by {', '.join(COMPRESSIONS)}"
            packed = _kind(path) if path.exists() else ""
            hint = f"; it holds {packed} data: {_UNPACK[packed]}" if packed in _UNPACK else ""
            if not hint and path.exists() and (log := log_of(_head(path, _kind(path)))):
                raise AccessLogFault(
                    f"it is an access log ({log}), and no trace; `edgeproof import log {path.name} "
                    "--out NAME.toml` makes a scenario and a trace of it"
                )
            hint = hint or "; --format says what it is; export anything else as CSV"
            raise TraceFault(f"the ending names no trace format; known are {known}{hint}")
        _check_compression(path, compression, format_)
        return format_, _decompressed(path, compression)
    except (OSError, ValueError) as error:  # ValueError: the path holds a NUL
        reason = getattr(error, "strerror", error)
        raise TraceFault(f"it cannot be opened ({reason}); check the path") from None


def _decompressed(path: Path, compression: str) -> io.BufferedIOBase:
    if compression == ".zst":
        if (library := zstd()) is None:
            raise TraceFault(NO_ZSTD)
        opened: io.BufferedIOBase = library.open(path, "rb")
        return opened
    if compression == ".gz":
        return gzip.open(path, "rb")
    return lzma.open(path, "rb") if compression == ".xz" else path.open("rb")


def _head(path: Path, kind: str) -> bytes:
    """Return the first bytes of the file, decompressed; none of a damaged one."""
    try:
        with _decompressed(path, _ENDING.get(kind, "")) as stream:
            return stream.read(HEAD_BYTES)
    except damage():
        return b""


def log_of(head: bytes) -> str:
    """Return the kind of access log that begins with *head*, "" if it is none."""
    first = head.partition(b"\n")[0]
    if first.startswith((b"#Version:", b"#Software:", b"#Fields:")):
        return "CloudFront or W3C extended"
    if _COMBINED.match(first):
        return "nginx or Apache"
    if _BALANCED.match(first):
        return "AWS ALB"
    if first.startswith(b"{") and (found := _REQUEST.search(first)):
        return "Cloudflare Logpush" if found[1] == b"ClientRequestURI" else "JSON"
    return ""


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(16)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def _check_compression(path: Path, compression: str, format_: str) -> None:
    kind = _kind(path)
    if _ENDING.get(kind, "") == compression:
        if kind in ("zip", "bzip2", "Parquet", "SQLite"):
            remedy = _UNPACK.get(kind, "export it as CSV")
            raise TraceFault(f"the content is {kind}, not {format_}; {remedy}")
        return
    if compression and path.stat().st_size:
        name = path.name[: -len(compression)]
        told = f"{kind} data" if kind else "no compressed data"
        remedy = f"name it {name}{_ENDING.get(kind, '')}"
        if kind not in ("", *_ENDING):
            remedy = _UNPACK.get(kind, "export it as CSV")
        raise TraceFault(f"the name ends in {compression} and the content is {told}; {remedy}")
    if not compression:
        raise TraceFault(f"the content is {kind} data; name it {path.name}{_ENDING[kind]}")


class Source:
    """The decompressed bytes of a file, bounded in number, and how far they have been read.

    time_column: what a header calls the column of the times, which may state their unit.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._position = 0
        self._line = 0
        self.time_column = ""

    @property
    def place(self) -> str:
        """Where reading stands."""
        return f"line {self._line}" if self._line else f"byte {self._position}"

    def read(self, size: int, *, line: bool = False) -> bytes:
        """Return the next *size* bytes, fewer only at the end of the file or of the *line*."""
        try:
            data = self._stream.readline(size) if line else self._stream.read(size)
        except damage() as error:
            raise TraceFault(f"the data cannot be read on ({error}); copy the file again") from None
        self._position += len(data)
        if self._position > MAX_BYTES:
            raise TraceFault(f"the trace is over {MAX_BYTES} bytes when decompressed; split it")
        return data

    def lines(self) -> Iterator[str]:
        """Yield the lines without their ends, but for blank ones at the end of the file."""
        self._line = 1
        blank = 0  # the first of the blank lines that were read last
        while line := self.read(MAX_LINE_BYTES + 2, line=True):
            content = line.removesuffix(b"\n").removesuffix(b"\r")
            if len(content) > MAX_LINE_BYTES:
                raise TraceFault(f"the line is over {MAX_LINE_BYTES} bytes; write an access a line")
            if self._line == 1 and (kind := _wide(content)):
                raise TraceFault(
                    f"the file is {kind}; convert it to UTF-8 with `iconv -f {kind} -t UTF-8`"
                )
            try:
                text = content.decode()
            except UnicodeDecodeError as error:
                if self._line == 1 and holds_binary(content.decode("latin-1")):
                    raise TraceFault(BINARY) from None
                wrong = f"0x{content[error.start]:02x} at its byte {error.start + 1}"
                raise TraceFault(f"the line holds {wrong}; convert the file to UTF-8") from None
            if not text:
                blank = blank or self._line
            elif blank:
                raise TraceFault("the line is blank; remove it", place=f"line {blank}")
            else:
                yield text.removeprefix("\ufeff") if self._line == 1 else text
            self._line += 1


def _wide(content: bytes) -> str:
    """Return "UTF-16" or "UTF-32" if *content* begins so, "" otherwise."""
    if content.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "UTF-32"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    # Without a mark: Latin letters, every other byte of which is 0.
    if len(content) >= 4 and content[1:8:2].strip(b"\x00") == b"" and content[0]:
        return "UTF-16LE"
    if len(content) >= 4 and content[0:8:2].strip(b"\x00") == b"" and content[1]:
        return "UTF-16BE"
    return ""


def is_text(head: bytes) -> bool:
    """Return whether *head*, the start of a file of words, can only be lines of text."""
    if b"\n" not in head and b"\r" not in head:
        return False
    if len(head) < _SURE_BYTES:
        return _NUMBERS.fullmatch(head) is not None
    try:
        text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character may be cut off at the end
            return False
        text = head[: error.start].decode(errors="replace")
    return not _CONTROL.search(text)


def holds_binary(line: str) -> bool:
    """Return whether *line* is no text that somebody wrote."""
    return "\x00" in line or sum(not c.isprintable() and c != "\t" for c in line) > len(line) / 10
