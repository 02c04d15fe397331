"""The two response headers that tell where an answer came from and how long it took.

Cache-Status is RFC 9211, Server-Timing the W3C recommendation. Each cache read sends one group,
the cache closest to the origin first, told apart by a key parameter that names the read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
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

_GROUPS = {
    L1_HIT: "L1; hit{detail}; key={key}",
    L2_HIT: "L2; hit{detail}; key={key}, L1; fwd=uri-miss; key={key}",
    MISS: "L2; fwd=uri-miss; key={key}, L1; fwd=uri-miss; key={key}",
    COLLAPSED: "L1; fwd=uri-miss; collapsed; key={key}",
    BYPASS: "L2; fwd=bypass; detail=error; key={key}, L1; fwd=uri-miss; key={key}",
}


_FLAGS = NEGATIVE | STALE
_DETAILS = {
    0: "",
    NEGATIVE: "; detail=negative",
    STALE: "; detail=stale",
    NEGATIVE | STALE: "; detail=negative-stale",
}
_FLAGS_OF = {text.partition("=")[2]: flags for flags, text in _DETAILS.items()}


def cache_status(reads: Iterable[tuple[str, int]]) -> str:
    """Return the Cache-Status value of *reads*: (name, outcome code) each, in their order."""
    return ", ".join([_group(name, code) for name, code in reads])


@lru_cache(maxsize=256)
def _group(name: str, code: int) -> str:
    return _GROUPS[code & ~_FLAGS].format(key=name, detail=_DETAILS[code & _FLAGS])


def server_timing(stages: Iterable[tuple[str, float]]) -> str:
    """Return the Server-Timing value of *stages*: (name, seconds) each; durations in ms."""
    return ", ".join([f"{name};dur={seconds * 1e3:.4f}" for name, seconds in stages])


MAX_FIELD = 16_384
"""Characters of a header field; a longer one tells nothing."""
_MOST_SECONDS = 1e9
# A string that is not closed reaches to the end: no place of a field is looked at twice.
_STRING = r'"(?:[^"\\]|\\.)*+(?:"|$)'
_QUOTED = re.compile(_STRING, re.DOTALL)
_TIMING = re.compile(
    r"(?:^|,)\s*([^\s,;\"]+)\s*(?:;(?!\s*dur\s*=)[^,;]*)*"
    r";\s*dur\s*=\s*((?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?)\s*(?=[,;]|$)",
    re.ASCII,
)


def parse_server_timing(value: str) -> list[tuple[str, float]]:
    """Return (name, seconds) of each metric of *value*; what cannot be read is left out."""
    if len(value) > MAX_FIELD:
        return []
    if '"' in value:
        value = _QUOTED.sub("", value)  # a description may hold anything
    metrics = [(name, float(ms) / 1e3) for name, ms in _TIMING.findall(value)]
    return [metric for metric in metrics if metric[1] < _MOST_SECONDS]


_MEMBER = re.compile(rf'(?:[^,"]|{_STRING})++', re.DOTALL)
_PART = re.compile(rf'(?:[^;"]|{_STRING})++', re.DOTALL)


def parse_cache_status(value: str, names: Sequence[str]) -> list[int]:
    """Return the outcome code of each read in *names*, NONE where *value* does not tell.

    A member that names no key belongs to the first read, so that a service with one cache read
    a request need not name it. Members of other caches are ignored.
    """
    if len(value) > MAX_FIELD:
        return [NONE] * len(names)
    seen: dict[str, dict[str, str]] = {}
    is_quoted = '"' in value  # a string may hold commas and semicolons
    for member in _MEMBER.findall(value) if is_quoted else value.split(","):
        parts = _PART.findall(member) if is_quoted else member.split(";")
        tier, *parameters = (part.strip() for part in parts or ("",))
        if tier not in ("L1", "L2"):
            continue
        fields = dict(_parameter(text) for text in parameters)
        key = fields.get("key", names[0] if names else "").strip('"')
        seen.setdefault(key, {})[tier] = _state(fields)
    return [_outcome(seen.get(name, {})) for name in names]


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()


def _state(fields: dict[str, str]) -> str:
    if fields.get("hit", "?0") != "?0":
        return "hit" + fields.get("detail", "")
    if "collapsed" in fields:
        return "collapsed"
    return "bypass" if fields.get("fwd") == "bypass" else "miss"


def _outcome(tiers: dict[str, str]) -> int:
    l1, l2 = tiers.get("L1"), tiers.get("L2")
    for code, state in ((L1_HIT, l1), (L2_HIT, l2)):
        if state is not None and state.startswith("hit"):
            return code | _FLAGS_OF.get(state.removeprefix("hit"), 0)
    if "collapsed" in (l1, l2):
        return COLLAPSED
    if l2 == "bypass":
        return BYPASS
    return MISS if tiers else NONE


RUN_PATH = f"{PREFIX}/run"
STATS_PATH = f"{PREFIX}/stats?scope=process"
