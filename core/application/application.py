"""One process's application, assembled: the same for the service and for the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from core.application.behaviour import answers_of, behaviours_of, entries_of
from core.application.cdp import Cdp
from core.application.pipeline import Pipeline
from core.attribution.scheme import Scheme
from core.caching.breaker import CircuitBreaker
from core.caching.channel import InvalidationChannel
from core.caching.invalidation import Invalidator
from core.caching.invalidation_log import InvalidationLog
from core.caching.kv import KVStore
from core.caching.memory import MemoryCache, MemoryStatistics
from core.caching.policy import CachePolicy
from core.caching.statistics import STALE_COLUMN, TieredStatistics
from core.caching.tiered import TieredCache
from core.clock import Clock, epoch_ms
from core.context import Purpose
from core.delivery.backlog import Backlog
from core.delivery.outbox import Outbox
from core.delivery.queue import Inbox
from core.delivery.receiver import Receiver
from core.ledger.fitter import Runner, inline
from core.metrics.profile import thresholds_with
from core.metrics.profiler import LatencyProfiler
from core.query.cache import QueryCache
from core.query.database import Database
from core.query.queries import Queries
from core.scenario.scenario import Scenario
from core.scenario.tiers import QueryRows, Tiers


class Application:
    """Profiler, queries, queue, one cache per isolate and the CDP over them.

    kv and database: as the application sees them, behind any modelled latencies. uniform: random
    numbers of the running operation. channel and name: of invalidations to other processes, and of
    this process as their sender. scheme: that credit is shared out by at first. backlog: the
    queue's durable part, of this process. inbox: where accepted conversions go if another process
    consumes them. run: runs the computation of a model. receiver and outbox: the destination of the
    conversions that are finished here, and the rows that wait for it; None to forward nothing.
    query_cache: the row cache of *database*, for invalidations.
    """

    def __init__(
        self,
        scenario: Scenario,
        kv: KVStore,
        database: Database,
        clock: Clock,
        uniform: Callable[[Purpose], float],
        *,
        scheme: Scheme,
        channel: InvalidationChannel | None = None,
        name: str = "",
        backlog: Backlog | None = None,
        inbox: Inbox | None = None,
        run: Runner = inline,
        receiver: Receiver | None = None,
        outbox: Outbox | None = None,
        query_cache: QueryCache | None = None,
    ) -> None:
        tiers = scenario.tiers
        kinds = scenario.metrics.table.kinds
        self.profiler = LatencyProfiler(clock, thresholds=thresholds_with(kinds))
        lease = backlog.lease if backlog is not None and inbox is None else None
        self.queries = Queries(
            database, clock, self.profiler, lease=lease, parameters=scheme.parameters
        )
        self._background: dict[asyncio.Task[Any], None] = {}
        pipeline = Pipeline(
            scenario, self.queries, clock, self.profiler,
            scheme=scheme, retain=self._retain, backlog=backlog, run=run, receiver=receiver,
            outbox=outbox,
        )  # fmt: skip
        self.current, self.forwarder = pipeline.current, pipeline.forwarder
        self.processor, self.fitter = pipeline.processor, pipeline.fitter
        self.queue = pipeline.queue
        self.breaker = CircuitBreaker(
            failures=tiers.l2.breaker.failures, open_for=tiers.l2.breaker.open_for
        )
        log = InvalidationLog(lambda: epoch_ms(clock), horizon=_horizon(tiers))
        self.invalidator = Invalidator(kv, log, name=name, channel=channel)
        self.query_cache = query_cache
        if query_cache is not None:
            self.invalidator.add(query_cache)
        policy = cache_policy(tiers)
        self.caches: list[TieredCache] = [
            TieredCache(
                MemoryCache(max_entries=tiers.l1.max_entries, max_bytes=tiers.l1.max_bytes),
                kv, clock, policy,
                retain=self._retain, breaker=self.breaker, invalidator=self.invalidator,
                uniform=uniform,
            )
            for _ in range(scenario.topology.isolates)
        ]  # fmt: skip
        behaviours = behaviours_of(scenario.endpoints)
        self.cdp = Cdp(
            self.caches,
            self.queries,
            self.queue if inbox is None else inbox,
            current=self.current,
            ttls=tiers.l2.ttl,
            request_scope=tiers.l1.scope == "request",
            tags=tiers.tags,
            own=entries_of(behaviours),
        )
        self.answers = answers_of(scenario.endpoints, behaviours, self.cdp)

    def replace_isolate(self, isolate: int) -> None:
        """Let a new isolate take the place of one: its L1 is empty.

        Requests that are under way end on the old one. The cache of query rows is the process's,
        and begins anew with its first isolate.
        """
        self.caches[isolate] = self.caches[isolate].renewed()
        if isolate == 0 and self.query_cache is not None:
            self.query_cache.forget_all()

    def _retain(self, task: asyncio.Task[Any]) -> None:
        self._background[task] = None
        task.add_done_callback(self._release)

    def _release(self, task: asyncio.Task[Any]) -> None:
        del self._background[task]

    def cache_statistics(self) -> tuple[MemoryStatistics, TieredStatistics]:
        """Return the counts of L1 and the layers behind it, over all isolates."""
        l1, behind = MemoryStatistics(), TieredStatistics()
        for cache in self.caches:
            l1.add(cache.l1.statistics)
            behind.add(cache.statistics)
        return l1, behind

    def cache_counters(self) -> dict[str, int]:
        """Return the cache counters for a run's record, over all isolates."""
        l1, behind = self.cache_statistics()
        rows = self.query_cache
        return {
            **({} if rows is None else {"query_cache_hits": rows.hits}),
            "breaker_openings": self.breaker.openings,
            "l1_evicted": l1.evicted,
            "l1_expired": l1.expired,
            "l1_extended": behind.l1_extended,
            "l2_corrupt": behind.l2_corrupt,
            "l2_deletes": behind.l2_deletes + self.invalidator.deletes,
            "l2_lists": self.invalidator.lists,
            "l2_refused": behind.l2_refused,
            "l2_skipped": behind.l2_skipped,
            "l2_write_errors": behind.l2_write_errors,
            "loads": behind.loads,
            "loads_early_or_stale": behind.refreshes,
            "loads_outlived": behind.outlived,
            "loads_overtaken": behind.overtaken,
            "stale_served": sum(counts[STALE_COLUMN] for counts in behind.outcomes.values()),
        }

    async def drain(self) -> None:
        """Return when the queue, a running fit and all background writes have ended."""
        await self.queue.drain()
        await self.fitter.drain()
        while self._background:
            # All tasks at once: awaiting a task that is done would not let it be released.
            await asyncio.gather(*self._background)


