"""One replication: the shipped application under one workload on simulated time."""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import inf
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from core.application.behaviour import behaviours_of
from core.application.seeding import seed_database
from core.application.warming import Warmer, load_seconds_of
from core.attribution.scheme import Scheme
from core.caching.edge_kv import EdgeKV, FilledEdgeKV, WriteLimit
from core.caching.kv import KVStore, MemoryKV
from core.caching.tiered import TieredCache
from core.context import span_of
from core.delivery.queue import Inbox
from core.emulation.executions import Executions
from core.errors import StoreError
from core.ledger.fitted_models import stored_scheme
from core.metrics.failures import CAUSES, Cause, Failure, counted
from core.metrics.histogram import LatencyHistogram
from core.metrics.record import Requests, Samples
from core.metrics.retried import Retried
from core.query.database import SqliteDatabase
from core.scenario.calibration import Calibration
from core.scenario.deployments import replacements
from core.scenario.eviction import is_off
from core.scenario.population import Events, Population, populate
from core.scenario.replay import Prepared
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState
from core.scenario.workload import Workload, after, without_requests
from sim.asking import asks_of
from sim.between import Between
from sim.database import Image, ScratchDatabase
from sim.growth import QueueGrowth, Saturated, ServerLoad, is_steady
from sim.invalidations import Invalidations
from sim.lives import Lives
from sim.loop import SimLoop
from sim.process import RandomNumbers, SimulatedProcess
from sim.recorded import RecordedEffects
from sim.replicas import replicas_of

