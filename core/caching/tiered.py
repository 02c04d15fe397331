"""The tiered cache of one isolate: L1, then L2, then the loader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, overload

from core.caching import batches, stale
from core.caching.batches import LoadMany
from core.caching.envelope import HEADER_BYTES, Envelope
from core.caching.flights import Flights, LeaderLeft
from core.caching.invalidation import Removed
from core.caching.invalidation_log import Selector
from core.caching.isolate import Isolate
from core.caching.memory import MemoryCache
from core.caching.policy import CacheType, Served, Serves, V
from core.caching.read import MISSED, CacheRead, Load
from core.caching.statistics import NEGATIVE_COLUMN
from core.context import Span
from core.errors import StoreError
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, NEGATIVE, STALE


class TieredCache(Isolate):
    """The cache of one isolate.

    An entry's life is counted from the start of its load and stored with it, so that promotion to
    L1 gives it the remainder and no value is older than its TTL, or than its TTL and the stale
    bound that the policy switches on. Waiting requests are answered in the order of their arrival.

    l1: 10,000 entries and 16 MB where none is given. kv: the store behind L1; a cache without one
    has no L2. retain: keeps background work alive until it is done; the cache does so by itself
    where none is given. breaker and invalidator: shared by the isolates of a process; this one gets
    its own where none is given. uniform: random numbers in [0, 1) for the switches that draw;
    ValueError if one of them is on without it.

    A key stands for `kind.key(key)` here, in L2 and in invalidations: no two types share an entry.
    A read raises ValueError if two types of this cache have one prefix.
    """

    __slots__ = ()

    def request_scoped(self) -> TieredCache:
        """Return this cache with an L1 that is empty and dies with its user."""
        scoped = object.__new__(type(self))
        for name in Isolate.__slots__:
            setattr(scoped, name, getattr(self, name))
        scoped.l1 = MemoryCache(max_entries=self.l1.max_entries, max_bytes=self.l1.max_bytes)
        scoped.l1.statistics = self.l1.statistics
        return scoped

    def renewed(self) -> TieredCache:
        """Return the cache of the isolate that takes this one's place, with an empty L1.

        Counts go on. Reads that are under way end in this one, and it hears of no invalidation any
        more.
        """
        renewed = self.request_scoped()
        renewed.flights = Flights()
        renewed.l1.peak_bytes = self.l1.peak_bytes
        self.invalidator.replace(self, renewed)
        return renewed

    @overload
    async def get(
        self,
        kind: CacheType[V],
        key: str,
        load: Callable[[], Awaitable[V]],
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> V: ...

    @overload
    async def get(
        self,
        kind: Serves[Served],
        key: str,
        load: Callable[[], Awaitable[Served]],
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> Served: ...

    @overload
    async def get(
        self,
        kind: CacheType[V],
        key: str,
        load: Callable[[], V],
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> V: ...

    @overload
    async def get(
        self,
        kind: Serves[Served],
        key: str,
        load: Callable[[], Served],
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> Served: ...

    async def get(
        self,
        kind: Any,  # both of the above
        key: str,
        load: Load,
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> Any:
        """Return the value of *key*, from L1, L2 or *load*, None where there is none.

        *load* is a coroutine function or a plain one, which holds up the event loop. The value has
        the type of *kind*, but it is frozen (see `freeze`): a list is served as a tuple.
        *span* and *name* (of the read within its request) take down what happened; an entry with
        *tags* is invalidated with each of them. Errors of *load* pass through, to every request
        that waited for it, unless the policy lets an older value be served; L2's errors are
        counted and bypass it. TypeError if *load* returns what callers could change.
        """
        if not kind.start <= key < kind.end:  # `kind.key` in place: a call would cost as much again
            key = kind.start + key
        clock = self.now  # `peek` in place: the call saved pays for the comparison
        now = clock()
        entry = self.l1.get(key, now)
        if entry is None:
            if span is not None:
                span.stages.append(("l1", clock() - now))
            return await self._fetch(kind, key, load, span, name, tags)
        value = entry.value
        counts = self._outcomes[kind.name]
        counts[L1_HIT] += 1
        if value is None:
            counts[NEGATIVE_COLUMN] += 1
        if span is not None:
            span.stages.append(("l1", clock() - now))
            span.reads.append((name, L1_HIT if value is not None else L1_HIT | NEGATIVE))
        return value

    async def get_many(
        self,
        kind: CacheType[V],
        keys: Sequence[str],
        load: LoadMany[V],
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> dict[str, V | None]:
        """Return the value of each of *keys*, with at most one round trip to L2 and one load.

        *load* is given keys as they are written in *keys*. An edge store takes 100 keys a round
        trip. The read waits for keys that another read is loading already; it loads a stale value
        of L2 anew. Errors are those of `get`.
        """
        self.claim(kind)
        written = {kind.key(key): key for key in keys}
        if any(whole is not key for whole, key in written.items()):
            load = batches.as_written(load, written)
        whole = tuple(written)
        values, elsewhere = await batches.get_many(self, kind, whole, load, span, name, tags)
        for read in elsewhere:
            values[read.key] = await self.get(kind, read.key, read.load, span, name, tags)
        return {key: values[kind.key(key)] for key in keys}

    async def set_many(
        self, kind: CacheType[V], values: Mapping[str, V | None], tags: tuple[str, ...] = ()
    ) -> None:
        """Put *values* (None: there is none) into both tiers in place of what was there.

        Loads of these keys that are in flight are not kept, and other processes forget the keys.
        An error of L2 is counted.
        """
        self.claim(kind)
        whole = {kind.key(key): value for key, value in values.items()}
        await batches.set_many(self, kind, whole, tags)

    async def delete_many(self, kind: CacheType[Any], keys: Sequence[str]) -> Removed:
        """Invalidate *keys*; return how many entries went from L1 and L2, StoreError as there."""
        if not keys:
            return Removed(0, 0)
        target = Selector(keys=tuple(kind.key(key) for key in keys))
        return await self.invalidator.invalidate(target)

    def fetch(
        self,
        kind: CacheType[Any],
        key: str,
        load: Load,
        span: Span | None = None,
        name: str = "",
        tags: tuple[str, ...] = (),
    ) -> Coroutine[Any, Any, Any]:
        """Return a coroutine for the value of a whole key, which `peek` missed: of L2 or *load*.

        Raise ValueError if *key* does not begin with the prefix of *kind*.
        """
        if not kind.start <= key < kind.end:
            raise ValueError(
                f"{key!r} is no key of {kind.name}: it does not begin with {kind.start}"
            )
        return self._fetch(kind, key, load, span, name, tags)

    async def _fetch(
        self,
        kind: CacheType[Any],
        key: str,
        load: Load,
        span: Span | None,
        name: str,
        tags: tuple[str, ...],
    ) -> Any:
        if self._kinds.get(kind.prefix) is not kind:
            self.claim(kind)
        read = CacheRead(kind, key, load, span, name, tags)
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

    async def _read(self, read: CacheRead) -> Any:
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

    def _serve_envelope(self, read: CacheRead, envelope: Envelope, now: float) -> Any:
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