def cache_policy(tiers: Tiers) -> CachePolicy:
    """Return the switches of the caches of *tiers*."""
    return CachePolicy(
        l1_ttl=tiers.l1.ttl,
        negative_ttl=tiers.negative_ttl,
        single_flight=tiers.single_flight,
        await_put=tiers.l2.put == "await",
        ttl_jitter=tiers.ttl_jitter,
        stale_while_revalidate=tiers.stale_while_revalidate,
        stale_if_error=tiers.stale_if_error,
        retry_pause=tiers.retry_pause,
        early_refresh=tiers.early_refresh,
        l2_soft_timeout=tiers.l2.soft_timeout,
        edge_store=tiers.l2.consistency == "eventual",
    )


def _horizon(tiers: Tiers) -> float:
    """Return the seconds for which L2 may serve a value loaded before an invalidation."""
    longest = max(ttl for _, ttl in tiers.l2.ttl)
    of_l2 = float(longest) + tiers.stale_bound + tiers.l2.cache_ttl + tiers.l2.timeout
    return of_l2 + tiers.query_cache.ttl  # the rows behind a value may be that old


def query_cache_of(table: QueryRows) -> QueryCache | None:
    """Return the query cache of a scenario, None if it has none."""
    if not table.ttl:
        return None
    return QueryCache(ttl=table.ttl, max_entries=table.max_entries, max_bytes=table.max_bytes)
