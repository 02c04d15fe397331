"""The two response headers that tell where an answer came from and how long it took.

Cache-Status is RFC 9211, Server-Timing the W3C recommendation. Each cache read sends one group,
the cache closest to the origin first, told apart by a parameter that names the read. Here they
are written; `scenarios.cache_status` and `scenarios.server_timing` read them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache

TOKEN_VARIABLE = "EDGEPROOF_TOKEN"  # the name of the variable, not a token
PREFIX = "/api/performance"


def service_token() -> str | None:
    """Return the service's token, which the environment holds; None without one."""
    return os.environ.get(TOKEN_VARIABLE, "").strip() or None


READ_OUTCOMES = ("none", "l1", "l2", "miss", "collapsed", "bypass")
"""What answered one cache read; the position is its code in requests.npz.

l1 and l2 are hits; miss went to the database; collapsed waited for another request's load and
counts as a miss; bypass found L2 failing and went to the database.
"""
NEGATIVE = 16
"""Flag added to a code: the cached answer was that there is nothing."""
STALE = 32
"""Flag added to a code: the cached answer was beyond its TTL, as the scenario allows."""


NONE, L1_HIT, L2_HIT, MISS, COLLAPSED, BYPASS = range(len(READ_OUTCOMES))

ISOLATE_HEADER = "Edgeproof-Isolate"
"""Request header: which isolate of the process answers, 0 to isolates - 1."""

READ_PARAMETER = "read"
"""Parameter of Cache-Status, our own: the name of the cache read that a member belongs to.

RFC 9211's `key` is the cache key.
"""

_GROUPS = {
    L1_HIT: "L1; hit{detail}; {read}",
    L2_HIT: "L2; hit{detail}; {read}, L1; fwd=uri-miss; {read}",
    MISS: "L2; fwd=uri-miss; {read}, L1; fwd=uri-miss; {read}",
    COLLAPSED: "L1; fwd=uri-miss; collapsed; {read}",
    BYPASS: "L2; fwd=bypass; detail=error; {read}, L1; fwd=uri-miss; {read}",
}


_FLAGS = NEGATIVE | STALE
_DETAILS = {
    0: "",
    NEGATIVE: "; detail=negative",
    STALE: "; detail=stale",
    NEGATIVE | STALE: "; detail=negative-stale",
}
FLAGS_OF_DETAIL = {text.partition("=")[2]: flags for flags, text in _DETAILS.items() if text}
"""The flags that a hit's `detail` stands for."""


def cache_status(reads: Iterable[tuple[str, int]]) -> str:
    """Return the Cache-Status value of *reads*: (name, outcome code) each, in their order."""
    return ", ".join([_group(name, code) for name, code in reads])


@lru_cache(maxsize=256)
def _group(name: str, code: int) -> str:
    return _GROUPS[code & ~_FLAGS].format(
        read=f"{READ_PARAMETER}={name}", detail=_DETAILS[code & _FLAGS]
    )


def server_timing(stages: Iterable[tuple[str, float]]) -> str:
    """Return the Server-Timing value of *stages*: (name, seconds) each; durations in ms."""
    return ", ".join([f"{name};dur={seconds * 1e3:.4f}" for name, seconds in stages])


RUN_PATH = f"{PREFIX}/run"
STATS_PATH = f"{PREFIX}/stats?scope=process"