_STATUS, _TIMEOUT = CAUSES.index(Cause.STATUS), CAUSES.index(Cause.TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Requests that the service had before the run, which its caches and database remember.

    ahead: seconds from the start of *workload* to that of the run.
    """

    workload: Workload
    ahead: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationOutcome:
    """The results of one replication; histograms and counters leave the warm-up out.

    loads: how busy the servers were, by name. memory_growth: bytes that were gained per second in
    the second half. samples: of the stages that a request reports, if the scenario judges a part of
    the run; empty otherwise. part_stages: their histograms by the part's name, in place of samples.
    retried: None where no client tries again.
    """

    requests: Requests
    failures: tuple[Failure, ...]
    stages: dict[str, LatencyHistogram]
    counters: dict[str, int]
    memory_bytes: int
    loads: dict[str, ServerLoad]
    memory_growth: float
    samples: Samples
    part_stages: Mapping[str, Mapping[str, LatencyHistogram]] = field(default_factory=dict)
    retried: Retried | None = None


class SeededDatabase:
    """The seeded database of a replication; every run of it starts from a copy.

    It is made when it is first asked for: the compiled engine mostly needs only the population.
    """

    def __init__(self, scenario: Scenario, prepared: Prepared, replication: int = 0) -> None:
        self._scenario, self._replication = scenario, replication
        self._subjects = without_requests(prepared.workload)
        self.facts: object = None  # what the compiled engine has learned from it

    def population(self) -> Population:
        """Return its rows."""
        return populate(self._scenario, self._subjects, replication=self._replication)

    @cached_property
    def _template(self) -> SqliteDatabase:
        template = SqliteDatabase(None, inline=True)
        seed_database(template.connection, self.population(), self._scenario.attribution)
        return template

    @cached_property
    def scheme(self) -> Scheme:
        """The scheme that credit is shared out by at the start."""
        return stored_scheme(self.connection, self._scenario.attribution.parameters())

    @property
    def load_seconds(self) -> float:
        """What the load of every warm entry is taken to have taken, in seconds."""
        return load_seconds_of(self._scenario)

    @cached_property
    def warmer(self) -> Warmer:
        """What loads warm entries from it."""
        return Warmer(self._template, self._scenario, self.scheme)

    @cached_property
    def _image(self) -> Image:
        return Image(self.connection.serialize())

    def copy(self) -> ScratchDatabase:
        """Return a database of its own with the same rows."""
        return self._image.copy()

    @property
    def connection(self) -> sqlite3.Connection:
        """The template's connection."""
        return self._template.connection


def needs_clients(scenario: Scenario, prepared: Prepared) -> bool:
    """Return whether clients do more than send a request at its time and wait for its answer."""
    return scenario.traffic.retries.is_on or prepared.workload.follows is not None


class Replication:
    """The state of one run; `run` may be called once.

    draws: the replication of which it has the service times and other luck, if another than that
    of its requests. Raise ValueError for clients that do more than send: `sim.clients` has those.
    """

    has_clients = False

    def __init__(
        self,
        scenario: Scenario,
        prepared: Prepared,
        warm: WarmState,
        seeded: SeededDatabase,
        *,
        replication: int = 0,
        calibration: Calibration | None = None,
        played: Played | None = None,
        ends_early: bool = False,
        draws: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        scenario = scenario if calibration is None else calibration.apply(scenario)
        if needs_clients(scenario, prepared) and not self.has_clients:
            raise ValueError("its clients try again or think; make it with sim.clients")
        behaviours_of(scenario.endpoints)  # one that is not there is refused before a loop is open
        ahead = 0.0 if played is None else played.ahead
        if played is not None and scenario.faults:
            faults = [f.model_copy(update={"at": f.at + ahead}) for f in scenario.faults]
            scenario = scenario.model_copy(update={"faults": tuple(faults)})
        self._deployments = scenario.deployments
        self._scenario = scenario
        self._ahead = ahead
        self._warm, self._seeded = warm, seeded
        self._on_progress = on_progress
        self._ends_early = ends_early and played is None and is_steady(scenario)
        workload = prepared.workload
        self._workload = workload
        asked = workload if played is None else after(workload, played.workload, ahead)
        # In the order of the plan, and behind them what was played before.
        intended = asked.intended + ahead
        self._intended = intended.tolist()
        self._order: list[int] | None = None
        if played is not None:
            self._order = np.argsort(intended, kind="stable").tolist()
        self._intended_ns = asked.intended_ns.tolist()
        self._endpoints = asked.endpoint.tolist()
        self._subjects = asked.subject.tolist()
        per_process = scenario.topology.isolates
        self._process_of = (asked.isolate // per_process).tolist()
        self._isolate_of = (asked.isolate % per_process).tolist()
        self._events = Events(scenario, run_id="sim", replication=replication)
        self.loop = SimLoop(simpy.Environment())
        self._drawn = drawn = replication if draws is None else draws
        numbers = RandomNumbers(scenario, drawn)
        self._kv = MemoryKV(self.loop.time)
        views = _views(scenario, self._kv, self.loop)
        self._database = seeded.copy()
        executions = Executions(scenario.tiers.l3.concurrency)
        views.append(self._kv)  # for the consumer, which reads no cache
        count = scenario.topology.process_count
        self._replicas = replicas_of(scenario, asked, drawn)

        def process(position: int, inbox: Inbox | None = None) -> SimulatedProcess:
            return SimulatedProcess(
                self._scenario, self.loop, numbers, position, views[position],
                self._database, executions, seeded.scheme, inbox, self._replicas,
            )  # fmt: skip

        # Several processes leave their conversions to a separate consumer, the last process here.
        consumers = [process(count)] if count > 1 else []
        inbox = consumers[0].queue if consumers else None
        self.processes = [process(position, inbox) for position in range(count)]
        self._all = [*self.processes, *consumers]
        table = scenario.endpoints
        # By process and endpoint, so a request looks nothing up by name.
        self._asks = [
            asks_of(table, each.answers, self._events, self._intended_ns) for each in self.processes
        ]
        self._spans = [span_of(endpoint.slots) for endpoint in table]
        self._width = table.read_width
        platforms = [process.platform for process in self._all]
        copies = () if self._replicas is None else self._replicas.executions
        self._growth = QueueGrowth(executions, platforms, self._counted_bytes, copies)
        n = len(asked)
        self._latency = [inf] * n
        self._reads = [0] * (self._width * n)
        self._statuses: dict[int, int] = {}  # of requests that were answered with an error
        metrics = scenario.metrics.table
        self._kinds = [stage for stage in metrics.stages if stage.source == "profiler"]
        in_header = [stage for stage in metrics.stages if stage.source != "profiler"]
        self._samples = [(stage.name, array("d")) for stage in in_header]
        told = zip(in_header, self._samples, strict=True)
        self._add_stage = {stage.told_as: samples.append for stage, (_, samples) in told}
        self._add_total, self._add_cpu = self._add_stage["total"], self._add_stage["cpu"]
        self._warm_up = ahead + scenario.warm_up
        self._cpu_of = [self._scenario.topology.cpu.of(name) for name in table.names]
        self._timeouts = scenario.timeouts
        self._lives: Lives | None = None
        if not is_off(scenario.topology.eviction):
            self._lives = Lives(
                scenario, warm, asked.isolate.tolist(), self._replace,
                replication=drawn, after=self._warm_up,
            )  # fmt: skip
        # A request whose CPU time nobody states has no share in what is told of CPU times.
        self._add_cpu_of = [
            _leave_out if each.is_stated and not cpu else self._add_cpu
            for each, cpu in zip(table, self._cpu_of, strict=True)
        ]
        # Samples have times only if a part of the run is judged: times cost every request.
        self._sampled_at = [(samples, array("d")) for _, samples in self._samples]
        self._asked = self._timed_request if scenario.parts else self._request
        self._invalidations: Invalidations | None = None
        if scenario.invalidation.is_on:
            self._invalidations = Invalidations(
                scenario, self.loop, self.processes, asked, self._intended,
                self._statuses.__contains__, replication=drawn, after=self._warm_up,
            )  # fmt: skip
            self._asked = partial(_followed, self._asked, self._invalidations.after_request)
        if self._lives is not None:
            self._asked = partial(_living, self._lives, self.loop, self._asked)
        told_of = (self._lives, self._invalidations)
        self._told_of = [each for each in told_of if each is not None]
        self._recorded: RecordedEffects | None = None
        if prepared.effects is not None:
            self._recorded = RecordedEffects(
                prepared.effects, table, self.loop,
                [cache for each in self.processes for cache in each.caches], self._cache_of,
                lambda index: self.processes[self._process_of[index]].platform.cpu_free, ahead,
            )  # fmt: skip
        self._left = n
        self._finished: Any = None
        self._failure: BaseException | None = None
        self._counted_before: dict[str, int] = {}
        waits = Between(scenario, asked, calibration, drawn)
        self._overhead, self._of_store = waits.quick, waits.stored
        self._outside = waits.outside
        unknown = (code for code, each in enumerate(table) if each.unknown)
        self._unknown = frozenset(unknown) - self._outside

    def run(self) -> ReplicationOutcome:
        """Simulate every request until the last one and its background work have ended.

        Raise Saturated as soon as a queue only grows, if the run *ends_early*.
        """
        order, arrive = self._order, self._arrive
        if self._lives is not None:
            arrive = partial(self._arrive_when_ready, self._lives)
        if self._outside or self._unknown:
            arrive = partial(self._arrive_if_modelled, arrive)
        if self._recorded is not None:
            arrive = partial(self._arrive_as_recorded, self._recorded, arrive)
        if order is None:
            return self.loop.run(self._main(), self._intended, arrive)
        intended = [self._intended[index] for index in order]
        return self.loop.run(self._main(), intended, lambda place: arrive(order[place]))

    async def _main(self) -> ReplicationOutcome:
        warmer, clock = self._seeded.warmer, self.processes[0].platform
        await warmer.warm_l2(self._warm, self._filler(), clock, 0.0)
        for position, process in enumerate(self.processes):
            await warmer.warm_process(
                self._warm, process.caches, process.kv,
                first_isolate=position * len(process.caches), origin=0.0, rows=process.query_cache,
            )  # fmt: skip
        if self._recorded is not None:
            planned = len(self._workload)
            await self._recorded.load(warmer, self._endpoints[:planned], self._subjects[:planned])
            self._recorded.behind(-1)
        if self._invalidations is not None:
            await self._invalidations.load(warmer, self._ahead)
        self._finished = self.loop.create_future()
        if self._left:
            # The counts of the warm-up are subtracted, as on the load side.
            self.loop.call_at(self._warm_up, self._take_snapshot)
            self._snapshot = self._profiled()
            for at, isolate in replacements(self._deployments, self._isolate_count):
                self.loop.call_at(self._ahead + at, self._deploy, isolate)
            self._growth.watch(self.loop, self._scenario, after=self._ahead)
            if self._ends_early:
                until = self._scenario.total_time
                self._growth.end_when_saturated(self.loop, until, self._jobs, self._give_up)
            if self._ahead:
                self.loop.call_at(self._ahead, self._count_before)
            await self._finished
        if self._failure is not None:
            raise self._failure
        for process in self._all:
            await process.drain()
            if process.forwarder is not None:
                await process.forwarder.drain()
        await self._database.close()
        return self._outcome()

    def _filler(self) -> KVStore:
        """Return the L2 that the warm state is written to; an edge store has entries of its own."""
        tier = self._scenario.tiers.l2
        if tier.consistency == "strong":
            return self._kv
        return FilledEdgeKV(self._kv, self.loop.time, cache_ttl=tier.cache_ttl)

    @property
    def _isolate_count(self) -> int:
        return self._scenario.topology.isolate_count

    def _replace(self, isolate: int) -> None:
        position, own = divmod(isolate, self._scenario.topology.isolates)
        self.processes[position].replace_isolate(own)

    def _deploy(self, isolate: int) -> None:
        if self._lives is None:
            self._replace(isolate)
        else:  # the next request starts the new one
            self._lives.evict(isolate)

    @property
    def _arrived(self) -> int:
        return bisect_right(self._intended, self.loop.time())

    def _give_up(self, reason: Saturated) -> None:
        self._failure = reason
        self._left = 0
        if not self._finished.done():
            self._finished.set_result(None)

    def _end(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._finished.done():
            self._finished.set_result(None)

    def _arrive(self, index: int) -> None:
        process = self.processes[self._process_of[index]]
        process.in_flight += 1
        if process.in_flight > process.peak_in_flight:
            process.peak_in_flight = process.in_flight
        start = process.platform.occupy(self._cpu_of[self._endpoints[index]])
        self.loop.start_at(start, self._asked(index))
        if self._on_progress is not None and index % 1000 == 0:
            self._on_progress(index / len(self._intended))

    def _arrive_when_ready(self, lives: Lives, index: int) -> None:
        """Let the request arrive once its isolate has started."""
        now = self.loop.env._now
        ready = lives.ask(index, now)
        if ready > now:
            self.loop.call_at(ready, self._arrive, index)
        else:
            self._arrive(index)

    def _arrive_if_modelled(self, arrive: Callable[[int], None], index: int) -> None:
        """Simulate the request; only answer it, or let it pass by, where nobody knows what it does.

        One of which the latency is known has that, and any other has no outcome.
        """
        endpoint = self._endpoints[index]
        if endpoint in self._outside:
            latency = self._overhead[index]
            if latency <= self._timeouts[endpoint]:
                self._latency[index] = latency
            self._end()
        elif endpoint in self._unknown:
            self._end()
        else:
            arrive(index)

    def _arrive_as_recorded(
        self, recorded: RecordedEffects, arrive: Callable[[int], None], index: int
    ) -> None:
        """Let request *index* arrive with the effects that stand beside it in the trace.

        Requests that were played before the run have none.
        """
        if index >= len(self._workload):
            arrive(index)
            return
        recorded.before(index, self._endpoints[index], self._subjects[index])
        arrive(index)
        recorded.behind(index)

    def _cache_of(self, index: int) -> TieredCache:
        cache: TieredCache = self.processes[self._process_of[index]].caches[self._isolate_of[index]]
        return cache

    async def _request(self, index: int) -> None:
        endpoint = self._endpoints[index]
        position = self._process_of[index]
        process = self.processes[position]
        span = self._spans[endpoint](index)
        span.cpu = self._cpu_of[endpoint]
        intended = self._intended[index]
        try:
            ask = self._asks[position][endpoint]
            await ask(span, self._isolate_of[index], self._subjects[index], index)
        except StoreError as error:
            is_answered = False
            self._statuses[index] = error.http_status
        except BaseException as error:
            self._failure = error
            self._left = 1
            is_answered = False
        else:
            is_answered = True
        total: float = self.loop.env._now - intended
        latency = total + self._overhead[index]
        if self._of_store is not None:
            latency = total + self._of_store.of(index, endpoint, span.reads)
        timeout = self._timeouts[endpoint]
        if is_answered and latency <= timeout:
            self._latency[index] = latency
        elif latency > timeout:
            self._statuses.pop(index, None)  # the client did not wait for the error
        position = self._width * index
        for _, code in span.reads:
            self._reads[position] = code
            position += 1
        if intended >= self._warm_up:
            self._add_total(total)
            self._add_cpu_of[endpoint](span.cpu)
            add = self._add_stage
            for name, seconds in span.stages:
                try:
                    add[name](seconds)
                except KeyError:  # a try costs nothing if nothing is raised
                    continue  # a stage without a description is left out, as in a service's header
        process.in_flight -= 1
        self._left -= 1
        if self._left == 0 and not self._finished.done():
            self._finished.set_result(None)

    async def _timed_request(self, index: int) -> None:
        """Make a request, and note its intended time for each sample that it added.

        A request adds its samples as it ends, so the samples without a time are its own.
        """
        await self._request(index)
        intended = self._intended[index] - self._ahead
        for samples, times in self._sampled_at:
            for _ in range(len(samples) - len(times)):
                times.append(intended)

    def _timed_samples(self) -> Samples:
        told = {n: pair for each in self._told_of for n, pair in each.samples(self._ahead).items()}
        timed = {
            name: (np.frombuffer(times), np.frombuffer(samples))
            for (name, samples), (_, times) in zip(self._samples, self._sampled_at, strict=True)
            if times
        }
        return {**timed, **told}

    def _profiled(self) -> dict[str, LatencyHistogram]:
        merged = {}
        for stage in self._kinds:
            histogram = LatencyHistogram()
            for process in self._all:
                histogram.add(process.profiler.histogram(stage.told_as))
            merged[stage.name] = histogram
        return merged

    def _take_snapshot(self) -> None:
        self._snapshot = self._profiled()

    def _count_before(self) -> None:
        self._counted_before = self._counters()

    def _outcome(self) -> ReplicationOutcome:
        stages = {
            name: LatencyHistogram.of(np.frombuffer(samples, dtype=np.float64))
            for name, samples in self._samples
            if samples
        }
        for each in self._told_of:
            for name, (_, seconds) in each.samples(self._ahead).items():
                stages[name] = LatencyHistogram.of(seconds)
        if len(self._workload):
            profiled = self._profiled()
            for stage in self._kinds:
                since = profiled[stage.name].since(self._snapshot[stage.name])
                if since.count or stage.is_kept_empty:
                    stages[stage.name] = since
        workload = self._workload
        reads = np.array(self._reads[: self._width * len(workload)], dtype=np.uint8)
        reads = reads.reshape(len(workload), self._width)
        known = self._known()
        requests = Requests(
            intended=self._sent_at()[known],
            endpoint=workload.endpoint[known],
            subject=workload.subject[known],
            isolate=workload.isolate[known],
            latency=np.array(self._latency[: len(workload)])[known],
            reads=reads[known],
        )
        return ReplicationOutcome(
            requests=requests,
            failures=self._failures(requests),
            stages=stages,
            counters={
                name: count - self._counted_before.get(name, 0)
                for name, count in self._counters().items()
            },
            memory_bytes=self._scenario.topology.base_memory + self._counted_bytes(),
            loads=self._growth.loads(),
            memory_growth=self._growth.memory_per_second(),
            samples=self._timed_samples(),
        )

    def _known(self) -> NDArray[np.bool_]:
        """Return which planned requests have an outcome."""
        return ~np.isin(self._workload.endpoint, list(self._unknown))

    def _sent_at(self) -> NDArray[np.float64]:
        """Return when each planned request was to be sent, in seconds from the start of the run."""
        return self._workload.intended

    def _counted_bytes(self) -> int:
        return max(process.counted_bytes() for process in self.processes)

    def _jobs(self) -> list[int]:
        """Return how many jobs the database and each CPU were given so far, about."""
        operations = [process.database.operations for process in self._all]
        own = self._arrived // len(self.processes)
        reads = [] if self._replicas is None else self._replicas.reads
        at_primary = sum(operations) - sum(reads)
        return [at_primary, *(own + number for number in operations), *reads]

    def _failures(self, requests: Requests) -> tuple[Failure, ...]:
        """Return the reasons of failed requests, as a client sees them: an error, or a timeout."""
        failed = np.flatnonzero(np.isinf(requests.latency))
        rows = np.flatnonzero(self._known())[failed]
        statuses = np.array([self._statuses.get(i, 0) for i in rows.tolist()], dtype=np.uint16)
        in_time = statuses > 0
        return counted(
            endpoint=requests.endpoint[failed],
            cause=np.where(in_time, _STATUS, _TIMEOUT).astype(np.uint8),
            status=statuses,
            intended=requests.intended[failed],
            after=self._warm_up - self._ahead,
            endpoints=self._scenario.endpoints.names,
        )

    def _counters(self) -> dict[str, int]:
        """Return exact counts over the whole run, warm-up included."""
        cached = [process.cache_counters() for process in self.processes]
        return {
            **{name: sum(counters[name] for counters in cached) for name in cached[0]},
            "conversions_processed": sum(p.processor.processed for p in self._all),
            "conversions_without_touches": sum(p.processor.without_touches for p in self._all),
            "fits_failed": sum(p.fitter.failed for p in self._all),
            "l2_errors": sum(process.kv.errors for process in self._all),
            "l2_operations": sum(process.kv.operations for process in self._all),
            "l3_errors": sum(process.database.errors for process in self._all),
            "l3_operations": sum(process.database.operations for process in self._all),
            "models_fitted": sum(p.fitter.fitted for p in self._all),
            "queue_batches": sum(process.queue.batches for process in self._all),
            "queue_given_up": sum(process.queue.given_up for process in self._all),
            "queue_retries": sum(process.queue.retries for process in self._all),
            **self._forwarded(),
            **(
                {} if self._invalidations is None else {"invalidations": self._invalidations.number}
            ),
            **({} if self._replicas is None else self._replicas.counters()),
            **({} if self._lives is None else {"cold_starts": self._lives.starts}),
            **({} if self._recorded is None else self._recorded.counters()),
        }

    def _forwarded(self) -> dict[str, int]:
        """Return the counts of forwarding, summed over the processes that finish conversions."""
        counted = [p.forwarder.counters() for p in self._all if p.forwarder is not None]
        return {n: sum(counters[n] for counters in counted) for n in counted[0]} if counted else {}


async def _followed(
    request: Callable[[int], Coroutine[Any, Any, None]], then: Callable[[int], None], index: int
) -> None:
    """Make a request, and do what follows from it."""
    await request(index)
    then(index)


async def _living(
    lives: Lives, loop: SimLoop, request: Callable[[int], Coroutine[Any, Any, None]], index: int
) -> None:
    """Make a request, and note when its isolate is rid of it."""
    await request(index)
    lives.leave(index, loop.env._now)


def _leave_out(_: float) -> None:
    """Take a figure that stands for nothing."""


def _views(scenario: Scenario, kv: KVStore, loop: SimLoop) -> list[KVStore]:
    """Return each process's view of L2; processes of a point of presence share its read cache."""
    topology, tier = scenario.topology, scenario.tiers.l2
    if tier.consistency == "strong":
        return [kv] * topology.process_count
    limit = WriteLimit(loop.time)
    edges = [
        EdgeKV(kv, loop.time, cache_ttl=tier.cache_ttl, limit=limit, min_ttl=tier.min_ttl)
        for _ in range(topology.points_of_presence)
    ]
    return [edge for edge in edges for _ in range(topology.processes)]
