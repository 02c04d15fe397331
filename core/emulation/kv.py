"""A key-value store behind the scenario's latencies and faults."""

from __future__ import annotations

from core.caching.kv import KVStore, StoreItem, require_life
from core.context import Purpose
from core.emulation.faults import FaultSchedule
from core.emulation.platform import Platform
from core.errors import StoreError, StoreTimeout
from core.scenario.tiers import L2

_HOT_KEYS = 200_000

# Module names: looking a member up in its enumeration takes longer than drawing a number.
_L2_READ = Purpose.L2_READ
_L2_READ_FATE = Purpose.L2_READ_FATE
_L2_WRITE = Purpose.L2_WRITE
_L2_WRITE_FATE = Purpose.L2_WRITE_FATE


class DelayedKV:
    """A key-value store behind the latencies of the edge store, seen from one process.

    A key that was read here within cache_ttl is hot and takes `read`, any other `cold_read`. A
    value is read when the answer would leave the store; the store counts its age.

    operations: the store's operations, *deletions* included, which take no modelled time.
    A put or a delete of many keys is one operation. An edge store has no such command and counts
    one operation per key: the CPU sends them one after the other, and they take one latency
    together.
    """

    def __init__(self, store: KVStore, tier: L2, faults: FaultSchedule, platform: Platform) -> None:
        self._store = store
        self._tier = tier
        self._timeout, self._cache_ttl = tier.timeout, tier.cache_ttl
        self._faults = faults
        self._platform = platform
        self._read_time = platform.sampler(_L2_READ, tier.read)
        self._cold_read_time = platform.sampler(_L2_READ, tier.cold_read)
        self._write_time = platform.sampler(_L2_WRITE, tier.write)
        self._hot: dict[str, float] = {}
        self._is_edge = tier.consistency == "eventual"
        self.operations = 0
        self.deletions = 0
        self.errors = 0

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return the values of *keys* after one read latency: the slower one if a key is cold."""
        platform, hot = self._platform, self._hot
        sent = platform.charge("l2")
        time_of = self._read_time
        for key in keys:
            if hot.get(key, -1.0) <= sent:
                time_of = self._cold_read_time
        latency = time_of()
        if self._faults.faults or latency > self._timeout:
            await self._answer(sent, latency, _L2_READ_FATE)
        else:  # as `_answer`, without one more frame for each step to pass through
            self.operations += 1
            await platform.until(sent + latency)
        hot_until = platform.now() + self._cache_ttl
        for key in keys:
            self.touch(key, hot_until)
        return await self._store.get(*keys)

    async def put(self, *items: StoreItem) -> None:
        """Keep *items* after one write latency; ValueError unless every ttl is more than 0 s."""
        require_life(items)
        sent = self._platform.charge("l2")
        if self._is_edge:
            for _ in range(len({item.key for item in items}) - 1):
                self.operations += 1
                sent = self._platform.charge("l2")
            await self._answer(sent, self._write_time(), _L2_WRITE_FATE)
            await self._store.put(*items)  # the store counts their TTL from their arrival
            return
        await self._answer(sent, self._write_time(), _L2_WRITE_FATE)
        # The TTL of the value runs while it is written.
        took = self._platform.now() - sent
        alive = [item._replace(ttl=item.ttl - took) for item in items if item.ttl > took]
        if alive:
            await self._store.put(*alive)
        if len(alive) < len(items):
            # A value that expired while it was written has still replaced the old one.
            await self._store.delete(*(item.key for item in items if item.ttl <= took))

    async def delete(self, *keys: str) -> int:
        """Delete *keys* at once: invalidation is control traffic, not part of the load."""
        for key in keys:
            self._hot.pop(key, None)
        if keys:
            self._count(len({*keys}) if self._is_edge else 1)
        return await self._store.delete(*keys)

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all keys that start with *prefix*, at once."""
        self._hot = {k: until for k, until in self._hot.items() if not k.startswith(prefix)}
        return self._found(await self._store.delete_prefix(prefix))

    async def delete_tag(self, tag: str) -> int:
        """Delete all keys that were put under *tag*, at once."""
        return self._found(await self._store.delete_tag(tag))

    def _found(self, deleted: int) -> int:
        """Count the operations that find and delete *deleted* keys; return *deleted*."""
        self._count(1 + deleted if self._is_edge else 1)
        return deleted

    def _count(self, deletions: int) -> None:
        self.operations += deletions
        self.deletions += deletions

    async def close(self) -> None:
        """Close the store's connections."""
        await self._store.close()

    def touch(self, key: str, hot_until: float) -> None:
        """Make *key* hot until *hot_until*."""
        hot = self._hot
        if len(hot) >= _HOT_KEYS:
            now = self._platform.now()
            self._hot = hot = {k: until for k, until in hot.items() if until > now}
            if len(hot) >= _HOT_KEYS:
                hot.clear()
        hot[key] = hot_until

    def cool(self) -> None:
        """Make all keys cold."""
        self._hot.clear()

    async def _answer(self, sent: float, latency: float, fate: Purpose) -> None:
        self.operations += 1
        failed = False
        if self._faults.faults:
            latency, failed = self._faults.apply("l2", sent, latency, fate, self._platform)
        if latency > self._timeout:
            await self._platform.until(sent + self._timeout)
            self.errors += 1
            raise StoreTimeout(f"L2 did not answer within {self._timeout:g} s")
        await self._platform.until(sent + latency)
        if failed:
            self.errors += 1
            raise StoreError("L2 answered with an error")
