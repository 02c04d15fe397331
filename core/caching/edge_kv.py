"""The edge key-value store: a central store as seen from one point of presence.

Its rules and limits are those of Cloudflare Workers KV in 2026
(developers.cloudflare.com/kv/platform/limits), and it refuses what that refused in workerd
1.20261117.1 with miniflare 4.20260730.0 (docs/platform.md). A put or a delete of many keys is one
operation a key there, all under way at a time. Lists come in pages of 1,000 keys; how many pages an
operation needs is the central store's affair, and each is complete over any number.
"""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import floor
from typing import Literal, NamedTuple

from core.caching.kv import KVStore, StoreItem, TagIndex, require_life
from core.errors import StoreError

SHORTEST_CACHE_TTL = 30.0
"""Seconds for which a point of presence keeps what it read, at least."""

SHORTEST_TTL = 60.0
"""Seconds for which the platform keeps a value, at least."""

KEY_BYTES = 512
"""The longest key, in bytes of UTF-8."""

VALUE_BYTES = 25 * 1024 * 1024
"""The largest value."""

KEYS_PER_READ = 100
"""The most keys of one read, those that are named twice counted twice."""

WRITE_INTERVAL = 1.0
"""Seconds between two writes of one key."""

_HEADER = struct.Struct(">dH")


class WriteLimit:
    """One write per second and key, over all points of presence that share this object."""

    __slots__ = ("_now", "_written")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._written: OrderedDict[str, float] = OrderedDict()

    def take(self, keys: Iterable[str]) -> None:
        """Note a write of *keys*; StoreError, and nothing noted, if one was written just now."""
        now, written = self._now(), self._written
        while written and now - next(iter(written.values())) >= WRITE_INTERVAL:
            written.popitem(last=False)
        keys = list(keys)
        for key in keys:
            if key in written:
                raise StoreError(
                    f"L2 failed: 429 too many writes of {key!r}, at most one per second; retry in "
                    f"{written[key] + WRITE_INTERVAL - now:.3f} s"
                )
        written.update(dict.fromkeys(keys, now))


class _Held(NamedTuple):
    """What was read or written here: *value* ends at *expires*, its use here at *until*."""

    value: bytes | None
    expires: float
    until: float
    tags: tuple[str, ...] = ()


