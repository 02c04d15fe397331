"""One replication by the compiled engine: the same outcome as `sim.model.Replication` has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import sim.compiled.slots as s
from core.application.cache_entries import CODECS
from core.attribution.models import DATA_DRIVEN, MODELS
from core.delivery.forwarder import MAX_BODY_BYTES
from core.delivery.leases import LEASE_SECONDS
from core.errors import StoreError, StoreTimeout
from core.metrics.failures import CAUSES, Cause, counted
from core.metrics.histogram import LatencyHistogram
from core.metrics.profiler import BUCKET_BYTES
from core.metrics.record import Requests
from core.metrics.seconds import Seconds
from core.query import statements
from core.scenario.calibration import Calibration
from core.scenario.file import parse_scenario
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState, warm_state
from core.scenario.workload import Workload, after
from core.wire import BYPASS, L2_HIT, MISS, NEGATIVE
from sim.between import Between
from sim.compiled import layout
from sim.compiled.facts import (
    ENTRY_BYTES,
    JOURNEY_HEAD,
    ROWS_OF_EVENT,
    TOUCH_BYTES,
    ChannelPages,
    Facts,
    event_texts,
)
from sim.compiled.journeys import EARLIER, MOST_EVENTS, NEWEST
from sim.compiled.loop import run as loop
from sim.compiled.state import State
from sim.compiled.warming import warm
from sim.coverage import NotCovered, counts_of
from sim.growth import (
    LEAST_GROWTH,
    LEAST_JOBS,
    LEAST_WAIT,
    LOOK_EVERY,
    Look,
    Saturated,
    is_steady,
    loads_between,
)
from sim.model import Played, ReplicationOutcome, SeededDatabase
from sim.process import IN_FLIGHT_BYTES

_CHUNK = 262_144
_STATUS, _TIMEOUT = CAUSES.index(Cause.STATUS), CAUSES.index(Cause.TIMEOUT)
_STATUSES = np.array([0, StoreError.http_status, StoreTimeout.http_status], dtype=np.uint16)
_REFUSALS = {
    s.WHY_TOUCHES: "so many touches of so many conversions",
    s.WHY_FIT: "the fit of a model (attribution.fit_every)",
}


class CompiledReplication:
    """The state of one run; `run` may be called once."""

    def __init__(
        self,
        scenario: Scenario,
        prepared: Prepared,
        warm_state: WarmState,
        seeded: SeededDatabase,
        *,
        replication: int = 0,
        calibration: Calibration | None = None,
        played: Played | None = None,
        ends_early: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        # A warm start holds entries that a service was never seen to read, too.
        self._counts = counts_of(scenario, prepared, played)
        scenario = scenario if calibration is None else calibration.apply(scenario)
        self._ahead = 0.0 if played is None else played.ahead
        self._asked = workload = prepared.workload
        if played is not None:
            faults = [f.model_copy(update={"at": f.at + played.ahead}) for f in scenario.faults]
            scenario = scenario.model_copy(update={"faults": tuple(faults)})
            # In the order of the plan, and behind them what was played before.
            self._asked = after(workload, played.workload, played.ahead)
        self._scenario, self._workload = scenario, workload
        self._calibration, self._replication = calibration, replication
        self._on_progress = on_progress
        self._ends_early = ends_early and played is None and is_steady(scenario)
        facts = seeded.facts
        if not isinstance(facts, Facts):
            facts = seeded.facts = Facts(scenario, workload, seeded)
        self._facts = facts
        topology = scenario.topology
        self._processes = topology.process_count
        self._all = self._processes + (1 if self._processes > 1 else 0)
        self._consumer = self._processes if self._processes > 1 else 0
        self._parts = scenario.parts
        self.arrays = self._arrays(self._asked, facts)
        self._pages: ChannelPages | None = None
        warm(self.arrays, scenario, warm_state, self._bases, facts, self._tags)

    def _arrays(self, workload: Workload, facts: Facts) -> State:
        scenario = self._scenario
        tiers, topology, table = scenario.tiers, scenario.topology, scenario.endpoints
        names = list(self._counts)
        counts = np.cumsum([*self._counts.values()], dtype=np.int64)
        starts = [0, *counts.tolist()]
        self._bases = dict(zip(names, starts, strict=False))
        keys = starts[-1]
        fixed = facts.fixed_sizes(self._counts, workload)
        self._tags = facts.tag_lengths(self._counts)
        kbase = ENTRY_BYTES + facts.key_lengths(self._counts) + self._tags
        ksize = np.where(fixed < 0, -1, kbase + fixed)
        krows = facts.rows_sizes(self._counts, workload)
        width = table.read_width
        reads = np.zeros((len(table), width, s.QI_COUNT), dtype=np.int64)
        epi = np.zeros((len(table), s.EI_COUNT), dtype=np.int64)
        tyi = np.zeros((len(names), s.YI_COUNT), dtype=np.int64)
        profiles: dict[str, int] = {}
        cpu = [topology.cpu.of(name) for name in table.names]
        looking = {f"core.application.behaviours:{name}" for name in ("ATTRIBUTION", "CHANNELS")}
        for code, endpoint in enumerate(table):
            of = epi[code]
            of[s.EI_READS] = len(endpoint.reads)
            of[s.EI_LOOKS] = endpoint.behaviour in looking
            if endpoint.is_stated:
                of[s.EI_QUERIES] = 0 if endpoint.reads else endpoint.queries or 0
                of[s.EI_STORES] = endpoint.stores or 0
            if endpoint.writes == "event":
                of[s.EI_WRITES] = 2 if endpoint.behaviour.endswith(":STORE") else 1
            of[s.EI_CPU_STATED] = not (endpoint.is_stated and not cpu[code])
            slots = endpoint.slots
            for place, read in enumerate(endpoint.reads):
                kind = names.index(read.cache_type)
                keyed = {"subject": s.KEYED_SUBJECT, "site": s.KEYED_SITE, "none": s.KEYED_NONE}
                reads[code, place] = (
                    kind, self._bases[read.cache_type], keyed[read.key], slots[read.name],
                )  # fmt: skip
                queries = 1 if read.queries is None else read.queries
                name = read.cache_type if read.queries is None else statements.STATED_QUERY.name
                number = profiles.setdefault(name, s.Q_FIRST + len(profiles))
                if name == statements.STATED_QUERY.name:
                    number = s.Q_STATED
                sized = {"user_journeys": s.SIZED_JOURNEY, "channel_metrics": s.SIZED_CHANNELS}
                tyi[kind] = (
                    queries,
                    number,
                    sized.get(read.cache_type, s.SIZED_FIXED),
                    (read.cache_type in CODECS),
                )
        page, bought = event_texts()
        attribution = scenario.attribution.parameters()
        destination = scenario.destination
        cf = np.zeros(s.F_COUNT)
        ci = np.zeros(s.I_COUNT, dtype=np.int64)
        for place, value in {
            s.F_L1_TTL: tiers.l1.ttl, s.F_CACHE_TTL: tiers.l2.cache_ttl,
            s.F_L2_CPU: topology.cpu.per_l2_operation, s.F_L3_CPU: topology.cpu.per_l3_operation,
            s.F_L2_TIMEOUT: tiers.l2.timeout, s.F_L3_TIMEOUT: tiers.l3.timeout,
            s.F_JITTER: tiers.ttl_jitter, s.F_SWR: tiers.stale_while_revalidate,
            s.F_BOUND: tiers.stale_bound, s.F_EARLY: tiers.early_refresh * 16.0,
            s.F_BETA: tiers.early_refresh, s.F_OPEN_FOR: tiers.l2.breaker.open_for,
            s.F_WAIT: scenario.queue.wait, s.F_REFRESH: scenario.attribution.refresh,
            s.F_WARM: self._ahead + scenario.warm_up, s.F_AHEAD: self._ahead,
            s.F_SHARE: scenario.traffic.conversion_share,
            s.F_SHARE_WRITE: tiers.l3.write_share,
            s.F_LEAST_WAIT: LEAST_WAIT, s.F_LEAST_GROWTH: LEAST_GROWTH,
            s.F_LOOK_EVERY: LOOK_EVERY, s.F_END: scenario.total_time,
            s.F_SIE: tiers.stale_if_error, s.F_RETRY_PAUSE: tiers.retry_pause,
            s.F_RETRY_DELAY: scenario.queue.retry_delay, s.F_SOFT: tiers.l2.soft_timeout,
            s.F_ROWS_TTL: tiers.query_cache.ttl, s.F_SENT_TIMEOUT: destination.timeout,
            s.F_FWD_DELAY: destination.retry_delay,
        }.items():  # fmt: skip
            cf[place] = value
        events = facts.events
        faults = [fault for fault in scenario.faults if not fault.kind.is_of_traffic]
        fault_rows = np.zeros((max(1, len(faults)), s.X_COUNT))
        for row, fault in zip(fault_rows, faults, strict=False):
            kind = ("slow", "error", "dead").index(fault.kind.name)
            tier = {"l2": 2.0, "l3": 3.0, "destination": 4.0}[str(fault.tier)]
            row[:] = tier, fault.at, fault.at + fault.for_, kind, fault.value
        lease = LEASE_SECONDS + destination.batch_size * destination.timeout
        keeps = tiers.stale_bound > 0 or tiers.early_refresh > 0
        n = len(workload)
        for place, value in {
            s.I_N: n, s.I_WIDTH: table.slot_count, s.I_READS: width,
            s.I_SITES: scenario.traffic.sites, s.I_KEYS: keys, s.I_PER: topology.isolates,
            s.I_PROCESSES: self._processes, s.I_CONSUMER: self._consumer, s.I_ALL: self._all,
            s.I_PER_POP: topology.processes, s.I_CAP: tiers.l1.max_entries,
            s.I_CAP_BYTES: tiers.l1.max_bytes, s.I_SINGLE: tiers.single_flight,
            s.I_AWAIT: tiers.l2.put == "await", s.I_KEEPS: keeps,
            s.I_SIE: tiers.stale_if_error > 0, s.I_BREAKER: tiers.l2.breaker.failures,
            s.I_EVENTUAL: tiers.l2.consistency == "eventual",
            s.I_CLAMP: tiers.l2.min_ttl == "clamp",
            s.I_BATCH: scenario.queue.batch_size, s.I_PARALLEL: scenario.queue.max_parallel,
            s.I_FORWARDS: destination.url is not None, s.I_FWD_BATCH: destination.batch_size,
            s.I_FWD_PARALLEL: destination.max_parallel,
            s.I_FIT_EVERY: scenario.attribution.fit_every, s.I_SEEDED: len(events.times),
            s.I_LOOKBACK: attribution.lookback_ms, s.I_OWN: attribution.own_event,
            s.I_DATA_DRIVEN: MODELS.index(DATA_DRIVEN), s.I_MODELS: len(MODELS),
            s.I_CHANNELS: scenario.traffic.channels, s.I_PARTS: len(self._parts),
            s.I_FAULTS: len(faults), s.I_JOURNEY_HEAD: JOURNEY_HEAD, s.I_EVENT_TEXT: page,
            s.I_CONVERSION_TEXT: bought, s.I_REQUEST_SCOPE: tiers.l1.scope == "request",
            s.I_TOUCH_BYTES: TOUCH_BYTES + max(map(len, facts.channel_names)),
            s.I_BODY: MAX_BODY_BYTES, s.I_IN_FLIGHT: IN_FLIGHT_BYTES, s.I_BUCKET: BUCKET_BYTES,
            s.I_LEAST_JOBS: LEAST_JOBS, s.I_ATTEMPTS: scenario.queue.max_attempts,
            s.I_IS_ORDERED: workload is not self._workload, s.I_LEASE: round(1000 * lease),
            s.I_FWD_ATTEMPTS: destination.max_attempts,
            s.I_ROWS_CAP: tiers.query_cache.max_entries,
            s.I_ROWS_BYTES: tiers.query_cache.max_bytes, s.I_ROWS_OF_EVENT: ROWS_OF_EVENT,
        }.items():  # fmt: skip
            ci[place] = value
        si = np.zeros(s.S_COUNT, dtype=np.int64)
        si[s.S_LEFT], si[s.S_WHY] = n, -1
        parallel, hands = scenario.queue.max_parallel + 1, destination.max_parallel + 2
        bats = np.zeros((parallel, s.BI_COUNT), dtype=np.int64)
        bats[:, s.BI_NUMBER] = -1
        if len(events.times) + n > MOST_EVENTS:
            raise NotCovered(f"more than {MOST_EVENTS:,} events, those before the run included")
        happened = np.empty(len(events.times) + n, dtype=np.uint32)
        happened[: len(events.times)] = (
            (events.before.astype(np.int64) + 1) << EARLIER
            | events.channels.astype(np.int64) << 1
            | events.kinds
        )
        users = np.zeros((len(events.last), s.U_COUNT), dtype=np.int64)
        users[:, s.U_LAST] = events.last
        users[:, s.U_TIME] = events.times[events.last]
        distributions = {
            "t_read": tiers.l2.read, "t_cold": tiers.l2.cold_read, "t_write": tiers.l2.write,
            "t_trip": tiers.l3.round_trip, "t_rx": tiers.l3.read_execution,
            "t_wx": tiers.l3.write_execution, "t_sent": destination.latency,
        }  # fmt: skip
        asks = 4_096 + 2 * self._all
        arrays = State(
            cf=cf, ci=ci, si=si, cnt=np.zeros(s.C_COUNT, dtype=np.int64),
            counted=np.zeros(s.C_COUNT + 2, dtype=np.int64), arrivals=self._arrivals(),
            seed=np.uint64(scenario.seed), stream=np.int64(self._replication << 32),
            epf=np.array(cpu), epi=epi, reads=reads,
            tyf=np.array([tiers.l2.ttl.of(name) for name in names]), tyi=tyi,
            kbase=kbase, ksize=ksize, krows=krows, faults=fault_rows,
            parts=np.array(list(self._parts.values()) or [(0.0, 0.0)], dtype=np.float64),
            **{name: layout.table(each) for name, each in distributions.items()},
            **layout.rows_of(workload, width),
            **layout.in_flight(),
            askf=np.zeros((asks, s.O_COUNT)), asks=layout.linked(asks, s.AI_COUNT, s.AI_NEXT),
            batf=np.zeros((parallel, s.O_COUNT)), bats=bats,
            delf=np.zeros((hands, s.DF_COUNT)), dels=np.zeros((hands, s.DI_COUNT), dtype=np.int64),
            **layout.memory(scenario, keys, topology.isolate_count),
            **layout.row_cache(scenario, keys, self._all),
            **layout.second_tier(scenario, keys, self._all),
            cpu_free=np.zeros((self._all, 2)), servers=np.zeros(tiers.l3.concurrency + 1),
            breaker=np.zeros((self._all, 3)), due=np.full(self._all, scenario.attribution.refresh),
            background=np.zeros(self._all, dtype=np.int64),
            in_flight=np.zeros((self._all, 3), dtype=np.int64),
            **layout.figures(len(self._parts), self._all, s.Q_FIRST + len(profiles)),
            seed_times=events.times, seed_lengths=events.lengths,
            channel_lengths=facts.channel_lengths,
            users=users, newest=np.zeros((len(users), NEWEST), dtype=np.uint16), happened=happened,
            converted=np.empty(n, dtype=np.int32),
            touch_from=np.zeros((n + 2, s.B_COUNT), dtype=np.int64),
            begun=np.zeros(n + 2), waiting=np.zeros(n + 2, dtype=np.int32),
            touch_count=np.zeros((n + 1, 2), dtype=np.int32),
            log=np.empty(4 * len(happened) + 1, dtype=np.int32),
            taken=np.zeros((hands, destination.batch_size, s.OB_COUNT), dtype=np.int64),
            order=np.zeros(scenario.queue.batch_size, dtype=np.int64),
            order_keys=np.zeros(scenario.queue.batch_size, dtype=np.int64),
            bodies=np.zeros(8 * (destination.batch_size + 1) * (hands + parallel), dtype=np.int64),
        )  # fmt: skip
        # Looks at the queues, and the end of the warm-up, stand first among the timed events.
        half, end = scenario.total_time - scenario.duration / 2, scenario.total_time
        ahead = self._ahead
        looks = [
            (ahead + scenario.warm_up, s.E_SNAP), (ahead + half, s.E_LOOK), (ahead + end, s.E_LOOK),
        ]  # fmt: skip
        if ahead:
            looks.append((ahead, s.E_COUNT))
        if self._ends_early:
            looks.append((LOOK_EVERY, s.E_CHECK))
        order = sorted(range(len(looks)), key=lambda number: (looks[number][0], number))
        for place, number in enumerate(order):
            arrays.times[place], arrays.events[place] = looks[number]
            arrays.sequences[place] = number
        si[s.S_HEAP] = si[s.S_SEQ] = len(looks)
        return arrays

    def _arrivals(self) -> np.ndarray:
        """Return the requests in the order of their arrival, where another one counts them."""
        if self._asked is self._workload:
            return np.zeros(0, dtype=np.int64)
        return np.argsort(self._asked.intended + self._ahead, kind="stable")

    def run(self) -> ReplicationOutcome:
        """Simulate every request; NotCovered if the run meets what is not covered."""
        si, n = self.arrays.si, len(self._asked)
        if self._on_progress is not None:
            self._on_progress(0.0)
        until = 0
        while True:
            if int(si[s.S_NEXT]) >= until:
                until = min(n, until + _CHUNK)
            why = loop(until, *self.arrays)
            if why == s.OUT_DONE:
                return self._outcome()
            if why == s.OUT_PROGRESS:
                if self._on_progress is not None:
                    self._on_progress(int(si[s.S_NEXT]) / n)
            elif why in (s.OUT_SIZE, s.OUT_CHANNELS):
                self._tell_size(why)
            elif why == s.OUT_BODIES:
                self._weigh_bodies()
            elif why == s.OUT_REFUSED and si[s.S_WHY] == s.WHY_SATURATED:
                seen = self._look(2)
                raise Saturated(seen.at, loads_between(self._start, seen))
            elif why == s.OUT_REFUSED:
                raise NotCovered(_REFUSALS[int(si[s.S_WHY])])
            elif why == s.OUT_STUCK:
                raise RuntimeError("nothing is left to happen, and the run has not ended")
            else:
                self.arrays = layout.grow(self.arrays, why)

    def _shares(self) -> ChannelPages:
        if self._pages is None:
            self._pages = ChannelPages(self._facts, self._scenario, self._asked, self.arrays)
        return self._pages

    def _weigh_bodies(self) -> None:
        """Refuse to go on if a request to the destination has to be split: it has over 1 MB."""
        si, size = self.arrays.si, 0
        for place in self.arrays.bodies[: si[s.S_BODIES]].tolist():
            if place < 0:
                size = 0
                continue
            size += 1 + self._shares().document_size(place, self.arrays)
            if size > MAX_BODY_BYTES:
                raise NotCovered("a request to the destination of more than 1 MB")
        si[s.S_BODIES] = 0

    def _tell_size(self, why: int) -> None:
        arrays, si = self.arrays, self.arrays.si
        key, place = int(si[s.S_NEED_KEY]), int(si[s.S_NEED_AT])
        si[s.S_NEED_KIND] = 0
        if why == s.OUT_SIZE:
            conversion = key - self._bases["attribution"]
            size, arrays.krows[key] = self._facts.credits_size(conversion)
            arrays.ksize[key] = arrays.kbase[key] + size
            return
        model = key - self._bases["channel_metrics"]
        page, rows = self._shares().size(model, arrays)
        size, rows = int(arrays.kbase[key]) + page, int(arrays.krows[key]) + rows
        if place >= 0:
            arrays.reqi[place, s.RI_SIZE], arrays.reqi[place, s.RI_ROWS] = size, rows
        else:
            arrays.news[-1 - place, s.NI_SIZE], arrays.news[-1 - place, s.NI_ROWS] = size, rows

    def _outcome(self) -> ReplicationOutcome:
        workload, scenario, none = self._workload, self._scenario, np.empty(0)
        # What is long and not needed any more makes room.
        n = len(workload)
        arrays = self.arrays = self.arrays._replace(
            happened=none, log=none, touch_from=none, touch_count=none, places=none,
            total=self.arrays.total[:n], codes=self.arrays.codes[:n],
            failure=self.arrays.failure[:n],
        )  # fmt: skip
        latency = arrays.total
        latency += self._overhead()
        limits = np.array(scenario.timeouts)
        slow = _above(latency, limits.min())
        late = slow[latency[slow] > limits[workload.endpoint[slow]]]
        arrays.failure[late] = s.SUCCEEDED  # the client did not wait for the error
        latency[late] = latency[_above(arrays.failure, 0)] = np.inf
        requests = Requests(
            intended=Seconds(workload.intended_ns),
            endpoint=workload.endpoint,
            subject=workload.subject,
            isolate=workload.isolate,
            latency=latency,
            reads=arrays.codes,
        )
        failed = _above(latency, np.finfo(np.float64).max)
        statuses = _STATUSES[arrays.failure[failed]]
        failures = counted(
            endpoint=requests.endpoint[failed],
            cause=np.where(statuses > 0, _STATUS, _TIMEOUT).astype(np.uint8),
            status=statuses,
            intended=requests.intended[failed],
            after=scenario.warm_up,
            endpoints=scenario.endpoints.names,
        )
        looks = (self._look(0), self._look(1)) if arrays.si[s.S_LOOKS] == 2 else None
        return ReplicationOutcome(
            requests=requests,
            failures=failures,
            stages=self._stages(),
            counters=self._counters(),
            memory_bytes=scenario.topology.base_memory + self._memory(),
            loads=loads_between(*looks) if looks else {},
            memory_growth=(
                (looks[1].memory - looks[0].memory) / (looks[1].at - looks[0].at) if looks else 0.0
            ),
            samples={},
            part_stages={
                name: self._header_stages(1 + place) for place, name in enumerate(self._parts)
            },
        )

    def _overhead(self) -> Any:
        """Return what lies between client and service, by request; 0 where nothing does."""
        scenario = self._scenario
        if self._calibration is None and scenario.network.round_trip.mean == 0:
            return 0.0
        between = Between(scenario, self._asked, self._calibration, self._replication)
        if between.stored is not None:
            return self._by_depth(between)
        return np.asarray(between.quick)[: len(self._workload)]

    def _by_depth(self, between: Between) -> np.ndarray:
        assert between.stored is not None
        plain = self.arrays.codes & (NEGATIVE - 1)
        depth = np.where((plain == L2_HIT).any(axis=1), 1, 0)
        depth[((plain == MISS) | (plain == BYPASS)).any(axis=1)] = 2
        depth[np.isin(self._workload.endpoint, list(between.stored._writers))] = 2
        return np.asarray(between.stored._by_depth)[depth, np.arange(depth.size)]

    def _header_stages(self, part: int) -> dict[str, LatencyHistogram]:
        """Return the stages that requests report: of the whole run (0), or of a part of it."""
        arrays, table = self.arrays, self._scenario.metrics.table.stages
        told = {"l1": 0, "l2": 1, "l3": 2, "l3wait": 3, "total": 4, "cpu": 5}
        last = {stage.told_as: stage.name for stage in table if stage.source != "profiler"}
        found = {}
        for stage in table:
            if stage.source == "profiler" or last[stage.told_as] != stage.name:
                continue
            if (place := told.get(stage.told_as)) is not None:
                histogram = histogram_of(arrays.hist[part, place], arrays.sums[part, place])
                if histogram.count:
                    found[stage.name] = histogram
        return found

    def _stages(self) -> dict[str, LatencyHistogram]:
        arrays, table = self.arrays, self._scenario.metrics.table.stages
        kinds = {"query": s.KIND_QUERY, "queue": s.KIND_QUEUE, "external": s.KIND_EXTERNAL}
        found = self._header_stages(0)
        for stage in table:
            if stage.source == "profiler":
                kind = kinds.get(stage.told_as)
                histogram = LatencyHistogram()
                if kind is not None:
                    histogram = histogram_of(arrays.phist[kind], arrays.psums[kind])
                    if not histogram.counts:
                        histogram.maximum_ns = 0
                if histogram.count or stage.is_kept_empty:
                    found[stage.name] = histogram
        return found

    def _memory(self) -> int:
        arrays = self.arrays
        per = self._scenario.topology.isolates
        most = 0
        for process in range(self._processes):
            caches = int(arrays.held[process * per : (process + 1) * per, 2].sum())
            if self._scenario.tiers.query_cache.ttl:
                caches += int(arrays.rows_held[process, 2])
            buckets = int(np.count_nonzero(arrays.seen[process]))
            peak = int(arrays.in_flight[process, 1])
            most = max(most, caches + BUCKET_BYTES * buckets + peak * IN_FLIGHT_BYTES)
        return most

    @property
    def _start(self) -> Look:
        return Look(0.0, [0.0] * (1 + self._all), [0.0] * (1 + self._all), 0)

    def _look(self, row: int) -> Look:
        at, memory, *rest = self.arrays.growth[row].tolist()
        return Look(at, rest[: 1 + self._all], rest[1 + self._all :], int(memory))

    def _counters(self) -> dict[str, int]:
        arrays = self.arrays
        count = (arrays.cnt - arrays.counted[: s.C_COUNT]).tolist()
        requests, operations = arrays.counted[s.C_COUNT :].tolist()
        caches_rows = self._scenario.tiers.query_cache.ttl > 0
        return {
            **({"query_cache_hits": count[s.C_ROWS_HITS]} if caches_rows else {}),
            "breaker_openings": count[s.C_OPENINGS],
            "l1_evicted": count[s.C_EVICTED],
            "l1_expired": count[s.C_EXPIRED],
            "l1_extended": count[s.C_EXTENDED],
            "l2_corrupt": 0,
            "l2_deletes": count[s.C_DELETES],
            "l2_lists": 0,  # of invalidations, which this engine leaves to the other
            "l2_refused": 0,
            "l2_skipped": count[s.C_SKIPPED],
            "l2_write_errors": count[s.C_WRITE_ERRORS],
            "loads": count[s.C_LOADS],
            "loads_early_or_stale": count[s.C_REFRESHES],
            "loads_outlived": count[s.C_OUTLIVED],
            "loads_overtaken": 0,
            "stale_served": count[s.C_STALE],
            "conversions_processed": count[s.C_PROCESSED],
            "conversions_without_touches": count[s.C_UNTOUCHED],
            "fits_failed": 0,
            "l2_errors": count[s.C_L2_ERRORS],
            "l2_operations": count[s.C_L2_OPERATIONS],
            "l3_errors": count[s.C_L3_ERRORS],
            "l3_operations": int(arrays.in_flight[:, 2].sum()) - operations,
            "models_fitted": 0,
            "queue_batches": count[s.C_BATCHES],
            "queue_given_up": count[s.C_GIVEN_UP],
            "queue_retries": count[s.C_RETRIES],
            **(
                {
                    "forwarded": count[s.C_FORWARDED],
                    "forward_requests": int(arrays.si[s.S_FWD_REQUESTS]) - requests,
                    "forward_retries": count[s.C_FWD_RETRIES],
                    "forward_given_up": count[s.C_FWD_GIVEN_UP],
                }
                if self._scenario.destination.url is not None
                else {}
            ),
        }


def _above(column: np.ndarray, limit: float) -> np.ndarray:
    """Return the rows that are above *limit*, a part at a time: many rows need no more memory."""
    starts = range(0, len(column), _CHUNK)
    found = [start + np.flatnonzero(column[start : start + _CHUNK] > limit) for start in starts]
    return np.concatenate([*found, np.empty(0, dtype=np.int64)])


def histogram_of(counts: np.ndarray, sums: np.ndarray) -> LatencyHistogram:
    """Return the histogram of counts by bucket, and of total and largest nanoseconds."""
    histogram = LatencyHistogram()
    places = np.flatnonzero(counts)
    histogram.counts = dict(zip(places.tolist(), counts[places].tolist(), strict=True))
    histogram.total_ns, histogram.maximum_ns = int(sums[0]), int(sums[1])
    histogram.failed = int(sums[2]) if len(sums) > 2 else 0
    return histogram


def compile_all() -> None:
    """Compile the loop and what it calls, by a run of a second."""
    scenario = parse_scenario({"name": "compiling", "duration": "1s"}, source="compiling")
    prepared = prepare(scenario)
    seeded = SeededDatabase(scenario, prepared)
    CompiledReplication(scenario, prepared, warm_state(scenario, prepared), seeded).run()
