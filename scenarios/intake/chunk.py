"""What readers make of a part of a log: a row a line, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
NO_KEY = 1
"""The key of a request that has none."""


class Left(IntEnum):
    """Why a line is no access of an endpoint; COMMENT is not counted."""

    NO_RULE = -1
    STATIC = -2
    BAD_LINE = -3
    NO_REQUEST = -4
    BAD_TIME = -5
    BAD_STATUS = -6
    AGENT = -7
    STATED = -8
    COMMENT = -9
    LATE = -10


class Cache(IntEnum):
    """What a log says of the cache: nothing, a miss, a hit, or that it was not asked."""

    UNKNOWN = -1
    MISS = 0
    HIT = 1
    PASSED = 2


HITS = (
    b"hit", b"refreshhit", b"originshieldhit", b"revalidated", b"stale", b"updating", b"stream_hit",
)  # fmt: skip
MISSES = (b"miss", b"expired", b"deferred")

_ENDINGS = (
    "js mjs css map png jpg jpeg gif svg ico webp avif bmp woff woff2 ttf otf eot mp4 webm mp3 ogg "
    "wav txt pdf wasm webmanifest xml"
)
STATIC = tuple(f".{ending}".encode() for ending in _ENDINGS.split(" "))
"""Endings of files that are no requests of an application."""


# Arrays have no single truth value: a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """A row for each line; arrays of shape (n,).

    rule: the position of its rule, or why it has none (Left). time: microseconds since 1970 of
    the request's begin; end: whether it is still that of the answer's end, whose latency the line
    does not tell. key: hashed; key_text: as it stands in the log, where it is asked for. status;
    latency: microseconds, UNKNOWN where the line does not tell; cache: of Cache. without_zone:
    how many times state no zone.
    """

    rule: NDArray[np.int16]
    time: NDArray[np.int64]
    key: NDArray[np.uint64]
    status: NDArray[np.int16]
    latency: NDArray[np.int64]
    cache: NDArray[np.int8]
    key_text: list[bytes] | None = None
    without_zone: int = 0
