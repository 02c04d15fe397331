"""What headers of CDNs and proxies tell of a cache, where an answer has no Cache-Status.

They are a weak substitute: each cache writes words of its own, names no tier and one read at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from core.wire import BYPASS, L1_HIT, L2_HIT, MISS, NONE, STALE
from scenarios.cache_status import MAX_FIELD

CDN_HEADERS = ("CF-Cache-Status", "X-Cache-Status", "X-Cache", "X-Vercel-Cache", "X-Proxy-Cache")
"""In the order in which they are looked for; a scenario's table `caches` may name their tiers."""

DEFAULT_TIER = "l2"
_OUTCOMES = (
    # Revalidated: the origin was asked, as for `fwd=stale` of RFC 9211.
    (re.compile(r"refresh|revalidated|expired"), MISS),
    (re.compile(r"stale|updating"), STALE),
    (re.compile(r"hit|prerender"), 0),
    (re.compile(r"miss"), MISS),
    (re.compile(r"bypass|^pass$|no_?cache|no_?store"), BYPASS),
)
"""What a word says, the first that fits; 0 and STALE are hits."""


def cdn_header(field: Callable[[str], str]) -> tuple[str, str] | None:
    """Return the first of CDN_HEADERS that *field* gives a value for, and the value."""
    for name in CDN_HEADERS:
        if value := field(name):
            return name, value
    return None


def cdn_outcome(name: str, value: str, tiers: Mapping[str, str]) -> int:
    """Return the outcome code that *value* of the header *name* tells; NONE if none.

    A list has a word for each cache that was passed: a hit of any of them is one. tiers: "l1",
    "l2" or "none" by the name of a cache or of such a header.
    """
    tier = tiers.get(name, DEFAULT_TIER)
    if tier == "none" or len(value) > MAX_FIELD:
        return NONE
    found = [code for word in value.lower().split(",") if (code := _code(word)) is not None]
    hits = [code for code in found if code in (0, STALE)]
    if hits:
        return (L1_HIT if tier == "l1" else L2_HIT) | hits[-1]
    return found[-1] if found else NONE


def _code(word: str) -> int | None:
    return next((code for pattern, code in _OUTCOMES if pattern.search(word.strip())), None)
