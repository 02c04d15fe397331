"""One process's application, assembled: the same for the service and for the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from core.attribution.batch import BatchAttributionProcessor
from core.backlog import Backlog
from core.caching.kv import KVStore
from core.caching.memory import MemoryCache
from core.caching.tiered import CachePolicy, TieredCache
from core.cdp import Cdp
from core.clock import DATA_EPOCH_MS, Clock
from core.conversions import ConversionQueue, Inbox
from core.profiling import LatencyProfiler
from core.query.database import Database
from core.query.queries import Queries
from core.scenario import Scenario


class Application:
    """Profiler, queries, queue, one cache per isolate and the CDP over them.

    kv and database: as the application sees them, with whatever latencies stand in front.
    backlog: the queue's durable part, of this process. inbox: where accepted conversions go if
    another process consumes them.
    """

    def __init__(
        self,
        scenario: Scenario,
        kv: KVStore,
        database: Database,
        clock: Clock,
        *,
        backlog: Backlog | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        tiers = scenario.tiers
        self.profiler = LatencyProfiler()
        lease = backlog.lease if backlog is not None and inbox is None else None
        self.queries = Queries(database, clock, self.profiler, lease=lease)
        # Events carry the scenario's time, which begins at the data's epoch.
        self.processor = BatchAttributionProcessor(self.queries, now_ms=_data_time(clock.now))
        self.queue = ConversionQueue(
            self.processor.process,
            batch_size=scenario.queue.batch_size,
            max_parallel=scenario.queue.max_parallel,
            wait=scenario.queue.wait,
            clock=clock,
            profiler=self.profiler,
            max_attempts=scenario.queue.max_attempts,
            retry_delay=scenario.queue.retry_delay,
            backlog=backlog,
        )
        self._background: dict[asyncio.Task[None], None] = {}
        policy = CachePolicy(
            l1_ttl=tiers.l1.ttl,
            negative_ttl=tiers.negative_ttl,
            single_flight=tiers.single_flight,
            await_put=tiers.l2.put == "await",
        )
        self.caches: Sequence[TieredCache] = [
            TieredCache(
                MemoryCache(max_entries=tiers.l1.max_entries, max_bytes=tiers.l1.max_bytes),
                kv, clock, policy, retain=self._retain,
            )
            for _ in range(scenario.topology.isolates)
        ]  # fmt: skip
        self.cdp = Cdp(
            self.caches,
            self.queries,
            self.queue if inbox is None else inbox,
            ttls=tiers.l2.ttl,
            request_scope=tiers.l1.scope == "request",
        )

    def _retain(self, task: asyncio.Task[None]) -> None:
        self._background[task] = None
        task.add_done_callback(self._release)

    def _release(self, task: asyncio.Task[None]) -> None:
        del self._background[task]

    async def drain(self) -> None:
        """Return when the queue and all background writes have ended."""
        await self.queue.drain()
        while self._background:
            await next(iter(self._background))


def _data_time(now: Callable[[], float]) -> Callable[[], int]:
    return lambda: DATA_EPOCH_MS + int(now() * 1000)
