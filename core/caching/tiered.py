"""The tiered cache: L1, then L2, then the loader, with one load at a time per key."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from core.caching.kv import KVStore
from core.caching.memory import MemoryCache
from core.clock import Clock
from core.errors import StoreError
from core.record import NEGATIVE, READ_OUTCOMES
from core.span import CURRENT, SLOTS, Operation, Span
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS

_HEADER = struct.Struct(">3sBq")
_MAGIC = b"EP1"


class Codec(Protocol):
    """How values of one cache type are written to L2 and read back, as immutable objects."""

    def encode(self, value: Any) -> bytes:
        """Return *value* as bytes."""
        ...

    def decode(self, data: bytes) -> Any:
        """Return the value of *data*; ValueError if it is none."""
        ...


class Text:
    """Values that are JSON documents already, as bytes."""

    def encode(self, value: bytes) -> bytes:
        """Return *value* itself."""
        return value

    def decode(self, data: bytes) -> bytes:
        """Return *data* itself."""
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheType:
    """What a kind of key holds: its name, how long L2 keeps it (seconds) and its codec."""

    name: str
    ttl: float
    codec: Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """The switches of a tiered cache; times in seconds, negative_ttl 0 keeps no absence."""

    l1_ttl: float
    negative_ttl: float
    single_flight: bool
    await_put: bool


MISSED = object()
"""What `TieredCache.peek` returns where L1 has no entry."""


class _LeaderLeft(Exception):
    """The request that was loading for others went away."""


class TieredCache:
    """The cache of one isolate.

    An entry's life is counted from the start of its load and stored with it, so that promotion to
    L1 gives it the remainder and no value is older than its TTL. Waiting requests are answered in
    the order of their arrival. *retain* keeps background writes alive.
    """

    __slots__ = (
        "_clock", "_flights", "_isolate", "_kv", "_now", "_policy", "_retain",
        "corrupt", "l1", "outcomes", "put_errors",
    )  # fmt: skip

    def __init__(
        self,
        l1: MemoryCache,
        kv: KVStore,
        clock: Clock,
        policy: CachePolicy,
        *,
        retain: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self.l1 = l1
        self._kv = kv
        self._clock = clock
        self._now = clock.now
        self._policy = policy
        self._retain = retain
        self._flights: dict[str, list[asyncio.Future[Any]]] = {}
        self.outcomes: dict[str, list[int]] = {}
        self.corrupt = 0
        self.put_errors = 0
        self._isolate = self

    def request_scoped(self) -> TieredCache:
        """Return this cache with an L1 that is empty and dies with its user."""
        scoped = TieredCache(
            MemoryCache(max_entries=self.l1.max_entries, max_bytes=self.l1.max_bytes),
            self._kv, self._clock, self._policy, retain=self._retain,
        )  # fmt: skip
        scoped._flights = self._flights
        scoped.outcomes = self.outcomes
        scoped._isolate = self._isolate  # counts what outlives the request
        return scoped

    async def get(
        self,
        span: Span,
        name: str,
        kind: CacheType,
        key: str,
        load: Callable[[], Awaitable[Any]],
    ) -> Any:
        """Return the value of *key*, from L1, L2 or *load*, None where there is none.

        *name* is the read's name within its request. Errors of *load* pass through, to every
        request that waited for it; L2's errors are counted and bypass it.
        """
        value = self.peek(span, name, kind, key)
        return value if value is not MISSED else await self.fetch(span, name, kind, key, load)

    def peek(self, span: Span, name: str, kind: CacheType, key: str) -> Any:
        """Return the value of *key* if L1 has it, None where it knows there is none, or MISSED.

        The part of `get` that never waits; after MISSED, `fetch` is the rest.
        """
        now = self._now
        started = now()
        entry = self.l1.get(key, started)
        span.stages.append(("l1", now() - started))
        if entry is None:
            return MISSED
        value = entry[0]
        self._count(span, name, kind, L1_HIT if value is not None else L1_HIT | NEGATIVE)
        return value

    async def fetch(
        self,
        span: Span,
        name: str,
        kind: CacheType,
        key: str,
        load: Callable[[], Awaitable[Any]],
    ) -> Any:
        """Return the value of *key*, which L1 does not have, from L2 or *load*."""
        while self._policy.single_flight and (followers := self._flights.get(key)) is not None:
            waiter = asyncio.get_running_loop().create_future()
            followers.append(waiter)
            try:
                value = await waiter
            except _LeaderLeft:
                continue
            except StoreError:
                self._count(span, name, kind, COLLAPSED)
                raise
            self._count(span, name, kind, COLLAPSED)
            return value
        CURRENT.set(Operation(span, SLOTS[name]))
        if not self._policy.single_flight:
            return await self._fetch(span, name, kind, key, load)
        followers = self._flights[key] = []
        try:
            value = await self._fetch(span, name, kind, key, load)
        except BaseException as error:
            del self._flights[key]
            # Cancelled: one of the followers loads in this one's place.
            failure = error if isinstance(error, Exception) else _LeaderLeft()
            for waiter in followers:
                if not waiter.done():
                    waiter.set_exception(failure)
            raise
        del self._flights[key]
        for waiter in followers:
            if not waiter.done():
                waiter.set_result(value)
        return value

    async def _fetch(
        self,
        span: Span,
        name: str,
        kind: CacheType,
        key: str,
        load: Callable[[], Awaitable[Any]],
    ) -> Any:
        clock = self._clock
        started = clock.now()
        outcome = MISS
        try:
            data = await self._kv.get(key)
        except StoreError:
            data, outcome = None, BYPASS
        span.stages.append(("l2", clock.now() - started))
        found = None if data is None else self._open(kind, data)
        if found is not None:
            value, expires = found
            self._promote(key, value, expires, len(data or b""))
            self._count(span, name, kind, L2_HIT if value is not None else L2_HIT | NEGATIVE)
            return value
        loading = clock.now()
        try:
            value = await load()
        except StoreError:
            self._count(span, name, kind, outcome)  # a read that nothing answered is no hit
            raise
        ttl = kind.ttl if value is not None else min(self._policy.negative_ttl, kind.ttl)
        expires = loading + ttl
        self._count(span, name, kind, outcome)
        if expires <= clock.now():
            return value
        sealed = seal(kind, value, self._clock.origin_ms + int(expires * 1000))
        self._promote(key, value, expires, len(sealed))
        if outcome == BYPASS:
            return value
        if self._policy.await_put:
            await self._put(key, sealed, expires)
        else:
            self._retain(asyncio.get_running_loop().create_task(self._put(key, sealed, expires)))
        return value

    async def _put(self, key: str, sealed: bytes, expires: float) -> None:
        ttl = expires - self._clock.now()
        if ttl <= 0:
            return
        try:
            await self._kv.put(key, sealed, ttl)
        except StoreError:
            self._isolate.put_errors += 1

    def _promote(self, key: str, value: Any, expires: float, size: int) -> None:
        self.l1.set(
            key, value, expires=min(expires, self._clock.now() + self._policy.l1_ttl), size=size
        )

    def _count(self, span: Span, name: str, kind: CacheType, code: int) -> None:
        span.reads.append((name, code))
        counts = self.outcomes.get(kind.name)
        if counts is None:
            counts = self.outcomes[kind.name] = [0] * (len(READ_OUTCOMES) + 1)
        counts[code & 15] += 1
        if code & NEGATIVE:
            counts[-1] += 1

    def _open(self, kind: CacheType, data: bytes) -> tuple[Any, float] | None:
        """Return value and expiry of sealed bytes; None if they are foreign or have expired."""
        try:
            value, expires_ms = unseal(kind, data)
        except ValueError:
            self._isolate.corrupt += 1
            return None
        expires = (expires_ms - self._clock.origin_ms) / 1000
        return None if expires <= self._clock.now() else (value, expires)

    def warm_l1(self, key: str, value: Any, *, expires: float, encoded_size: int) -> None:
        """Put an entry into L1 as if it had been read before; encoded_size: bytes of the value."""
        self.l1.set(key, value, expires=expires, size=_HEADER.size + encoded_size)

    async def invalidate(self, *keys: str) -> tuple[int, int]:
        """Forget *keys* in L1 and L2; return how many went from each."""
        from_l1 = sum(self.l1.delete(key) for key in keys)
        return from_l1, await self._kv.delete(*keys)

    async def invalidate_prefix(self, prefix: str) -> tuple[int, int]:
        """Forget every key that starts with *prefix*; return how many went from L1 and L2."""
        return self.l1.delete_prefix(prefix), await self._kv.delete_prefix(prefix)


def seal(kind: CacheType, value: Any, expires_ms: int) -> bytes:
    """Return *value* as L2 keeps it, with its absolute expiry in epoch milliseconds."""
    return seal_encoded(None if value is None else kind.codec.encode(value), expires_ms)


def seal_encoded(encoded: bytes | None, expires_ms: int) -> bytes:
    """Return an encoded value as L2 keeps it; None is the absence of one."""
    return _HEADER.pack(_MAGIC, encoded is None, expires_ms) + (encoded or b"")


def unseal(kind: CacheType, data: bytes) -> tuple[Any, int]:
    """Return value and expiry of what `seal` wrote; ValueError if *data* is anything else."""
    try:
        magic, absent, expires_ms = _HEADER.unpack_from(data)
        if magic != _MAGIC or absent > 1:
            raise ValueError("not an entry of this cache")
        return None if absent else kind.codec.decode(data[_HEADER.size :]), expires_ms
    except (struct.error, TypeError, KeyError) as error:
        raise ValueError(f"not an entry of this cache: {error}") from None
