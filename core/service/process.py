"""One process of the reference service: the application on real time, behind emulated stores."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import time
from dataclasses import asdict
from uuid import uuid4

from core.application.application import Application, query_cache_of
from core.application.seeding import bring_up_to_date, seed_for, seed_sites
from core.application.warming import Warmer
from core.attribution.scheme import Scheme
from core.caching.edge_kv import EdgeKV, FilledEdgeKV
from core.caching.kv import KVStore
from core.clock import SystemClock, epoch_ms
from core.delivery.backlog import Backlog
from core.delivery.forwarder import LAST_DELIVERIES
from core.delivery.outbox import outbox_of
from core.delivery.poller import Poller
from core.delivery.queue import NullInbox
from core.emulation.database import DelayedDatabase
from core.emulation.destination import receiver_of
from core.emulation.faults import FaultSchedule
from core.emulation.kv import DelayedKV
from core.emulation.platform import DrawnNumbers, EmulatingPlatform
from core.emulation.timers import Timers
from core.errors import StoreError
from core.ledger.fitted_models import stored_scheme
from core.ledger.fitter import in_thread
from core.metrics.machine import (
    fixed_work,
    peak_resident_bytes,
    process_cpu_seconds,
    reset_peak,
    resident_bytes,
)
from core.metrics.profiler import LatencyProfiler
from core.query import queue_statements
from core.query.cache import RULES
from core.query.database import Database
from core.query.executor import QueryExecutor, SlowQuery, StatementStatistics
from core.scenario.deployments import replacements
from core.scenario.distances import tiers_of
from core.scenario.population import sites_of
from core.scenario.replay import prepare_service
from core.scenario.warm_start import WarmState, warm_state
from core.service.cache_statistics import cache_counts
from core.service.consumer_status import (
    ConsumerStatus,
    forget_run_start,
    read_run_start,
    write_run_start,
)
from core.service.l2 import open_l2
from core.service.plan import WorkerPlan, emulated_database, shared_database
from core.service.remote import Remote
from core.service.statistics import ProcessFigures, add_latencies, add_statements
from core.service.tracing import Tracing

PROBE_INTERVAL = 0.1
LISTEN_INTERVAL = 1.0
_POLL_SECONDS = 1.0


class ServedApplication(Application):
    """The service's state; made inside a running event loop.

    remote: the database where it is not a file of the service's own; its latencies are its own.
    """

    def __init__(self, plan: WorkerPlan, remote: Remote | None = None) -> None:
        scenario = self.scenario = plan.scenario
        tiers = scenario.tiers
        self.plan = plan
        self.clock = SystemClock()
        self.timers = Timers(self.clock)
        self.faults = FaultSchedule(scenario.faults, origin=float("inf"))
        self._warm_state = WarmState()
        self._store, scheme = self._local() if remote is None else (remote.database, remote.scheme)
        self._warmer = Warmer(self._store, scenario, scheme)
        self.l2, channel = open_l2(tiers.l2, plan.redis, namespace=f"edgeproof:{scenario.name}:")
        self._numbers = DrawnNumbers(scenario.seed, plan.position)
        self.kv = self._undelayed = self._point_of_presence(EdgeKV)
        self.database: Database = self._store
        platform = EmulatingPlatform(self.clock, self.timers, self._numbers)
        if plan.emulate:
            self._emulate(platform)
        query_cache = query_cache_of(tiers.query_cache)
        self.executor = QueryExecutor(
            self.database, self.clock, plans=self._store, cache=query_cache, rules=RULES
        )
        # Where several processes accept conversions, one of its own consumes them.
        is_consumer = scenario.topology.process_count == 1
        self._consumed = None if is_consumer or plan.position else ConsumerStatus(plan.folder)
        owner = f"{os.getpid()}-{uuid4().hex}"
        self._backlog = Backlog(self._store, self.clock, owner=owner)
        outbox = outbox_of(scenario.destination, self._store, self.clock, owner=owner)
        receiver = receiver_of(
            scenario.destination, plan.destination, self.faults,
            platform if plan.emulate else None,
        ) if is_consumer else None  # fmt: skip
        super().__init__(
            scenario, self.kv, self.executor, self.clock, self._numbers.uniform,
            scheme=scheme, run=in_thread, channel=channel, name=uuid4().hex,
            backlog=self._backlog, inbox=None if is_consumer else NullInbox(),
            receiver=receiver, outbox=outbox, query_cache=query_cache,
        )  # fmt: skip
        self.tracing = None if plan.otlp is None else Tracing(
            plan.otlp, scenario.endpoints, worker=plan.position, scenario=scenario.name
        )  # fmt: skip
        self._polling: asyncio.Task[None] | None = None
        self._forwarding: asyncio.Task[None] | None = None
        self.requests = dict.fromkeys(scenario.endpoints.names, 0)
        self.responses = [0] * 6  # by the first digit of their status
        self.own_cpu = 0.0
        self.speed_count = 0
        self.speed_seconds = 0.0
        self._probe_cpu = 0.0
        self._probe: asyncio.TimerHandle | None = None
        self._listening: asyncio.Task[None] | None = None
        self._deployments: list[asyncio.TimerHandle] = []
        self.start_resident = resident_bytes()

    def _local(self) -> tuple[Database, Scheme]:
        """Return the file that the processes share, filled and up to date, and its scheme."""
        plan, scenario = self.plan, self.scenario
        database = self._sqlite = shared_database(plan)
        connection, attribution = database.connection, scenario.attribution
        if plan.populate:
            prepared = prepare_service(scenario)
            self._warm_state = warm_state(scenario, prepared)
            seed_for(connection, scenario, prepared.workload)
        else:
            seed_sites(connection, sites_of(scenario))
        if plan.position == 0:  # it starts before the others
            bring_up_to_date(connection, attribution, epoch_ms(self.clock))
        return database, stored_scheme(connection, attribution.parameters())

    def _point_of_presence(self, edge: type[EdgeKV]) -> KVStore:
        """Return L2 as it is seen from where nothing has been read or written yet."""
        tier = self.scenario.tiers.l2
        if tier.consistency == "strong":
            return self.l2
        return edge(self.l2, self._epoch_seconds, cache_ttl=tier.cache_ttl, min_ttl=tier.min_ttl)

    def _epoch_seconds(self) -> float:
        return self.clock.origin_ms / 1000 + self.clock.now()

    def _emulate(self, platform: EmulatingPlatform) -> None:
        tier = tiers_of(self.scenario, self.plan.position).l2
        self._view = DelayedKV(self.kv, tier, self.faults, platform)
        self.kv = self._view
        if not self.plan.database:
            self.database = emulated_database(self.plan, self._sqlite, self.faults, platform)

    async def start(self) -> None:
        """Load what a warm start needs, queue what was left unfinished, and start the probe."""
        await self._warmer.load(self._warm_state)
        if self.scenario.topology.process_count == 1:
            # Whoever held them is gone: a database has one consumer.
            await self._backlog.break_leases()
            poller = Poller(self._backlog, self.queue, self.clock)
            await poller.step()
            self._polling = asyncio.get_running_loop().create_task(poller.run(_POLL_SECONDS))
            if self.forwarder is not None:
                await self.forwarder.resume()
                self._forwarding = asyncio.create_task(self.forwarder.watch(_POLL_SECONDS))
        elif self._consumed is not None and not self.plan.resumes:
            self._consumed.forget()
            forget_run_start(self.plan.folder)
        if self.plan.resumes and (at_ms := read_run_start(self.plan.folder)) is not None:
            self.faults.origin = (at_ms - self.clock.origin_ms) / 1000
            self._arm_deployments()
        try:
            await self.invalidator.listen()
        except StoreError:  # L2 is bypassed until it is back, and so is its channel
            waiting_for_it = self.invalidator.listen_once_possible(LISTEN_INTERVAL)
            self._listening = asyncio.create_task(waiting_for_it)
        self.start_resident = resident_bytes()
        self._work()

    def _work(self) -> None:
        before = time.thread_time()
        self.speed_seconds += fixed_work()
        self.speed_count += 1
        self._probe_cpu += time.thread_time() - before
        self._probe = asyncio.get_running_loop().call_later(PROBE_INTERVAL, self._work)

    async def begin_run(self, starts_at_ms: int | None) -> tuple[float, int]:
        """Empty the caches, load the warm state and arm the faults for a run that is to start.

        Return in how many seconds it starts, and that as epoch milliseconds. *starts_at_ms*: when
        the first process of a service said so; then L2 has been loaded already.
        """
        self.invalidator.log.refuse_loads_in_flight()
        for cache in self.caches:
            cache.forget_all()
        if self.query_cache is not None:
            self.query_cache.forget_all()
        is_first = starts_at_ms is None
        if self.plan.emulate:
            self._view.cool()
        if is_first:
            await self._undelayed.delete_prefix("")
        self._warmer.adopt(self.current.scheme)
        # What happened before the run decides nothing in it.
        self.invalidator.log.clear()
        self.breaker.succeed()
        self.start_resident = resident_bytes()
        reset_peak()
        # The start lies far enough ahead for the caches to be loaded by then.
        state = self._warm_state
        ahead = 0.5 + 0.0004 * len(state.l2) + 0.00005 * (len(state.l1) + state.expired_count)
        while True:
            if starts_at_ms is None:
                origin = self.clock.now() + ahead
            else:
                origin = (starts_at_ms - self.clock.origin_ms) / 1000
            if is_first:
                elsewhere = self._point_of_presence(FilledEdgeKV)
                await self._warmer.warm_l2(self._warm_state, elsewhere, self.clock, origin)
            await self._warmer.warm_process(
                self._warm_state,
                self.caches,
                self._view if self.plan.emulate else None,
                first_isolate=self.plan.position * len(self.caches),
                origin=origin,
                rows=self.query_cache,
                is_own=True,
            )
            if not is_first or self.clock.now() < origin - 0.1:
                break
            ahead *= 2
        self.faults.origin = origin
        self._arm_deployments()
        if is_first and self._consumed is not None:
            write_run_start(self.plan.folder, self.clock.origin_ms + round(origin * 1000))
        # What the caches hold lives long: a collector that walks it stops the event loop.
        gc.freeze()
        if starts_at_ms is None:
            starts_at_ms = self.clock.origin_ms + round(origin * 1000)
        return origin - self.clock.now(), starts_at_ms

    def _arm_deployments(self) -> None:
        """Let this process's isolates be replaced when the run's deployments do so.

        One that was due before this process took another's place has been made with it.
        """
        for handle in self._deployments:
            handle.cancel()
        own, now = len(self.caches), self.clock.now()
        loop, topology = asyncio.get_running_loop(), self.scenario.topology
        self._deployments = [
            loop.call_later(self.faults.origin + at - now, self.replace_isolate, isolate % own)
            for at, isolate in replacements(self.scenario.deployments, topology.isolate_count)
            if isolate // own == self.plan.position and self.faults.origin + at > now
        ]

    def process_figures(self) -> dict[str, int | float]:
        """Return cumulative figures of this process; its probe's CPU is left out."""
        return {
            "cpu_seconds": process_cpu_seconds() - self._probe_cpu,
            "own_cpu_seconds": self.own_cpu,
            "rss_bytes": resident_bytes(),
            "peak_rss_bytes": peak_resident_bytes(),
            "start_rss_bytes": self.start_resident,
            "speed_count": self.speed_count,
            "speed_seconds": self.speed_seconds,
            "delay_count": self.timers.waits,
            "delay_error_seconds": self.timers.error_seconds,
        }

    def own_counters(self) -> dict[str, int]:
        """Return cumulative counters of this process alone."""
        counters = {f"requests_{name}": number for name, number in self.requests.items()}
        counters |= {f"responses_{digit}xx": self.responses[digit] for digit in (2, 4, 5)}
        counters |= {
            "conversions_processed": self.processor.processed,
            "conversions_without_touches": self.processor.without_touches,
            "fits_failed": self.fitter.failed,
            "models_fitted": self.fitter.fitted,
            **self.cache_counters(),
            "queue_batches": self.queue.batches,
            "queue_given_up": self.queue.given_up,
            "queue_pending": self.queue.pending,
            "queue_retries": self.queue.retries,
        }
        if self.forwarder is not None:
            counters |= self.forwarder.counters()
        if self.tracing is not None:
            counters |= self.tracing.counters()
        for name, store in (("l2", self.kv), ("l3", self.database)):
            if isinstance(store, DelayedKV | DelayedDatabase):
                counters[f"{name}_operations"] = store.operations
                counters[f"{name}_errors"] = store.errors
        return counters

    def counters(self) -> dict[str, int]:
        """Return cumulative counters, of the consumer's too if this process reports them."""
        counters = self.own_counters()
        if self.plan.position == 0:  # it speaks for the queue that all of them share
            # The rows before the consumer's file: what is in neither has been counted in it.
            waiting = self._waiting()
            if self._consumed is not None:
                for name, number in self._consumed.counters().items():
                    counters[name] = counters.get(name, 0) + number
            counters["queue_pending"] = max(counters["queue_pending"], waiting)
        return counters

    def consumer_fault(self) -> str:
        """Return why the consumer's process seems not to work, "" if it does or there is none."""
        if self.scenario.topology.process_count == 1:
            return ""
        return ConsumerStatus(self.plan.folder).fault(self.clock.now())

    def _waiting(self) -> int:
        """Return how many conversions stand in the queue of the database.

        Of a remote one 0: each look would be billed, and its one process holds all of them soon.
        """
        if self.plan.database:
            return 0
        connection = sqlite3.connect(
            f"{(self.plan.folder / 'cdp.sqlite').resolve().as_uri()}?mode=ro", uri=True
        )
        try:
            sql = queue_statements.QUEUE_DEPTH.sql
            depth: int = connection.execute(sql).fetchone()[0]
        finally:
            connection.close()
        return depth

    def latencies(self) -> LatencyProfiler:
        """Return the latencies in this process, and in the consumer's if this one speaks for it."""
        if self._consumed is None:
            return self.profiler
        both = self._consumed.profiler()
        add_latencies(both, self.profiler)
        return both

    async def figures(self, part: str = "latencies") -> ProcessFigures:
        """Return what this process has counted, and the consumer if this one speaks for it.

        part: "caches" or "queries" adds what is dearer to tell, see
        `core.service.statistics.PARTS`; "metrics" keeps the consumer's apart.
        """
        if part == "metrics":
            return self._figures_apart()
        queries: dict[str, StatementStatistics] = {}
        slow: list[SlowQuery] = []
        if part == "queries":
            add_statements(queries, self.executor.statement_statistics)
            log = self.executor.slow_log
            if self._consumed is not None:
                add_statements(queries, self._consumed.statements())
                log += self._consumed.slow_log()
            slow = await self.executor.explained(log)
        counters = self.counters()  # before the latencies: what they say is done, those hold
        return ProcessFigures(
            profiler=self.latencies(),
            counters=counters,
            processes=[{"worker": self.plan.position, **self.process_figures()}],
            statements=queries,
            slow=[asdict(one) for one in slow],
            slow_requests=[each.to_json() for each in self.profiler.slow_requests()],
            caches=cache_counts(self) if part == "caches" else {},
        )

    def _figures_apart(self) -> ProcessFigures:
        counters = self.own_counters()
        consumers: list[ProcessFigures] = []
        if self.plan.position == 0:
            waiting = self._waiting()
            if self._consumed is not None:
                consumers = [figures] if (figures := self._consumed.figures()) is not None else []
            held = counters["queue_pending"]
            held += sum(each.counters["queue_pending"] for each in consumers)
            counters["queue_pending"] = max(held, waiting)
        return ProcessFigures(
            profiler=self.profiler,
            counters=counters,
            processes=[{"worker": self.plan.position, **self.process_figures()}],
            statements={},
            slow=[],
            slow_requests=[],
            caches=cache_counts(self),
            apart=consumers,
        )

    async def close(self) -> None:
        """Finish the queue and what runs in the background, then close the stores."""
        if self._probe is not None:
            self._probe.cancel()
        for handle in self._deployments:
            handle.cancel()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._polling is not None:
            self._polling.cancel()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
        await self.queue.finish()
        await self.drain()
        if self._forwarding is not None:
            self._forwarding.cancel()
        if self.forwarder is not None:
            await self.forwarder.close(within=LAST_DELIVERIES)
        await self.invalidator.close()
        self.timers.close()
        await self.kv.close()
        await self.database.close()
