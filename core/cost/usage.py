"""What a run uses of the platform, unit by unit: a function of the scenario and of counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.cost import rows
from core.cost.rows import NOTHING, Work
from core.cost.tally import Tally
from core.endpoint import Endpoint, Read
from core.scenario.scenario import Scenario
from core.wire import READ_OUTCOMES

MILLION = 1_000_000
_QUERY = Work(statements=1.0, read=1.0)
_WRITE = Work(statements=1.0, read=1.0, written=1.0)
"""What a stated query and a stated write are taken for: one row each."""
_NEWEST = 100
"""Events that a journey's query returns at most."""
_CHANNELS_RETURNED = 50
_MOST_UNSEEN = 0.05
"""Share of the cache reads that may be unseen, of requests that failed, say."""
_NOT_PUT = ("loads_outlived", "loads_overtaken")
"""The counters of loads that were not kept, and so not written to L2."""
DELETIONS = ("l2_deletes", "l2_lists")
"""The counters of keys deleted from L2, and of pages of keys that were listed for it."""
_ENTRY_BYTES = 1_000.0
"""Of an entry of the key-value store whose size nobody states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """Conversions of the judged part of a run, and the batches in which they were processed."""

    conversions: float
    batches: float

    @property
    def size(self) -> float:
        """Conversions of a batch, on average."""
        return self.conversions / self.batches if self.batches else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Units used by the judged part of a run, and what a reader has to know of them.

    units: by "product.unit", as prices name them; storage is not among them. requests: how many
    used them, rate: how many a second. d1_bytes: that the database gains. kv_bytes: that the
    key-value store holds. l1_hits, l2_hits, l2_reads, l2_puts, l2_deletes,
    l2_lists: cache reads and writes, deleted keys and pages of listed ones. of_l2_hits: what D1
    would do in place of the hits of L2. queue: conversions and batches. unknown: what
    nobody could tell, so that there is no bill. notes: what is assumed.
    """

    units: Mapping[str, float]
    requests: int
    rate: float
    d1_bytes: float
    kv_bytes: float
    l1_hits: float
    l2_hits: float
    l2_reads: float
    l2_puts: float
    l2_deletes: float
    l2_lists: float
    of_l2_hits: Work
    queue: Queued
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def usage_of(scenario: Scenario, tally: Tally) -> Usage:
    """Return what the requests of *tally* used, in the system of *scenario*."""
    in_d1 = scenario.prices.queue == "d1"
    loads: dict[str, float] = {}
    gets, puts, hits = 0.0, 0.0, [0.0, 0.0]
    work, of_l2 = NOTHING, NOTHING
    reads = _reads(scenario)
    missed = {name: tally.outcome(name, "miss", "bypass") for name in reads}
    refreshed = tally.counters.get("loads_early_or_stale", 0.0)
    total = sum(missed.values())
    for name, read in reads.items():
        l2, miss = tally.outcome(name, "l2"), tally.outcome(name, "miss")
        extra = refreshed * missed[name] / total if total else refreshed / len(reads)
        loads[name] = missed[name] + extra
        gets += l2 + miss
        puts += miss + extra
        hits[0] += tally.outcome(name, "l1")
        hits[1] += l2
        each = _of_load(scenario, read)
        work, of_l2 = work.plus(each.times(loads[name])), of_l2.plus(each.times(l2))
    events = 0.0
    for endpoint in scenario.endpoints:
        count = tally.requests.get(endpoint.name, 0)
        events += count if endpoint.writes == "event" else 0
        work = work.plus(_stated(endpoint).times(count))
    asked = work.statements + events  # an event's statements are one operation
    queued = queue_of(scenario, tally, events)
    work = work.plus(rows.statement("insert_event").times(events))
    work = work.plus(rows.statement("insert_conversion").times(queued.conversions))
    if in_d1:
        work = work.plus(rows.statement("enqueue").times(queued.conversions))
    if queued.batches:
        work = work.plus(batch_work(scenario, queued.size).times(queued.batches))
    retried = tally.counters.get("queue_retries", 0.0)
    puts = max(0.0, puts - sum(tally.counters.get(name, 0.0) for name in _NOT_PUT))
    deletes, lists = (tally.counters.get(name, 0.0) for name in DELETIONS)
    cpu, cpu_note = _cpu(scenario, tally, l2=gets + puts, l3=asked + 2 * queued.batches)
    used = {
        "workers.requests": tally.total * tally.attempts + queued.batches,
        "workers.cpu_ms": 1000 * cpu * tally.attempts,
        "kv.reads": gets,
        "kv.writes": puts,
        "kv.deletes": deletes,
        "kv.lists": lists,
        "d1.rows_read": work.read,
        "d1.rows_written": work.written,
        "queues.operations": 0.0 if in_d1 else 3 * queued.conversions + retried,
    }
    gained = events * rows.BYTES["event"]
    gained += queued.conversions * (rows.BYTES["conversion"] + rows.BYTES["credits"])
    return Usage(
        units=used,
        requests=tally.total,
        rate=tally.rate,
        d1_bytes=gained,
        kv_bytes=_kv_bytes(scenario, tally, loads),
        l1_hits=hits[0],
        l2_hits=hits[1],
        l2_reads=gets,
        l2_puts=puts,
        l2_deletes=deletes,
        l2_lists=lists,
        of_l2_hits=of_l2,
        queue=queued,
        unknown=_unknown(scenario, tally, reads),
        notes=(*cpu_note, *_notes(scenario, tally, events), *_of_attempts(tally)),
    )


