"""What becomes of a request: its endpoint and key, or why it is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scenarios.intake.chunk import HITS, MISSES, NO_KEY, STATIC, UNKNOWN, Cache, Chunk, Left
from scenarios.intake.layout import Field
from scenarios.intake.rules import (
    LEFT_OUT,
    MOST_SEGMENTS,
    KeyFrom,
    Rule,
    by_specificity,
)

_MASK = 2**64 - 1
_PRIME = 0x100000001B3
_METHOD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-_")
_KEPT = 100_000


@dataclass(slots=True, kw_only=True)
class Row:
    """A line as a `Chunk` has it."""

    code: int
    time: int = 0
    key: int = 0
    status: int = UNKNOWN
    latency: int = UNKNOWN
    cache: int = Cache.UNKNOWN
    text: bytes = b""


def rows_chunk(rows: Sequence[Row], without_zone: int, *, with_keys: bool) -> Chunk:
    """Return *rows* as arrays."""
    return Chunk(
        rule=np.array([row.code for row in rows], np.int16),
        time=np.array([row.time for row in rows], np.int64),
        key=np.array([row.key for row in rows], np.uint64),
        status=np.array([row.status for row in rows], np.int16),
        latency=np.array([row.latency for row in rows], np.int64),
        cache=np.array([row.cache for row in rows], np.int8),
        key_text=[row.text for row in rows] if with_keys else None,
        without_zone=without_zone,
    )


class Matcher:
    """Finds the rule and the key of requests; agents: words of user agents to leave out."""

    def __init__(
        self, rules: Sequence[Rule], agents: Sequence[bytes], salt: tuple[int, int]
    ) -> None:
        self._rules = [(place, rules[place]) for place in by_specificity(rules)]
        self._agents, self._salt = tuple(agents), salt
        self._hashes: dict[bytes, int] = {}

    def row(self, fields: Mapping[Field, bytes], time: int, status: int, latency: int) -> Row:
        """Return what becomes of the request that *fields* tell."""
        found = split_request(fields)
        row = Row(code=Left.NO_REQUEST, time=time, status=status)
        if found is None:
            return row
        method, path, query = found
        agent = fields.get(Field.AGENT, b"").lower()
        if any(word in agent for word in self._agents):
            row.code = Left.AGENT
            return row
        segments = [segment for segment in path.split(b"/") if segment]
        match = self._match(method, segments)
        if match is None:
            row.code = Left.NO_RULE
            if len(segments) <= MOST_SEGMENTS and is_static(method, segments):
                row.code = Left.STATIC
            return row
        place, rule = match
        row.code = int(Left.STATED) if rule.name == LEFT_OUT else place
        row.latency = latency
        if Field.CACHE in fields:
            word = fields[Field.CACHE].lower()
            row.cache = (
                Cache.HIT if word in HITS else Cache.MISS if word in MISSES else Cache.PASSED
            )
        row.key, row.text = self._key(rule, segments, query, fields)
        return row

    def _match(self, method: bytes, segments: Sequence[bytes]) -> tuple[int, Rule] | None:
        if len(segments) > MOST_SEGMENTS:
            return None
        for place, rule in self._rules:
            if len(rule.segments) != len(segments):
                continue
            if rule.method not in ("*", method.decode("latin-1")):
                continue
            if all(not w or w == s for w, s in zip(rule.segments, segments, strict=True)):
                return place, rule
        return None

    def _key(
        self, rule: Rule, segments: Sequence[bytes], query: bytes, fields: Mapping[Field, bytes]
    ) -> tuple[int, bytes]:
        if rule.key is KeyFrom.PATH:
            chosen = [at for at, segment in enumerate(rule.segments) if segment == b""]
            found = self._hash(segments[chosen[0]])
            for at in chosen[1:]:
                turned = (found << 23 | found >> 41) & _MASK
                found = (turned * _PRIME & _MASK) ^ self._hash(segments[at])
            return found, b"/".join(segments[chosen[0] : chosen[-1] + 1])
        text = b""
        if rule.key is KeyFrom.QUERY:
            for pair in query.partition(b"#")[0].split(b"&"):
                name, mark, value = pair.partition(b"=")
                if name == rule.parameter and mark:
                    text = value
                    break
        elif rule.key is not KeyFrom.NOTHING:
            field = Field.ADDRESS if rule.key is KeyFrom.ADDRESS else Field.USER
            text = fields.get(field, b"")
        return (self._hash(text), text) if text and text != b"-" else (NO_KEY, b"")

    def _hash(self, text: bytes) -> int:
        found = self._hashes.get(text)
        if found is None:
            if len(self._hashes) > _KEPT:
                self._hashes.clear()
            found = self._hashes[text] = siphash(text, *self._salt)
        return found


def split_request(fields: Mapping[Field, bytes]) -> tuple[bytes, bytes, bytes] | None:
    """Return method, path and query of a request; b"" for a method that is not told."""
    method, target = fields.get(Field.METHOD), fields.get(Field.TARGET)
    query = fields.get(Field.QUERY, b"")
    if Field.REQUEST in fields:
        method, gap, target = fields[Field.REQUEST].partition(b" ")
        if not gap:
            return None
        before, mark, protocol = target.rpartition(b" ")
        if mark and protocol.startswith(b"HTTP/"):
            target = before
        elif target.startswith(b"HTTP/"):
            target = b""
    if method is not None and (not 0 < len(method) <= 32 or not _METHOD.issuperset(method)):
        return None
    if not target:
        return None
    if not target.startswith(b"/"):
        scheme, mark, rest = target.partition(b"://")
        if not mark or not scheme:
            return None
        ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
        target = rest[min(ends) :] if ends else b""
    ends = [at for at in (target.find(b"?"), target.find(b"#")) if at >= 0]
    end = min(ends, default=len(target))
    if target[end : end + 1] == b"?":
        query = target[end + 1 :]
    return method or b"", target[:end], query


def is_static(method: bytes, segments: Sequence[bytes]) -> bool:
    """Return whether a request is for a file that no application makes."""
    if not segments or method not in (b"", b"GET", b"HEAD"):
        return False
    dot = segments[-1].rfind(b".")
    return dot >= 0 and segments[-1][dot:].lower() in STATIC


def siphash(data: bytes, k0: int, k1: int) -> int:
    """Return SipHash-2-4 of *data* under the key (k0, k1), as the compiled reader does.

    Aumasson and Bernstein, SipHash: a fast short-input PRF, 2012.
    """
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    size = len(data)
    padded = data + bytes(7 - size % 8) + bytes([size & 0xFF])
    words = [int.from_bytes(padded[at : at + 8], "little") for at in range(0, len(padded), 8)]
    for word in (*words, None):
        if word is None:
            v2 ^= 0xFF
        else:
            v3 ^= word
        for _ in range(4 if word is None else 2):
            v0 = v0 + v1 & _MASK
            v2 = v2 + v3 & _MASK
            v1 = (v1 << 13 | v1 >> 51) & _MASK ^ v0
            v3 = (v3 << 16 | v3 >> 48) & _MASK ^ v2
            v0 = (v0 << 32 | v0 >> 32) & _MASK
            v2 = v2 + v1 & _MASK
            v0 = v0 + v3 & _MASK
            v1 = (v1 << 17 | v1 >> 47) & _MASK ^ v2
            v3 = (v3 << 21 | v3 >> 43) & _MASK ^ v0
            v2 = (v2 << 32 | v2 >> 32) & _MASK
        if word is not None:
            v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3
