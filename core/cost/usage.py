"""What a run uses of the platform, unit by unit: a function of the scenario and of counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.cost.rows import Units, row_table
from core.cost.tally import Tally
from core.endpoint import Endpoint, Read
from core.scenario.scenario import Scenario

MILLION = 1_000_000
_NEWEST = 100
"""Events that a journey's query returns at most."""
_CHANNELS_RETURNED = 50
_ENTRY_BYTES = 1_000.0
"""Of an entry of the key-value store whose size nobody states."""

_STATEMENTS = {
    "security_config": "site",
    "lookup_data": "user",
    "attribution": "conversion_journey",
    "user_journeys": "user_journey",
    "channel_metrics": "channel_performance",
}
"""The statement that loads each cache type of the CDP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Units used by the judged part of a run, and what a reader has to know of them.

    units: by "product.unit", as prices name them; storage is not among them. requests: how many
    used them, rate: how many a second. d1_bytes: that the database gains. kv_bytes: that the
    key-value store holds. l1_hits, l2_hits, l2_reads, l2_puts: cache reads and writes. l2_rows:
    rows of D1 that the hits of L2 would read, l2_queries: their queries. conversions, batches: of
    the queue, touches: of a conversion, channels: of a batch. unknown: what nobody could tell, so
    that there is no bill. notes: what is assumed.
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
    l2_rows: float
    l2_queries: float
    conversions: float
    batches: float
    touches: float
    channels: float
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def usage_of(scenario: Scenario, tally: Tally) -> Usage:
    """Return what the requests of *tally* used, in the system of *scenario*."""
    table, prices = row_table(), scenario.prices
    in_d1 = prices.queue == "d1"
    loads, gets, puts, hits, rows_read, written = {}, 0.0, 0.0, [0.0, 0.0], 0.0, 0.0
    l2_rows = l2_queries = queries = 0.0
    touches = float(scenario.traffic.touches_per_user)
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
        each, number = _of_load(scenario, read)
        rows_read += loads[name] * each
        queries += loads[name] * number
        l2_rows += l2 * each
        l2_queries += l2 * number
    events = 0.0
    for endpoint in scenario.endpoints:
        count = tally.requests.get(endpoint.name, 0)
        if endpoint.writes == "event":
            events += count
        stated = table.statements["stated_query"].rows_read({"call": 1})
        if endpoint.queries and not endpoint.reads:
            rows_read += count * endpoint.queries * stated
            queries += count * endpoint.queries
        if endpoint.stores:
            write = table.statements["stated_write"]
            rows_read += count * endpoint.stores * write.rows_read({"call": 1})
            written += count * endpoint.stores * write.rows_written({"call": 1})
            queries += count * endpoint.stores
    expected = events * scenario.traffic.conversion_share
    conversions = tally.counters.get("conversions_processed", expected) if events else 0.0
    batches = tally.counters.get("queue_batches", _batches(scenario, tally, conversions))
    batches = batches if conversions else 0.0
    channels = _channels(scenario, conversions / batches * touches if batches else 0.0)
    units: Units = {
        "event": events, "conversion": conversions, "touch": conversions * touches,
        "channel": batches * channels, "batch": batches,
    }  # fmt: skip
    for what in ("event", "conversion", "batch", "delivery"):
        if what == "delivery" and scenario.destination.url is None:
            continue
        for statement in table.of(what, has_queue=in_d1):
            rows_read += statement.rows_read(units)
            written += statement.rows_written(units)
    retried = tally.counters.get("queue_retries", 0.0)
    cpu, cpu_note = _cpu(scenario, tally, l2=gets + puts, l3=queries + events + 2 * batches)
    used = {
        "workers.requests": tally.total + batches,
        "workers.cpu_ms": 1000 * cpu,
        "kv.reads": gets,
        "kv.writes": puts,
        "kv.deletes": 0.0,
        "kv.lists": 0.0,
        "d1.rows_read": rows_read,
        "d1.rows_written": written,
        "queues.operations": 0.0 if in_d1 else 3 * conversions + retried,
    }
    sizes = table.bytes
    return Usage(
        units=used,
        requests=tally.total,
        rate=tally.rate,
        d1_bytes=sum(sizes.get(unit, 0.0) * count for unit, count in units.items()),
        kv_bytes=_kv_bytes(scenario, tally, loads),
        l1_hits=hits[0],
        l2_hits=hits[1],
        l2_reads=gets,
        l2_puts=puts,
        l2_rows=l2_rows,
        l2_queries=l2_queries,
        conversions=conversions,
        batches=batches,
        touches=touches,
        channels=channels,
        unknown=_unknown(scenario, tally, reads),
        notes=(*cpu_note, *_notes(scenario, events)),
    )


def batch_units(usage: Usage, *, size: float) -> Units:
    """Return the units of one batch of *size* conversions like those of *usage*."""
    return {
        "batch": 1.0, "conversion": size, "touch": size * usage.touches, "channel": usage.channels
    }  # fmt: skip


def alone_units(scenario: Scenario, usage: Usage) -> Units:
    """Return the units of all conversions of *usage*, each processed alone."""
    each = _channels(scenario, usage.touches)
    count = usage.conversions
    return {
        "batch": count, "conversion": count, "touch": count * usage.touches,
        "channel": count * each,
    }  # fmt: skip


def _reads(scenario: Scenario) -> dict[str, Read]:
    return {read.name: read for endpoint in scenario.endpoints for read in endpoint.reads}


def _of_load(scenario: Scenario, read: Read) -> tuple[float, float]:
    """Return the rows that a load of *read* reads, and its queries."""
    table, traffic = row_table(), scenario.traffic
    if read.queries is not None or read.cache_type not in _STATEMENTS:
        number = 1 if read.queries is None else read.queries
        return number * table.statements["stated_query"].rows_read({"call": 1}), number
    touches = min(float(traffic.touches_per_user), _NEWEST)
    channels = min(traffic.channels, _CHANNELS_RETURNED)
    units = {"call": 1.0, "touch": touches, "channel": float(channels)}
    return table.statements[_STATEMENTS[read.cache_type]].rows_read(units), 1.0


def _batches(scenario: Scenario, tally: Tally, conversions: float) -> float:
    """Return how many batches as many conversions come in, where nobody counted them."""
    queue = scenario.queue
    by_time = tally.seconds / queue.wait if queue.wait > 0 else conversions
    return max(conversions / queue.batch_size, min(conversions, by_time))


def _channels(scenario: Scenario, touches: float) -> float:
    """Return how many channels so many touches name, each channel as likely as any other."""
    channels = scenario.traffic.channels
    return float(channels * (1.0 - (1.0 - 1.0 / channels) ** touches))


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
    asked = [e for e in scenario.endpoints if tally.requests.get(e.name)]
    found = [f"the {e.unknown} of {e.name} are not stated" for e in asked if e.unknown]
    lacking = [n for n in _names(asked) if n in reads and not any(tally.reads.get(n, {}).values())]
    if lacking:
        found.append(f"who answered the cache reads {', '.join(lacking)} was not seen")
    return tuple(found)


def _names(endpoints: list[Endpoint]) -> list[str]:
    return [read.name for endpoint in endpoints for read in endpoint.reads]


def _notes(scenario: Scenario, events: float) -> tuple[str, ...]:
    notes = []
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
