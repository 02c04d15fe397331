"""One simulated worker process: its CPU, its isolates and its view of the stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from core.application.application import Application, query_cache_of
from core.attribution.scheme import Scheme
from core.caching.kv import KVStore
from core.clock import DATA_EPOCH_MS
from core.context import BATCH_SLOT_COUNT, CURRENT, Purpose
from core.delivery.backlog import Backlog
from core.delivery.outbox import outbox_of
from core.delivery.queue import Inbox
from core.delivery.receiver import AcceptingReceiver
from core.distributions import Distribution
from core.emulation.database import DelayedDatabase
from core.emulation.destination import DelayedReceiver
from core.emulation.executions import Executions
from core.emulation.faults import FaultSchedule
from core.emulation.kv import DelayedKV
from core.emulation.replicas import ReplicaSet, ReplicatedDatabase
from core.query.cache import RULES
from core.query.database import Database
from core.query.executor import QueryExecutor
from core.scenario.distances import tiers_of
from core.scenario.scenario import Scenario
from core.streams import Stream
from sim.loop import SimLoop

IN_FLIGHT_BYTES = 5_200
"""Counted for a request in flight: its task, span and body (`python -m bench.sizes`)."""

RETRIED_BLOCKS = 16
"""Blocks of random numbers that are kept where clients try again."""

_BATCH_PURPOSE = {
    Purpose.L3_ROUND_TRIP: Purpose.BATCH_ROUND_TRIP,
    Purpose.L3_EXECUTION: Purpose.BATCH_EXECUTION,
    Purpose.L3_FATE: Purpose.BATCH_FATE,
    Purpose.DELIVERY: Purpose.DELIVERY,
    Purpose.DELIVERY_FATE: Purpose.DELIVERY_FATE,
}
_REQUEST_PURPOSES = (
    Purpose.L2_READ,
    Purpose.L2_WRITE,
    Purpose.L3_ROUND_TRIP,
    Purpose.L3_EXECUTION,
    Purpose.L2_READ_FATE,
    Purpose.L2_WRITE_FATE,
    Purpose.L3_FATE,
    Purpose.TTL_JITTER,
    Purpose.EARLY_REFRESH,
)


class RandomNumbers:
    """The uniforms of a replication by (purpose, request or batch, named operation)."""

    def __init__(self, scenario: Scenario, replication: int) -> None:
        def stream(purpose: Purpose, width: int) -> Stream:
            return Stream(scenario.seed, purpose, width=width, replication=replication, kept=kept)

        # Attempts in flight have numbers far apart.
        kept = RETRIED_BLOCKS if scenario.traffic.retries.is_on else 1
        slots = scenario.endpoints.slot_count
        self.requests = {purpose: stream(purpose, slots) for purpose in _REQUEST_PURPOSES}
        self.batches = {
            purpose: stream(batch, BATCH_SLOT_COUNT) for purpose, batch in _BATCH_PURPOSE.items()
        }


class SimulatedPlatform:
    """Simulated time, addressed random numbers, and a CPU that serves one thing at a time."""

    __slots__ = (
        "_batches", "_env", "_position", "_processes", "_requests", "cpu_free", "cpu_work",
        "l2_cpu", "l3_cpu", "until",
    )  # fmt: skip

    def __init__(
        self, loop: SimLoop, numbers: RandomNumbers, scenario: Scenario, position: int
    ) -> None:
        self._env = loop.env
        self._requests = numbers.requests
        self._batches = numbers.batches
        self._position = position
        self._processes = scenario.topology.process_count
        self.l2_cpu = scenario.topology.cpu.per_l2_operation
        self.l3_cpu = scenario.topology.cpu.per_l3_operation
        self.cpu_free = 0.0
        self.cpu_work = 0.0
        self.until: Callable[[float], Awaitable[None]] = loop.until
        """Returns an awaitable that is done at an absolute time; the loop's own, to save a call."""

    @property
    def origin_ms(self) -> int:
        """Epoch milliseconds of simulated time 0."""
        return DATA_EPOCH_MS

    def now(self) -> float:
        """Return the simulated time."""
        return self._env._now

    def uniform(self, purpose: Purpose) -> float:
        """Return the number of the running operation for *purpose*."""
        operation = CURRENT.get()
        span = operation.span
        if span.is_batch:
            row = span.row * self._processes + self._position
            return self._batches[purpose].at(row, operation.slot)
        return self._requests[purpose].at(span.row, operation.slot)

    def sampler(self, purpose: Purpose, distribution: Distribution) -> Callable[[], float]:
        """Return what samples *distribution* at the running operation's number for *purpose*."""
        batches = self._batches.get(purpose)
        sampled = None if batches is None else batches.sampler(distribution)
        position, processes = self._position, self._processes

        def of_batch(row: int, slot: int) -> float:
            assert sampled is not None, f"a batch has no numbers for {purpose!r}"
            return sampled(row * processes + position, slot)

        return self._requests[purpose].current_sampler(distribution, of_batch)

    def charge(self, tier: str) -> float:
        """Occupy the CPU for one operation on *tier*; return when the process has sent it."""
        seconds = self.l2_cpu if tier == "l2" else self.l3_cpu
        now = self._env._now  # as `occupy`, without a call
        if not seconds:
            return now
        CURRENT.get().span.cpu += seconds
        self.cpu_work += seconds
        free = self.cpu_free
        self.cpu_free = end = (free if free > now else now) + seconds
        return end

    def occupy(self, seconds: float) -> float:
        """Occupy the CPU for *seconds*, first come first served; return when they end.

        Work of 0 s does not queue.
        """
        now = self._env._now
        if not seconds:
            return now
        self.cpu_work += seconds
        free = self.cpu_free
        self.cpu_free = end = (free if free > now else now) + seconds
        return end