class EdgeKV:
    """One point of presence of an edge key-value store whose truth lies in *central*.

    What is read, an absence too, is served from here for *cache_ttl* seconds: a write or a delete
    is seen at once where it was made and later elsewhere. At most *max_cached* keys are kept,
    those read longest ago are dropped first.

    now: seconds on a clock that all points of presence share, as it stands with the values.
    limit: shared by all points of presence of one store; without one, this one has its own.
    A delete is no write to the limit.

    A life is counted in whole seconds, from the second in which the write arrives: a ttl of 60 s
    that is put at .81 s of a second lasts 59.19 s, and what is less than a second of a ttl is cut
    off. min_ttl: a ttl below 60 s is refused ("refuse"), or asked for as 60 s ("clamp"). The store
    then has the value for longer than it was meant to be served: its reader has to know its end.
    """

    def __init__(
        self,
        central: KVStore,
        now: Callable[[], float],
        *,
        cache_ttl: float = 60.0,
        max_cached: int = 200_000,
        limit: WriteLimit | None = None,
        min_ttl: Literal["clamp", "refuse"] = "clamp",
    ) -> None:
        """Raise ValueError if *cache_ttl* is under 30 s or *max_cached* under 1."""
        if not cache_ttl >= SHORTEST_CACHE_TTL:
            raise ValueError(f"cache_ttl is {cache_ttl}; it is at least {SHORTEST_CACHE_TTL:g} s")
        if max_cached < 1:
            raise ValueError(f"max_cached is {max_cached}; it is at least 1")
        self._central = central
        self._now = now
        self._cache_ttl = cache_ttl
        self._max_cached = max_cached
        self._limit = limit or WriteLimit(now)
        self._clamps = min_ttl == "clamp"
        self._cached: OrderedDict[str, _Held] = OrderedDict()
        self._tags = TagIndex()
        self._sweeps = 0

    def __len__(self) -> int:
        """Return how many keys are cached here."""
        return len(self._cached)

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return the values as this point of presence sees them; None where it sees none.

        A read of several keys does not find those that a JavaScript object orders by number or
        has already, such as "42" and "__proto__": the real store's answer lacks them. Raise
        ValueError for more than 100 keys, and for a key that is empty, "." or "..", or longer
        than 512 bytes.
        """
        if len(keys) > KEYS_PER_READ:
            raise ValueError(
                f"{len(keys)} keys in one read; the edge store takes {KEYS_PER_READ}: read the "
                "others after them"
            )
        now = self._now()
        answers: dict[str, _Held] = {}
        unknown: list[str] = []
        for key in dict.fromkeys(keys):
            held = self._cached.get(key)
            if held is not None and held.until > now:
                answers[key] = held
            else:
                _require_name(key)
                unknown.append(key)
        if unknown:
            answers |= await self._read(unknown)
            now = self._now()
        found = [answers[key] for key in keys]
        values = [held.value if held.expires > now else None for held in found]
        if len(keys) > 1:
            for place, key in enumerate(keys):
                if (key.isdigit() or key == "__proto__") and _is_lost(key):
                    values[place] = None
        return values

    async def _read(self, keys: list[str]) -> dict[str, _Held]:
        cached, sweeps = self._cached, self._sweeps
        before = [cached.get(key) for key in keys]
        found = await self._central.get(*keys)
        until = self._now() + self._cache_ttl
        answers: dict[str, _Held] = {}
        for key, old, data in zip(keys, before, found, strict=True):
            held = cached.get(key)
            # What was written here while the answer was on its way is newer than the answer.
            if held is None or held is old:
                held = _unpacked(data, until)
                if old is cached.get(key) and sweeps == self._sweeps:
                    self._keep(key, held)
            answers[key] = held
        return answers

    async def put(self, *items: StoreItem) -> None:
        """Keep *items* centrally, and here for those that read here.

        Raise ValueError unless every ttl is more than 0 s and every key one that `get` takes, and
        StoreError for a value of more than 25 MiB, for a ttl below 60 s that is not clamped, and if
        one of the keys was written less than a second ago. Nothing is written then.
        """
        require_life(items)
        last = {item.key: item for item in items}
        for key in last:
            _require_name(key)
        if not last:
            return
        now = self._now()
        ends = {key: self._end(item, now) for key, item in last.items()}
        kept = [
            StoreItem(key, _packed(item, ends[key]), ends[key] - now, item.tags)
            for key, item in last.items()
        ]
        self._take(last)
        for key in last:
            self._drop(key)  # whether a write that fails took place, only the central store knows
        await self._central.put(*kept)
        until = self._now() + self._cache_ttl
        for key, item in last.items():
            self._keep(key, _Held(item.value, ends[key], until, item.tags))

    async def delete(self, *keys: str) -> int:
        """Forget *keys*; return how many of them were there. ValueError as for `get`."""
        for key in keys:
            _require_name(key)
            self._drop(key)
        if not keys:
            return 0
        deleted = await self._central.delete(*keys)
        until = self._now() + self._cache_ttl
        for key in keys:
            self._keep(key, _Held(None, 0.0, until))
        return deleted

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*; return how many there were."""
        try:
            return await self._central.delete_prefix(prefix)
        finally:
            self._sweep([key for key in self._cached if key.startswith(prefix)])

    async def delete_tag(self, tag: str) -> int:
        """Forget all keys that were last put under *tag*; return how many were still there."""
        try:
            return await self._central.delete_tag(tag)
        finally:
            self._sweep(self._tags.keys(tag))

    async def close(self) -> None:
        """Close the central store."""
        await self._central.close()

    def _end(self, item: StoreItem, now: float) -> float:
        """Return when *item*, put at *now*, ends; StoreError if it is refused."""
        if len(item.value) > VALUE_BYTES:
            raise StoreError(
                f"L2 failed: 413 the value of {item.key!r} is {len(item.value):,} bytes long, at "
                f"most {VALUE_BYTES:,}"
            )
        ttl = max(item.ttl, SHORTEST_TTL) if self._clamps else item.ttl
        if floor(ttl) < SHORTEST_TTL:
            raise StoreError(
                f"L2 failed: 400 the ttl of {item.key!r} is {floor(ttl)} s, at least "
                f"{SHORTEST_TTL:g} s"
            )
        return float(floor(now) + floor(ttl))

    def _take(self, keys: Iterable[str]) -> None:
        """Count a write of *keys*; StoreError if one was written less than a second ago."""
        self._limit.take(keys)

    def _keep(self, key: str, held: _Held) -> None:
        cached, now = self._cached, self._now()
        self._drop(key)  # and not replaced, so that the order stays that of the ends
        while cached and (
            len(cached) >= self._max_cached or next(iter(cached.values())).until <= now
        ):
            self._drop(next(iter(cached)))
        cached[key] = held
        self._tags.put(key, held.tags)

    def _drop(self, key: str) -> None:
        self._tags.drop(key)
        self._cached.pop(key, None)

    def _sweep(self, keys: Iterable[str]) -> None:
        self._sweeps += 1  # an answer on its way may be of before, and its tags are unknown here
        for key in keys:
            self._drop(key)


class FilledEdgeKV(EdgeKV):
    """Puts what was written before: a ttl is what is left of a life, and no limit holds."""

    def _end(self, item: StoreItem, now: float) -> float:
        return now + item.ttl

    def _take(self, keys: Iterable[str]) -> None:
        pass


def _require_name(key: str) -> None:
    if key in ("", ".", ".."):
        raise ValueError(f"{key!r} is no key of the edge store; it refuses '', '.' and '..'")
    size = len(key) if key.isascii() else len(key.encode())
    if size > KEY_BYTES:
        raise ValueError(
            f"the key {key[:40]!r}... is {size} bytes long; a key of the edge store has at most "
            f"{KEY_BYTES}"
        )


def _is_lost(key: str) -> bool:
    """Return whether an answer of several keys lacks *key*: an array's index, or `__proto__`."""
    return not key.isdigit() or (
        key.isascii() and (key == "0" or key[0] != "0") and int(key) < 2**32 - 1
    )


def _packed(item: StoreItem, expires: float) -> bytes:
    tags = json.dumps(item.tags).encode() if item.tags else b""
    if len(tags) > 65_535:
        raise ValueError(f"the {len(item.tags)} tags of {item.key!r} take more than 65,535 bytes")
    return _HEADER.pack(expires, len(tags)) + tags + item.value


def _unpacked(data: bytes | None, until: float) -> _Held:
    """Return what *data* says; what no `EdgeKV` wrote is no value."""
    if data is None or len(data) < _HEADER.size:
        return _Held(None, 0.0, until)
    expires, size = _HEADER.unpack_from(data)
    start = _HEADER.size + size
    try:
        tags = tuple(str(tag) for tag in json.loads(data[_HEADER.size : start])) if size else ()
    except (ValueError, TypeError, RecursionError):
        return _Held(None, 0.0, until)
    return _Held(data[start:], expires, until, tags)