def queue_of(scenario: Scenario, tally: Tally, events: float) -> Queued:
    """Return the conversions among so many *events*, and the batches in which they come."""
    if not events:
        return Queued(conversions=0.0, batches=0.0)
    expected = events * scenario.traffic.conversion_share
    conversions = tally.counters.get("conversions_processed", expected)
    queue = scenario.queue
    by_time = tally.seconds / queue.wait if queue.wait > 0 else conversions
    stated = max(conversions / queue.batch_size, min(conversions, by_time))
    batches = tally.counters.get("queue_batches", stated)
    return Queued(conversions=conversions, batches=batches if conversions else 0.0)


def batch_work(scenario: Scenario, size: float) -> Work:
    """Return the work of D1 for a batch of *size* conversions: journeys, results, deliveries.

    A single process leases conversions as it queues them; several take them from the table.
    """
    in_d1 = scenario.prices.queue == "d1"
    is_forwarded = scenario.destination.url is not None
    work = rows.results(size, has_queue=in_d1, is_forwarded=is_forwarded)
    if in_d1 and scenario.topology.process_count > 1:
        work = work.plus(rows.taking(size))
    return work


def _reads(scenario: Scenario) -> dict[str, Read]:
    return {read.name: read for endpoint in scenario.endpoints for read in endpoint.reads}


def _of_load(scenario: Scenario, read: Read) -> Work:
    """Return the work of one load of *read*."""
    traffic = scenario.traffic
    if read.queries is not None or read.cache_type not in rows.STATEMENTS:
        number = 1 if read.queries is None else read.queries
        return _QUERY.times(number)
    returned = {
        "user_journeys": min(float(traffic.touches_per_user), _NEWEST),
        "attribution": float(traffic.touches_per_user),
        "channel_metrics": float(min(traffic.channels, _CHANNELS_RETURNED)),
    }
    return rows.statement(rows.STATEMENTS[read.cache_type], returned.get(read.cache_type, 1.0))


def _stated(endpoint: Endpoint) -> Work:
    """Return the work of the queries and writes that a description states beside its reads."""
    queries = 0 if endpoint.reads else endpoint.queries or 0
    return _QUERY.times(queries).plus(_WRITE.times(endpoint.stores or 0))


def _cpu(
    scenario: Scenario, tally: Tally, *, l2: float, l3: float
) -> tuple[float, tuple[str, ...]]:
    """Return seconds of CPU: as the requests told, or as the scenario states it."""
    if tally.cpu is not None:
        return tally.cpu * tally.total, ()
    cpu = scenario.topology.cpu
    stated = sum(cpu.of(name) * count for name, count in tally.requests.items())
    stated += cpu.per_l2_operation * l2 + cpu.per_l3_operation * l3
    return stated, ("CPU time is that of the scenario: the service told none.",)


def _kv_bytes(scenario: Scenario, tally: Tally, loads: Mapping[str, float]) -> float:
    held = 0.0
    for name, read in _reads(scenario).items():
        alive = loads[name] / tally.seconds * scenario.tiers.l2.ttl.of(read.cache_type)
        held += alive * (read.size or _ENTRY_BYTES)
    return held


def _unknown(scenario: Scenario, tally: Tally, reads: Mapping[str, Read]) -> tuple[str, ...]:
    """Return what of the use nobody knows, so that a bill would leave it out in silence."""
    has_trace, mix = scenario.trace.file is not None, scenario.traffic.mix
    # A simulation leaves requests out of which nobody knows what they do: they are not counted.
    asked = [
        endpoint
        for endpoint in scenario.endpoints
        if tally.requests.get(endpoint.name)
        or (endpoint.unknown and (has_trace or mix.of(endpoint.name) > 0))
    ]
    found = [f"what the {e.unknown} of {e.name} are" for e in asked if e.unknown]
    for name in reads:
        readers = [e for e in asked if not e.unknown and name in (read.name for read in e.reads)]
        expected = sum(tally.requests.get(endpoint.name, 0) for endpoint in readers)
        seen = tally.outcome(name, *READ_OUTCOMES)
        if seen < (1 - _MOST_UNSEEN) * expected:
            found.append(f"who answered {expected - seen:,} of {expected:,} {name} reads")
    return tuple(found)


def _of_attempts(tally: Tally) -> tuple[str, ...]:
    if tally.attempts == 1:
        return ()
    return (
        f"Clients made {tally.attempts:.2f} attempts a request: Workers charge each, with its CPU "
        "time; what further attempts read and write is not in the cost.",
    )


def _notes(scenario: Scenario, tally: Tally, events: float) -> tuple[str, ...]:
    notes = []
    if not tally.counters.keys() >= {*DELETIONS}:
        notes.append("Deletes and lists of KV are left out: nobody counted them.")
    if events:
        notes.append(
            f"A journey is taken to have {scenario.traffic.touches_per_user:g} touches "
            "(traffic.touches_per_user)."
        )
    if scenario.tiers.query_cache.ttl:
        notes.append("Hits of the query cache are counted as queries of D1.")
    if any(each.is_stated and (each.queries or each.stores) for each in scenario.endpoints):
        notes.append("A stated query reads one row, a stated write writes one.")
    return tuple(notes)
