"""Caches of isolates that notice when they serve a value which a write has outdated."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np

from core.caching.envelope import Envelope
from core.caching.isolate import Isolate
from core.caching.kv import StoreItem
from core.caching.policy import CacheType
from core.caching.read import MISSED, CacheRead
from core.caching.statistics import OUTCOME_MASK
from core.caching.tiered import TieredCache
from core.context import Span
from core.metrics.life import OUTDATED
from core.metrics.record import Samples
from core.wire import L1_HIT, L2_HIT


class Watch:
    """When keys were written, and the reads that were answered with an older value.

    intended: when each request was to be sent. after: only requests from then on are kept.
    request_of: the request that a row of random numbers belongs to.
    """

    def __init__(
        self, intended: Sequence[float], after: float, request_of: Callable[[int], int]
    ) -> None:
        self._intended, self._after, self._request_of = intended, after, request_of
        self._written: dict[str, list[float]] = {}
        self._times, self._ages = array("d"), array("d")
        self.loads: dict[tuple[str, int], float] = {}
        """When each load began, by its key and stamp: stamps are whole milliseconds."""

    def write(self, key: str, now: float) -> None:
        """Note that what is cached under *key* is outdated from *now* on."""
        self._written.setdefault(key, []).append(now)

    def look(self, key: str, loaded: float, span: Span | None, now: float) -> None:
        """Note a read that was answered with a value loaded from *loaded* on."""
        written = self._written.get(key)
        if written is None or span is None:
            return
        place = bisect_right(written, loaded)
        if place == len(written):
            return
        intended = self._intended[self._request_of(span.row)]
        if intended >= self._after:
            self._times.append(intended)
            self._ages.append(now - written[place])

    def samples(self, ahead: float) -> Samples:
        """Return by request how long ago what it was answered with had been outdated."""
        if not self._times:
            return {}
        return {OUTDATED.name: (np.frombuffer(self._times) - ahead, np.frombuffer(self._ages))}


class WatchedCache(TieredCache):
    """The cache of one isolate, which knows when each value was loaded."""

    __slots__ = ("_loaded", "_watch")

    _loaded: dict[str, float]
    _watch: Watch

    @classmethod
    def of(cls, cache: TieredCache, watch: Watch) -> WatchedCache:
        """Return a cache in the place of *cache*, with the same tiers."""
        watched = object.__new__(cls)
        for name in Isolate.__slots__:
            setattr(watched, name, getattr(cache, name))
        watched._watch, watched._loaded = watch, {}
        cache.invalidator.replace(cache, watched)
        return watched

    def request_scoped(self) -> TieredCache:
        """Return this cache with an L1 that is empty and dies with its user."""
        scoped = super().request_scoped()
        assert isinstance(scoped, WatchedCache)
        scoped._watch, scoped._loaded = self._watch, {}
        return scoped

    def peek(self, kind: CacheType[Any], key: str, span: Span | None = None, name: str = "") -> Any:
        """Return what `TieredCache.peek` does."""
        value = super().peek(kind, key, span, name)
        if value is not MISSED:
            self._watch.look(key, self._loaded.get(key, -inf), span, self.now())
        return value

    def admit(self, key: str, envelope: Envelope, now: float, stale_bound: float) -> bool:
        """Take an L2 entry into L1, and note when its value was loaded."""
        stamp = envelope.loaded_ms
        self._loaded[key] = self._watch.loads.get((key, stamp), -inf)  # -inf: before the run
        return super().admit(key, envelope, now, stale_bound)

    def keep_loaded(
        self,
        kind: CacheType[Any],
        key: str,
        value: Any,
        stamp: int,
        loading: float,
        tags: tuple[str, ...],
    ) -> StoreItem | None:
        """Put a value that was loaded into L1, and note when."""
        if not self._log.refuses_load(key, tags, stamp):
            self._loaded[key] = self._watch.loads[key, stamp] = loading
        return super().keep_loaded(kind, key, value, stamp, loading, tags)

    def count(self, read: CacheRead, code: int) -> None:
        """Count how *read* ended."""
        super().count(read, code)
        if code & OUTCOME_MASK in (L1_HIT, L2_HIT):
            loaded = self._loaded.get(read.key, -inf)
            self._watch.look(read.key, loaded, read.span, self.now())
