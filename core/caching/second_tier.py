"""L2 of an isolate: envelopes, a soft time limit, a circuit breaker, and no old values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from core.caching.breaker import CircuitBreaker
from core.caching.edge_kv import KEYS_PER_READ
from core.caching.envelope import Envelope, loaded_ms_of, unseal
from core.caching.invalidation_log import InvalidationLog
from core.caching.kv import KVStore, StoreItem
from core.caching.policy import CacheType
from core.caching.statistics import TieredStatistics
from core.errors import StoreError, StoreTimeout


class SecondTier:
    """Reads and writes envelopes, counting everything in *statistics*.

    soft_timeout: seconds, 0 for none; it holds where the reader has a value to fall back on. The
    hard limit is the store's own. retain: keeps background work alive until it is done.
    is_edge: the store takes 100 keys a read, and one a put.
    """

    __slots__ = (
        "_is_edge",
        "_log",
        "_now",
        "_retain",
        "_soft_timeout",
        "_statistics",
        "breaker",
        "kv",
    )  # fmt: skip

    def __init__(
        self,
        kv: KVStore,
        now: Callable[[], float],
        log: InvalidationLog,
        breaker: CircuitBreaker,
        statistics: TieredStatistics,
        *,
        soft_timeout: float,
        is_edge: bool,
        retain: Callable[[asyncio.Task[Any]], None],
    ) -> None:
        self.kv = kv
        self.breaker = breaker
        self._now = now
        self._log = log
        self._statistics = statistics
        self._soft_timeout = soft_timeout
        self._is_edge = is_edge
        self._retain = retain

    async def read(
        self, kind: CacheType[Any], key: str, can_fall_back: bool = False
    ) -> Envelope | None:
        """Return what L2 has for *key*; None if it is missing or unusable.

        Raise StoreError if L2 fails or is too slow, or if the breaker is open.
        """
        if not self.breaker.is_closed:
            self._ask_breaker()
        self._statistics.l2_reads += 1
        bars = self._log.bars
        try:
            if can_fall_back and self._soft_timeout:
                data = await self._read_within(self._soft_timeout, key)
            else:
                (data,) = await self.kv.get(key)
        except StoreError:
            self._fail()
            raise
        if self.breaker.in_a_row:
            self.breaker.succeed()
        return None if data is None else self._open(kind, key, data, bars)

    async def read_many(self, kind: CacheType[Any], keys: Sequence[str]) -> list[Envelope | None]:
        """Return what L2 has for each of *keys*, as `read` does, in as few reads as it takes."""
        if not self.breaker.is_closed:
            self._ask_breaker()
        bars, most = self._log.bars, KEYS_PER_READ if self._is_edge else len(keys)
        found: list[bytes | None] = []
        try:
            for start in range(0, len(keys), most):
                self._statistics.l2_reads += 1
                found += await self.kv.get(*keys[start : start + most])
        except StoreError:
            self._fail()
            raise
        self.breaker.succeed()
        return [
            None if data is None else self._open(kind, key, data, bars)
            for key, data in zip(keys, found, strict=True)
        ]

    def _ask_breaker(self) -> None:
        if not self.breaker.allows(self._now()):
            self._statistics.l2_skipped += 1
            raise StoreError("the circuit breaker of L2 is open")

    def _fail(self) -> None:
        self._statistics.l2_errors += 1
        self.breaker.fail(self._now())

    async def _read_within(self, limit: float, key: str) -> bytes | None:
        # No cancellation: the store's connection stays in order, and simulated requests are no
        # tasks that could be cancelled.
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[bool] = loop.create_future()
        task = loop.create_task(_settle(self.kv, key, ended))
        self._retain(task)
        timer = loop.call_later(limit, _resolve, ended, False)
        try:
            is_answered = await ended
        finally:
            timer.cancel()
        if not is_answered:
            self._statistics.l2_late += 1
            raise StoreTimeout(f"L2 did not answer within {limit:g} s")
        answer = task.result() if task.done() else await task
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def _open(self, kind: CacheType[Any], key: str, data: bytes, bars: int) -> Envelope | None:
        """Return what is in *data*, which was asked for after *bars* bars of loads."""
        statistics, log = self._statistics, self._log
        statistics.l2_bytes_read += len(data)
        try:
            envelope = unseal(kind, data)
        except ValueError:
            statistics.l2_corrupt += 1
            return None
        if log.bars != bars or log.refuses(key, envelope.tags, envelope.loaded_ms):
            statistics.l2_refused += 1
            return None
        return envelope

    async def write(self, *items: StoreItem) -> None:
        """Put sealed *items* in one round trip; errors are counted, and the next read will miss.

        What an invalidation overtakes is not written, or deleted again.
        """
        statistics, log = self._statistics, self._log
        if not self.breaker.is_closed:
            statistics.l2_skipped += 1
            return
        if log.is_active:
            items = tuple(item for item in items if not self._is_overtaken(item))
        if not items:
            return
        statistics.l2_writes += len({item.key for item in items}) if self._is_edge else 1
        try:
            await self.kv.put(*items)
            for item in items:
                statistics.l2_bytes_written += len(item.value)
            if log.is_active:
                late = [item.key for item in items if self._is_overtaken(item)]
                if late:
                    statistics.l2_deletes += len({*late})
                    await self.kv.delete(*late)
        except StoreError:
            statistics.l2_write_errors += 1

    async def drop(self, *keys: str) -> None:
        """Delete *keys*, whose values are not kept; errors are counted like those of writes."""
        if keys:
            self._statistics.l2_deletes += len({*keys})
            try:
                await self.kv.delete(*keys)
            except StoreError:
                self._statistics.l2_write_errors += 1

    def _is_overtaken(self, item: StoreItem) -> bool:
        return self._log.refuses(item.key, item.tags, loaded_ms_of(item.value))


async def _settle(kv: KVStore, key: str, ended: asyncio.Future[bool]) -> bytes | StoreError | None:
    """Read *key*, then resolve *ended*; return a failure, because a late one has no reader."""
    try:
        (data,) = await kv.get(key)
    except StoreError as error:
        return error
    finally:
        _resolve(ended, True)
    return data


def _resolve(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)
