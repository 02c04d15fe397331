"""The tiered cache of one isolate: L1, then L2, then the loader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from core.caching import batches, stale
from core.caching.batches import LoadMany
from core.caching.breaker import CircuitBreaker
from core.caching.envelope import HEADER_BYTES, Envelope, seal
from core.caching.flights import Flights, LeaderLeft
from core.caching.frozen import freeze
from core.caching.invalidation import Invalidator, Removed
from core.caching.invalidation_log import LOADED, Stamps, Target
from core.caching.kv import KVStore, StoreItem
from core.caching.lifetime import Lifetime
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType
from core.caching.read import MISSED, Load, Read
from core.caching.second_tier import SecondTier
from core.caching.statistics import NEGATIVE_COLUMN, OUTCOME_MASK, STALE_COLUMN, TieredStatistics
from core.clock import Clock, epoch_ms
from core.context import Purpose, Span
from core.errors import StoreError
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, NEGATIVE, STALE

DEFAULT_HORIZON = 90_000.0
"""Seconds for which invalidations are remembered where the caller gives no Invalidator."""


class TieredCache:
    """The cache of one isolate.

    An entry's life is counted from the start of its load and stored with it, so that promotion to
    L1 gives it the remainder and no value is older than its TTL, or than its TTL and the stale
    bound that the policy switches on. Waiting requests are answered in the order of their arrival.

    retain: keeps background work alive until it is done. breaker and invalidator: shared by the
    isolates of a process; this one gets its own where none is given. uniform: random numbers in
    [0, 1) for the switches that draw; ValueError if one of them is on without it.
    """

    __slots__ = (
        "_origin_ms", "_outcomes", "_stamps", "flights", "invalidator", "keeps", "l1", "l2",
        "lifetime", "now", "policy", "retain", "shares_loads", "statistics",
    )  # fmt: skip

    def __init__(
        self,
        l1: MemoryCache,
        kv: KVStore,
        clock: Clock,
        policy: CachePolicy,
        *,
        retain: Callable[[asyncio.Task[Any]], None],
        breaker: CircuitBreaker | None = None,
        invalidator: Invalidator | None = None,
        uniform: Callable[[Purpose], float] | None = None,
    ) -> None:
        self.l1 = l1
        self._origin_ms = clock.origin_ms
        self.now = clock.now
        self.policy = policy
        self.shares_loads = policy.single_flight
        self.retain = retain
        self.lifetime = Lifetime(policy, uniform)
        self.keeps = self.lifetime.keeps
        if invalidator is None:
            stamps = Stamps(lambda: epoch_ms(clock), horizon=DEFAULT_HORIZON)
            invalidator = Invalidator(kv, stamps)
        self.invalidator = invalidator
        invalidator.add(self)
        self._stamps = invalidator.stamps
        self.statistics = TieredStatistics()
        self._outcomes = self.statistics.outcomes
        self.l2 = SecondTier(
            kv,
            clock.now,
            self._stamps,
            breaker or CircuitBreaker(failures=0, open_for=0.0),
            self.statistics,
            soft_timeout=policy.l2_soft_timeout,
            is_edge=policy.edge_store,
            retain=retain,
        )
        self.flights = Flights()

    def request_scoped(self) -> TieredCache:
        """Return this cache with an L1 that is empty and dies with its user."""
        scoped = object.__new__(TieredCache)
        for name in self.__slots__:
            setattr(scoped, name, getattr(self, name))
        scoped.l1 = MemoryCache(max_entries=self.l1.max_entries, max_bytes=self.l1.max_bytes)
        scoped.l1.statistics = self.l1.statistics
        return scoped

    def peek(self, kind: CacheType, key: str, span: Span | None = None, name: str = "") -> Any:
        """Return the value of *key* if L1 has it, None where it knows there is none, or MISSED.

        The part of `get` that never waits; after MISSED, `fetch` is the rest.
        """
        clock = self.now  # a local: calling an attribute that holds a function is slow
        now = clock()
        entry = self.l1.get(key, now)
        if entry is None:
            if span is not None:
                span.stages.append(("l1", clock() - now))
            return MISSED
        value, code = entry.value, L1_HIT
        counts = self._outcomes[kind.name]
        counts[L1_HIT] += 1
        if value is None:
            counts[NEGATIVE_COLUMN] += 1
            code |= NEGATIVE
        if span is not None:
            span.stages.append(("l1", clock() - now))
            span.reads.append((name, code))
        return value

    async def get(
        self,
        kind: CacheType,
        key: str,
        load: Load,
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> Any:
        """Return the value of *key*, from L1, L2 or *load*, None where there is none.

        *span* and *name* (of the read within its request) take down what happened; an entry with
        *tags* is invalidated with each of them. Errors of *load* pass through, to every request
        that waited for it, unless the policy lets an older value be served; L2's errors are
        counted and bypass it. TypeError if *load* returns what callers could change.
        """
        value = self.peek(kind, key, span, name)
        if value is not MISSED:
            return value
        return await self.fetch(kind, key, load, span, name, tags)

    async def get_many(
        self,
        kind: CacheType,
        keys: Sequence[str],
        load: LoadMany,
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Return the value of each of *keys*, with at most one round trip to L2 and one load.

        An edge store takes 100 keys a round trip.

        Keys that another read is loading already are waited for; a stale value of L2 is loaded
        anew. Errors are those of `get`.
        """
        return await batches.get_many(self, kind, keys, load, span, name, tags)

    async def set_many(
        self, kind: CacheType, values: Mapping[str, Any], tags: tuple[str, ...] = ()
    ) -> None:
        """Put *values* (None: there is none) into both tiers in place of what was there.

        Loads of these keys that are in flight are not kept, and other processes forget the keys.
        An error of L2 is counted.
        """
        await batches.set_many(self, kind, values, tags)

    async def delete_many(self, keys: Sequence[str]) -> Removed:
        """Invalidate *keys*; return how many entries went from L1 and L2, StoreError as there."""
        if not keys:
            return Removed(0, 0)
        return await self.invalidator.invalidate(Target(keys=tuple(keys)))

    async def fetch(
        self,
        kind: CacheType,
        key: str,
        load: Load,
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> Any:
        """Return the value of *key*, which `peek` missed, from L2 or *load*."""
        read = Read(kind, key, load, span, name, tags)
        if self.keeps:
            read.begin()  # a read near its end draws
            value = stale.serve(self, read)
            if value is not MISSED:
                return value
        if not self.shares_loads:
            read.begin()
            return await self._read(read)
        while (flight := self.flights.get(key)) is not None:
            try:
                value = await flight.join()
            except LeaderLeft:
                continue
            except Exception:
                if (value := stale.fall_back(self, read)) is not MISSED:
                    return value
                self.count(read, COLLAPSED)
                raise
            self.count(read, COLLAPSED)
            return value
        read.begin()
        flight = read.flight = self.flights.begin(key, tags)
        try:
            value = await self._read(read)
        except BaseException as error:
            self.flights.end(flight)
            flight.fail(error)
            raise
        self.answer(read, value)
        return value

    def answer(self, read: Read, value: Any) -> None:
        """Answer who waits for the flight that *read* leads; nobody joins it any more."""
        if (flight := read.flight) is not None:
            self.flights.end(flight)
            flight.resolve(value)

    async def _read(self, read: Read) -> Any:
        clock = self.now
        outcome, started = MISS, clock()
        try:
            can_fall_back = (
                self.keeps
                and self.policy.stale_if_error > 0
                and self.l1.retained(read.key, started) is not None
            )
            envelope = await self.l2.read(read.kind, read.key, can_fall_back)
        except StoreError:
            outcome = BYPASS
        now = clock()
        if read.span is not None:
            read.span.stages.append(("l2", now - started))
        if outcome == BYPASS:
            value = stale.extend(self, read)
        else:
            value = MISSED if envelope is None else self._serve_envelope(read, envelope, now)
        if value is not MISSED:
            return value
        try:
            value, item = await self.load(read)
        except Exception:
            if (value := stale.fall_back(self, read)) is not MISSED:
                return value
            self.count(read, outcome)  # a read that nothing answered is no hit
            raise
        self.count(read, outcome)
        if outcome != BYPASS:
            self.answer(read, value)  # nobody else waits for the write, and ages meanwhile
            if item is not None:
                await self.store(item)
            elif self.keeps:  # what L2 has for it is not to be served stale any more
                self.retain(asyncio.get_running_loop().create_task(self.l2.drop(read.key)))
        return value

    async def load(self, read: Read) -> tuple[Any, StoreItem | None]:
        """Load a value into L1; return it and what is to be put into L2."""
        statistics, kind = self.statistics, read.kind
        loading = self.now()
        stamp = self._stamps.load(self._origin_ms + int(loading * 1000))
        statistics.loads += 1
        try:
            LOADED.set(stamp)
            value = freeze(await read.load())
            stamp = LOADED.get() or stamp
        except Exception:
            statistics.load_errors += 1
            raise
        return value, self.keep_loaded(kind, read.key, value, stamp, loading, read.tags)

    def keep_loaded(
        self,
        kind: CacheType,
        key: str,
        value: Any,
        stamp: int,
        loading: float,
        tags: tuple[str, ...],
    ) -> StoreItem | None:
        """Put a frozen value that was loaded from *loading* on into L1.

        Return it as L2 keeps it; None if its life is over or an invalidation has overtaken it.
        """
        fresh_until = loading + self.lifetime.ttl(kind.ttl, is_negative=value is None)
        now = self.now()
        if self._stamps.refuses_load(key, tags, stamp):
            self.statistics.overtaken += 1
            return None
        if fresh_until <= now:
            self.l1.discard(key)  # an older value of it is not the answer any more
            return None
        load_seconds = now - loading
        self._stamps.cover(fresh_until + self.lifetime.stale_bound - now)
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

    def _serve_envelope(self, read: Read, envelope: Envelope, now: float) -> Any:
        """Take an L2 entry into L1 and return its value, or MISSED if it is too old to serve."""
        if not self.admit(read.key, envelope, now, self.policy.stale_while_revalidate):
            return MISSED
        code = L2_HIT if envelope.value is not None else L2_HIT | NEGATIVE
        if self.keeps:
            fresh_until = self._fresh_until(envelope)
            if now >= fresh_until:
                stale.refresh(self, read)
                code |= STALE
            elif self.lifetime.renews_early(now, fresh_until, envelope.load_seconds):
                stale.refresh(self, read)
        self.count(read, code)
        return envelope.value

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

    def count(self, read: Read, code: int) -> None:
        """Count how *read* ended, and note it on its span."""
        counts = self._outcomes[read.kind.name]
        counts[code & OUTCOME_MASK] += 1
        if code & NEGATIVE:
            counts[NEGATIVE_COLUMN] += 1
        if code & STALE:
            counts[STALE_COLUMN] += 1
        if read.span is not None:
            read.span.reads.append((read.name, code))

    def forget(self, target: Target) -> int:
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

    def warm_l1(
        self,
        key: str,
        value: Any,
        *,
        l1_until: float,
        fresh_until: float,
        load_seconds: float,
        encoded_size: int,
        tags: tuple[str, ...] = (),
    ) -> None:
        """Put an entry into L1 as if it had been read before; encoded_size: bytes of the value.

        l1_until and fresh_until: absolute ends of its stay in L1 and of its TTL, in seconds.
        """
        size = HEADER_BYTES + encoded_size
        if not self.keeps and not tags:
            self.l1.set(key, value, l1_until, size)
            return
        expires, life = self.lifetime.bounded(l1_until, fresh_until, load_seconds, tags)
        self.l1.set(key, value, expires, size, life)