class SimulatedProcess(Application):
    """The application as it is shipped, on simulated time and behind simulated stores."""

    def __init__(
        self,
        scenario: Scenario,
        loop: SimLoop,
        numbers: RandomNumbers,
        position: int,
        kv: KVStore,
        database: Database,
        executions: Executions,
        scheme: Scheme,
        inbox: Inbox | None = None,
        replicas: ReplicaSet | None = None,
    ) -> None:
        self.platform = SimulatedPlatform(loop, numbers, scenario, position)
        faults = FaultSchedule(scenario.faults)
        tiers = tiers_of(scenario, position)
        self.kv = DelayedKV(kv, tiers.l2, faults, self.platform)
        if replicas is None:
            self.database = DelayedDatabase(database, tiers.l3, faults, self.platform, executions)
        else:
            near = scenario.tiers.l3.round_trip
            self.database = ReplicatedDatabase(
                database, tiers.l3, faults, self.platform, executions, replicas=replicas,
                trip_time=self.platform.sampler(Purpose.L3_ROUND_TRIP, near),
                own=position // scenario.topology.processes if scenario.regions else None,
            )  # fmt: skip
        owner = f"process-{position}"
        backlog = Backlog(database, self.platform, owner=owner)
        # Without a cache of rows the executor would only keep statistics that nobody reads.
        query_cache = query_cache_of(tiers.query_cache)
        asked: Database = self.database
        if query_cache is not None:
            asked = QueryExecutor(self.database, self.platform, cache=query_cache, rules=RULES)
        destination = scenario.destination
        receiver = DelayedReceiver(
            AcceptingReceiver(), destination.latency, destination.timeout, faults, self.platform
        )
        forwards = inbox is None  # only the consuming process forwards
        outbox = outbox_of(destination, database, self.platform, owner=owner) if forwards else None
        super().__init__(
            scenario, self.kv, asked, self.platform, self.platform.uniform,
            scheme=scheme, backlog=backlog, inbox=inbox,
            receiver=receiver, outbox=outbox, query_cache=query_cache,
        )  # fmt: skip
        self.in_flight = 0
        self.peak_in_flight = 0

    def counted_bytes(self) -> int:
        """Return the peak size of the worker's own memory, in bytes."""
        caches = sum(cache.l1.peak_bytes for cache in self.caches)
        if self.query_cache is not None:
            caches += self.query_cache.peak_bytes
        return caches + self.profiler.counted_bytes() + self.peak_in_flight * IN_FLIGHT_BYTES
