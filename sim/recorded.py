"""A recorded trace's sets, deletes and TTLs, at work in the caches of a simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from core.application.warming import Warmer
from core.caching.policy import CacheType
from core.caching.tiered import TieredCache
from core.context import begin, span_of
from core.endpoint import STORE_SLOT
from core.endpoints import EndpointTable
from core.errors import StoreError
from core.scenario.recorded import Effects
from sim.loop import SimLoop

_Entry = tuple[CacheType[Any], str, Any, tuple[str, ...]]
_SPAN = span_of({"write": STORE_SLOT})


class RecordedEffects:
    """The effects beside a run's requests.

    cache_of: the cache that answers a request, by its index; begins: when a request that has just
    arrived has the CPU; caches: all of the run; ahead: seconds that the simulation is ahead of the
    run, for what is played before it.
    """

    def __init__(
        self,
        effects: Effects,
        endpoints: EndpointTable,
        loop: SimLoop,
        caches: Sequence[TieredCache],
        cache_of: Callable[[int], TieredCache],
        begins: Callable[[int], float],
        ahead: float = 0.0,
    ) -> None:
        self._effects, self._loop, self._cache_of = effects, loop, cache_of
        self._begins, self._ahead = begins, ahead
        self._reads = [[read.cache_type for read in e.primary] for e in endpoints]
        self._ttls: dict[str, float] = {}
        for cache in caches:
            cache.ttls = self._ttls
        self._request_ttls = [] if effects.ttls is None else effects.ttls.tolist()
        self._keys: dict[tuple[int, int], list[_Entry]] = {}
        self._behind: dict[int, list[int]] = {}
        for place, after in enumerate(effects.after.tolist()):
            self._behind.setdefault(after - 1, []).append(place)
        self.sets = self.deletes = self.failed = 0

    async def load(self, warmer: Warmer, endpoints: Sequence[int], subjects: Sequence[int]) -> None:
        """Find the entries of every write, and of every request with a TTL of its own.

        endpoints and subjects: of the planned requests, in the order of the effects' rows.
        """
        effects = self._effects
        asked = set(zip(effects.endpoint.tolist(), effects.subject.tolist(), strict=True))
        if self._request_ttls:
            asked |= {
                (endpoint, subject)
                for endpoint, subject, ttl in zip(
                    endpoints, subjects, self._request_ttls, strict=True
                )
                if ttl
            }
        for endpoint, subject in sorted(asked):
            self._keys[endpoint, subject] = [
                await warmer.entry(cache_type, subject) for cache_type in self._reads[endpoint]
            ]

    def before(self, index: int, endpoint: int, subject: int) -> None:
        """Give the entries that request *index* may fill the TTL of its access."""
        if self._request_ttls and (ttl := self._request_ttls[index]):
            for _, key, _, _ in self._keys[endpoint, subject]:
                self._ttls[key] = ttl

    def behind(self, index: int) -> None:
        """Make the writes that stand between request *index* and the next one; -1: the first."""
        if index not in self._behind:
            return
        # Accesses of one instant keep their order: the read before a write looks first.
        earliest = self._loop.time() if index < 0 else self._begins(index)
        for place in self._behind[index]:
            at = max(self._ahead + float(self._effects.seconds[place]), earliest)
            self._loop.call_at(at, self._start, place, max(index, 0))

    def _start(self, place: int, index: int) -> None:
        cache = self._cache_of(index)
        cache.retain(self._loop.create_task(self._write(cache, place, index)))

    async def _write(self, cache: TieredCache, place: int, index: int) -> None:
        effects = self._effects
        begin(_SPAN(index), "write")
        is_delete, ttl = bool(effects.is_delete[place]), float(effects.write_ttls[place])
        entries = self._keys[int(effects.endpoint[place]), int(effects.subject[place])]
        try:
            for kind, key, value, tags in entries:
                if is_delete:
                    await cache.delete_many(kind, [key])
                    continue
                if ttl:
                    self._ttls[key] = ttl
                await cache.set_many(kind, {key: value}, tags)
        except StoreError:
            self.failed += 1
        if is_delete:
            self.deletes += 1
        else:
            self.sets += 1

    def counters(self) -> dict[str, int]:
        """Return how many writes the caches took."""
        return {
            "trace_sets": self.sets,
            "trace_deletes": self.deletes,
            "trace_writes_failed": self.failed,
        }
