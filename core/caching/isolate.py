"""The state of one isolate's cache, and the operations on a single entry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from inspect import isawaitable
from math import ceil
from types import CoroutineType
from typing import Any

from core.caching.breaker import CircuitBreaker
from core.caching.envelope import Envelope, seal
from core.caching.flights import Flights
from core.caching.invalidation import Invalidator
from core.caching.invalidation_log import LOADED, InvalidationLog, Selector
from core.caching.kv import KVStore, NullKV, StoreItem
from core.caching.lifetime import Lifetime
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType
from core.caching.read import MISSED, CacheRead
from core.caching.second_tier import SecondTier
from core.caching.statistics import NEGATIVE_COLUMN, OUTCOME_MASK, STALE_COLUMN, TieredStatistics
from core.clock import Clock, SystemClock, epoch_ms
from core.context import Purpose, Span
from core.wire import L1_HIT, NEGATIVE, STALE

MAX_ENTRIES, MAX_BYTES = 10_000, 16_000_000
"""The bounds of L1 where the caller gives none."""

DEFAULT_HORIZON = 90_000.0
"""Seconds for which invalidations are remembered where the caller gives no Invalidator."""


class Isolate:
    """The state of the cache of one isolate: both tiers, flights, lives and counts.

    The arguments are those of `TieredCache`.
    """

    __slots__ = (
        "_kinds",
        "_log",
        "_origin_ms",
        "_outcomes",
        "flights",
        "invalidator",
        "keeps",
        "l1",
        "l2",
        "lifetime",
        "now",
        "policy",
        "retain",
        "shares_loads",
        "statistics",
        "ttls",
    )  # fmt: skip

    def __init__(
        self,
        l1: MemoryCache | None = None,
        kv: KVStore | None = None,
        clock: Clock | None = None,
        policy: CachePolicy | None = None,
        *,
        retain: Callable[[asyncio.Task[Any]], None] | None = None,
        breaker: CircuitBreaker | None = None,
        invalidator: Invalidator | None = None,
        uniform: Callable[[Purpose], float] | None = None,
    ) -> None:
        if l1 is None:
            l1 = MemoryCache(max_entries=MAX_ENTRIES, max_bytes=MAX_BYTES)
        kv = NullKV() if kv is None else kv
        clock = SystemClock() if clock is None else clock
        policy = CachePolicy() if policy is None else policy
        self.l1 = l1
        self._kinds: dict[str, CacheType[Any]] = {}
        self._origin_ms = clock.origin_ms
        self.now = clock.now
        self.policy = policy
        self.shares_loads = policy.single_flight
        self.retain = retain = retain or _keeper()
        self.lifetime = Lifetime(policy, uniform)
        self.keeps = self.lifetime.keeps
        if invalidator is None:
            log = InvalidationLog(lambda: epoch_ms(clock), horizon=DEFAULT_HORIZON)
            invalidator = Invalidator(kv, log)
        self.invalidator = invalidator
        invalidator.add(self)
        self._log = invalidator.log
        self.statistics = TieredStatistics()
        self._outcomes = self.statistics.outcomes
        self.l2 = SecondTier(
            kv,
            clock.now,
            self._log,
            breaker or CircuitBreaker(failures=0, open_for=0.0),
            self.statistics,
            soft_timeout=policy.l2_soft_timeout,
            is_edge=policy.edge_store,
            retain=retain,
        )
        self.flights = Flights()
        self.ttls: Mapping[str, float] | None = None
        """TTLs of entries by whole key, in place of their type's; None: no entry has its own."""

    def peek(self, kind: CacheType[Any], key: str, span: Span | None = None, name: str = "") -> Any:
        """Return the value of a whole key if L1 has it, None for a known absence, or MISSED.

        This is the part of `get` that never waits; after MISSED, `fetch` is the rest. *key* is
        `kind.key(...)`. `peek` does not check that, as a check would cost a tenth of a hit; `fetch`
        does.
        """
        clock = self.now  # a local: calling an attribute that holds a function is slow
        now = clock()
        entry = self.l1.get(key, now)
        if entry is None:
            if span is not None:
                span.stages.append(("l1", clock() - now))
            return MISSED
        value = entry.value
        counts = self._outcomes[kind.name]
        counts[L1_HIT] += 1
        if value is None:
            counts[NEGATIVE_COLUMN] += 1
        if span is not None:
            span.stages.append(("l1", clock() - now))
            span.reads.append((name, L1_HIT if value is not None else L1_HIT | NEGATIVE))
        return value

    def claim(self, kind: CacheType[Any]) -> None:
        """Take *kind* as the type of its prefix in this cache.

        Raise ValueError if another type has the prefix already: they would share entries.
        """
        known = self._kinds.setdefault(kind.prefix, kind)
        if known is kind:
            return
        if known.name != kind.name:
            raise ValueError(
                f"the cache types {known.name!r} and {kind.name!r} have the prefix "
                f"{kind.prefix!r}; give one of them another prefix"
            )
        if type(known.codec) is not type(kind.codec):
            raise ValueError(
                f"the cache type {kind.name!r} has the codec {type(known.codec).__name__} and the "
                f"codec {type(kind.codec).__name__}; give one of them another name"
            )

    def answer(self, read: CacheRead, value: Any) -> None:
        """Answer the requests that wait for the flight of *read*; no other joins it any more."""
        if (flight := read.flight) is not None:
            self.flights.end(flight)
            flight.resolve(value)

    async def load(self, read: CacheRead) -> tuple[Any, StoreItem | None]:
        """Load a value into L1; return it and the item for L2."""
        statistics, kind = self.statistics, read.kind
        loading = self.now()
        stamp = self._log.load(self._origin_ms + int(loading * 1000))
        statistics.loads += 1
        try:
            LOADED.set(stamp)
            found = read.load()
            if type(found) is CoroutineType or isawaitable(found):  # the first is quick to tell
                found = await found
            value = kind.frozen(found)
            stamp = LOADED.get() or stamp
        except Exception:
            statistics.load_errors += 1
            raise
        return value, self.keep_loaded(kind, read.key, value, stamp, loading, read.tags)

    def keep_loaded(
        self,
        kind: CacheType[Any],
        key: str,
        value: Any,
        stamp: int,
        loading: float,
        tags: tuple[str, ...],
    ) -> StoreItem | None:
        """Put a frozen value that was loaded from *loading* on into L1.

        Return it as L2 keeps it; None if its life is over or an invalidation has overtaken it.
        """
        ttl = kind.ttl if self.ttls is None else self.ttls.get(key, kind.ttl)
        fresh_until = loading + self.lifetime.ttl(ttl, is_negative=value is None)
        now = self.now()
        if self._log.refuses_load(key, tags, stamp):
            self.statistics.overtaken += 1
            return None
        if fresh_until <= now:
            self.statistics.outlived += 1
            self.l1.discard(key)  # an older value of it is not the answer any more
            return None
        load_seconds = now - loading
        self._log.cover(fresh_until + self.lifetime.stale_bound - now)
        sealed = seal(
            None if value is None else kind.codec.encode(value),
            loaded_ms=stamp,
            expires_ms=self._origin_ms + int(fresh_until * 1000),
            load_seconds=load_seconds,
            tags=tags,
        )
        self._promote(key, value, now, fresh_until, len(sealed), load_seconds, tags)
        life = fresh_until + self.lifetime.stale_bound - now
        return StoreItem(key, sealed, ceil(life) if self.policy.edge_store else life, tags)

    def _promote(
        self,
        key: str,
        value: Any,
        now: float,
        fresh_until: float,
        size: int,
        load_seconds: float,
        tags: tuple[str, ...],
    ) -> None:
        l1_until = now + self.policy.l1_ttl
        expires, life = self.lifetime.bounded(l1_until, fresh_until, load_seconds, tags)
        self.l1.set(key, value, expires, size, life)

    async def store(self, *items: StoreItem) -> None:
        """Put *items* into L2, in the background unless the policy says otherwise."""
        if not items:
            return
        if self.policy.await_put:
            await self.l2.write(*items)
        else:
            self.retain(asyncio.get_running_loop().create_task(self.l2.write(*items)))

    def admit(self, key: str, envelope: Envelope, now: float, stale_bound: float) -> bool:
        """Take an L2 entry into L1 at *now*; return whether it may be served.

        stale_bound: seconds beyond its TTL; older than that it is only there to fall back on.
        """
        value, _, _, load_seconds, tags, size = envelope
        fresh_until = self._fresh_until(envelope)
        if now >= fresh_until + self.lifetime.stale_bound:
            return False
        self._promote(key, value, now, fresh_until, size, load_seconds, tags)
        return now < fresh_until + stale_bound

    def _fresh_until(self, envelope: Envelope) -> float:
        return (envelope.expires_ms - self._origin_ms) / 1000

    def count(self, read: CacheRead, code: int) -> None:
        """Count how *read* ended, and note it on its span."""
        counts = self._outcomes[read.kind.name]
        counts[code & OUTCOME_MASK] += 1
        if code & NEGATIVE:
            counts[NEGATIVE_COLUMN] += 1
        if code & STALE:
            counts[STALE_COLUMN] += 1
        if read.span is not None:
            read.span.reads.append((read.name, code))

    def forget(self, target: Selector) -> int:
        """Drop what *target* names from L1; no read joins a load of it any more."""
        self.flights.forget(target)
        if target.prefix is not None:
            return self.l1.delete_prefix(target.prefix)
        if target.tag is not None:
            return self.l1.delete_tag(target.tag)
        return sum(self.l1.delete(key) for key in target.keys)

    def forget_all(self) -> int:
        """Drop everything from L1; no read joins a load that is in flight."""
        self.flights.clear()
        return self.l1.clear()


def _keeper() -> Callable[[asyncio.Task[Any]], None]:
    """Return a function that keeps tasks alive until they are done; the event loop does not."""
    tasks: set[asyncio.Task[Any]] = set()

    def retain(task: asyncio.Task[Any]) -> None:
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return retain
