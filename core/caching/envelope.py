"""What L2 holds: a value sealed with the times of its load, its tags and a checksum."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple
from zlib import crc32

from core.caching.policy import CacheType

_HEADER = struct.Struct(">3sIBqqIH")
_BODY = struct.Struct(">BqqIH")
_START = struct.Struct(">3sI")
_BODY_START = _HEADER.size - _BODY.size  # all from here on is covered by the checksum
_MAGIC = b"EP2"
_unpack = _HEADER.unpack_from
HEADER_BYTES = _HEADER.size
"""Bytes that an envelope without tags adds to the encoded value."""

_MICROSECONDS = 4_294_967_295


class Envelope(NamedTuple):
    """A value as it was loaded; None is the known absence of one.

    loaded_ms: epoch milliseconds of the start of its load, by which invalidations judge it;
    expires_ms: end of its TTL; load_seconds: how long the load took; size: bytes of the envelope.
    """

    value: Any
    loaded_ms: int
    expires_ms: int
    load_seconds: float
    tags: tuple[str, ...]
    size: int


def seal(
    encoded: bytes | None,
    *,
    loaded_ms: int,
    expires_ms: int,
    load_seconds: float = 0.0,
    tags: tuple[str, ...] = (),
) -> bytes:
    """Return an encoded value as L2 keeps it; None is the absence of one.

    Raise ValueError if a tag is empty or holds a NUL character, or the tags take over 65,535 bytes.
    """
    labels = "\0".join(tags).encode() if tags else b""
    if tags and ("" in tags or len(labels) > 65_535 or labels.count(b"\0") != len(tags) - 1):
        raise ValueError("tags are not empty, hold no NUL and take at most 65,535 bytes together")
    microseconds = min(int(load_seconds * 1e6), _MICROSECONDS)
    body = _BODY.pack(encoded is None, loaded_ms, expires_ms, microseconds, len(labels))
    if labels:
        body += labels
    if encoded:
        body += encoded
    return _START.pack(_MAGIC, crc32(body)) + body


def unseal(kind: CacheType[Any], data: bytes) -> Envelope:
    """Return what `seal` wrote; ValueError if *data* is anything else."""
    try:
        magic, checksum, absent, loaded_ms, expires_ms, microseconds, length = _unpack(data)
        if magic != _MAGIC or crc32(data[_BODY_START:]) != checksum:
            raise ValueError("not an entry of this cache")
        start = HEADER_BYTES + length
        labels = data[HEADER_BYTES:start].decode() if length else ""
        value = None if absent else kind.codec.decode(data[start:])
    except (struct.error, TypeError, KeyError) as error:
        raise ValueError(f"not an entry of this cache: {error}") from None
    tags = tuple(labels.split("\0")) if length else ()
    fields = (value, loaded_ms, expires_ms, microseconds / 1e6, tags, len(data))
    return tuple.__new__(Envelope, fields)  # half the time of Envelope(...)


def loaded_ms_of(sealed: bytes) -> int:
    """Return when the value in what `seal` wrote was loaded, in epoch milliseconds."""
    return int(_HEADER.unpack_from(sealed)[3])
