"""The record of a load: what a `LoadResult` says of a scenario's KPIs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from core.cost.cost import cost_of_record
from core.cost.key_writes import most_key_writes
from core.endpoints import CDP
from core.metrics.failures import CAUSES, Cause, Example, Failure, counted
from core.metrics.histogram import LatencyHistogram
from core.metrics.part import PartOfRun
from core.metrics.record import (
    Requests,
    RunRecord,
    count_reads,
    delivery_notes,
    endpoint_latencies,
    parts_of,
    told_tries,
    window_columns,
)
from core.metrics.retried import Retried
from core.scenario.by_region import region_latencies, region_lines, region_samples
from core.scenario.file import scenario_data, scenario_hash
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from scenarios.audit import audit_of
from scenarios.doubts import doubt_of
from scenarios.flaws import Flaw
from scenarios.header_notes import BEGINNING, header_notes
from scenarios.result import GAUGES, Kind, LoadResult, Rows

_NO_LIMITS: Mapping[str, float] = MappingProxyType({})


def measure(
    scenario: Scenario, workload: Workload, result: LoadResult, *, clean: bool = False
) -> tuple[RunRecord, Requests]:
    """Return the record and the rows of a load of *workload*.

    clean: the services were started freshly for this load, whatever they answered to the request
    for a clean start. Rows that an interruption cut off are left out; the record's audit says so.
    """
    after = scenario.warm_up
    endpoints = scenario.endpoints
    requests = requests_of(workload, result)
    reads = count_reads(requests, after=after, endpoints=endpoints)
    counters = _counters(result)
    audit, flaws = audit_of(workload, result, warm_up=after)
    cpu = cpu_seconds(result, after_ns=after * 1e9)
    retried = retried_of(scenario, workload, result)
    # Only a service that emulates the regions' distances can tell what is seen from there.
    from_regions = region_latencies(scenario, requests, after=after) if clean else {}
    record = RunRecord(
        engine="load",
        scenario=scenario_data(scenario),
        scenario_hash=scenario_hash(scenario),
        seed=scenario.seed,
        workload_hash=workload.identity(),
        planned=len(workload),
        duration=scenario.duration,
        latencies=endpoint_latencies(requests, after=after, endpoints=endpoints),
        stages={**_stages(scenario, result, cpu, after_ns=after * 1e9), **from_regions},
        reads=reads,
        memory_peak=_memory_peak(scenario, result),
        windows=window_columns(requests, after=after, duration=scenario.duration, retried=retried),
        counters=counters,
        failures=failures(
            workload, result, after=after, endpoints=endpoints.names, checks=scenario.targets.checks
        ),
        notes=(
            *_notes(workload, result, clean=clean),
            *delivery_notes(counters),
            *(region_lines(scenario, requests, after=after) if clean else ()),
        ),
        audit=audit,
        parts=_parts(scenario, workload, result, requests, flaws, cpu=cpu, clean=clean),
        doubt=doubt_of(workload, result, flaws, scenario=scenario, cpu=cpu),
        tries=told_tries(requests, retried, after=after),
    )
    writes = None
    if any(any(outcomes.values()) for outcomes in reads.values()):
        writes = most_key_writes(
            requests, after=after, endpoints=endpoints, sites=scenario.traffic.sites
        )
    cost = cost_of_record(scenario, record, key_writes=writes)
    if cost is not None:
        record = replace(record, cost=cost.to_json())
    return record, requests


def _parts(
    scenario: Scenario,
    workload: Workload,
    result: LoadResult,
    requests: Requests,
    flaws: Collection[Flaw],
    *,
    cpu: NDArray[np.float64],
    clean: bool,
) -> dict[str, PartOfRun]:
    spans = scenario.parts
    if not spans:
        return {}
    rows, intended = result.rows, result.rows.intended_ns / 1e9
    samples = {name: (intended[at], seconds) for name, (at, seconds) in rows.samples.items()}
    for name, seconds in (("total", rows.total), ("cpu", cpu)):
        is_told = ~np.isnan(seconds)
        samples[name] = intended[is_told], seconds[is_told]
    if clean:
        samples |= region_samples(scenario, requests)
    found = parts_of(
        requests, samples, spans, endpoints=scenario.endpoints,
        retried=retried_of(scenario, workload, result),
    )  # fmt: skip
    return {
        name: replace(
            part,
            doubt=doubt_of(
                workload, result, flaws, scenario=scenario, cpu=cpu, span=(part.start, part.end)
            ),
        )
        for name, part in found.items()
    }


def retried_of(scenario: Scenario, workload: Workload, result: LoadResult) -> Retried | None:
    """Return the attempts of the rows of `requests_of`, None where no client tries again."""
    if not scenario.traffic.retries.is_on:
        return None
    rows = result.rows
    attempts = np.ones(len(workload), dtype=np.uint8)
    attempts[rows.index] = rows.attempts
    refused = rows.intended_ns[rows.is_refused > 0] / 1e9
    kept, _ = _kept(workload, result)
    return Retried(attempts=attempts[kept], at=rows.retried_at, refused=refused)


def requests_of(workload: Workload, result: LoadResult) -> Requests:
    """Return a row per planned request, in order; without those an interruption cut off."""
    rows = result.rows
    latency = np.full(len(workload), math.inf)
    reads = np.zeros((len(workload), rows.reads.shape[1]), dtype=np.uint8)
    latency[rows.index], reads[rows.index] = rows.latency, rows.reads
    kept, intended = _kept(workload, result)
    return Requests(
        intended=intended,
        endpoint=workload.endpoint[kept],
        subject=workload.subject[kept],
        isolate=workload.isolate[kept],
        latency=latency[kept],
        reads=reads[kept],
    )


def _kept(workload: Workload, result: LoadResult) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the planned requests that have an outcome, and when each was to be sent, ascending.

    All but for those an interruption cut off, and those of a session that the run's end cut off.
    """
    rows, is_whole = result.rows, not result.interrupted and workload.follows is None
    kept = np.full(len(workload), is_whole)
    if not is_whole:
        has_ended = rows.kind != Kind.UNFINISHED if result.interrupted else np.ones(len(rows), bool)
        kept[rows.index[has_ended]] = True
        kept[rows.dropped] = True
    places = np.flatnonzero(kept)
    intended = workload.intended
    if workload.follows is None:
        return places, intended[places]
    intended[rows.index] = rows.intended_ns / 1e9
    places = places[np.argsort(intended[places], kind="stable")]
    return places, intended[places]


def _stages(
    scenario: Scenario, result: LoadResult, cpu: NDArray[np.float64], *, after_ns: float
) -> dict[str, LatencyHistogram]:
    rows, stages = result.rows, {}
    is_measured = rows.intended_ns >= after_ns
    of_request = {"total": rows.total, "cpu": cpu}
    for stage in scenario.metrics.table.stages:
        if stage.source == "profiler":
            histogram = _service_stage(result, stage.told_as)
            if histogram is None and stage.name == "query":
                histogram = LatencyHistogram.of(query_seconds(rows, after_ns=after_ns))
        elif stage.source == "request":
            histogram = LatencyHistogram.of(_told(of_request[stage.name][is_measured]))
        else:
            positions, seconds = rows.samples[stage.name]
            histogram = LatencyHistogram.of(seconds[is_measured[positions]])
        if histogram is not None and histogram.count:
            stages[stage.name] = histogram
    return stages


def query_seconds(rows: Rows, *, after_ns: float) -> NDArray[np.float64]:
    """Return how long each query took by Server-Timing: l3 and, where it is sent, its l3wait.

    The n-th wait of an answer is that of its n-th query.
    """
    positions, taken = rows.samples["l3"]
    waiting, waits = rows.samples["l3wait"]
    taken = taken.copy()
    if waits.size:
        width = 1 + max(positions.size, waits.size)
        query = positions * width + _number_in_answer(positions)
        wait = waiting * width + _number_in_answer(waiting)
        _, of_query, of_wait = np.intersect1d(query, wait, return_indices=True)
        taken[of_query] += waits[of_wait]
    return taken[(rows.intended_ns >= after_ns)[positions]]


def _number_in_answer(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many samples of its answer stand before each sample."""
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    number = np.empty(positions.size, dtype=np.int64)
    number[order] = np.arange(positions.size) - np.searchsorted(ordered, ordered)
    return number


def _told(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    return seconds[~np.isnan(seconds)]


def _service_stage(result: LoadResult, kind: str) -> LatencyHistogram | None:
    merged = LatencyHistogram()
    for before, after in zip(result.before, result.after, strict=True):
        if before is None or after is None or kind not in after.histograms:
            return None
        earlier = before.histograms.get(kind, LatencyHistogram())
        merged.add(after.histograms[kind].since(earlier))
    return merged if result.after else None


def cpu_seconds(result: LoadResult, *, after_ns: float) -> NDArray[np.float64]:
    """Return the CPU time of each row's request in seconds, NaN where the service does not tell.

    A request's own steps, and an equal share of what its process used besides between the two
    snapshots: (its CPU time less that of all requests' own steps) / requests, never below 0.
    The first snapshot is that of *after_ns*; without snapshots there is no share.
    """
    rows, cpu = result.rows, result.rows.cpu.copy()
    for position, (before, after) in enumerate(zip(result.before, result.after, strict=True)):
        if before is None or after is None:
            continue
        here = rows.host == position
        in_span = here & (rows.intended_ns >= after_ns) & ~np.isnan(rows.cpu)
        if number := int(np.count_nonzero(in_span)):
            used = after.process["cpu_seconds"] - before.process["cpu_seconds"]
            own = after.process.get("own_cpu_seconds", math.nan)
            own -= before.process.get("own_cpu_seconds", math.nan)
            if math.isnan(own):
                own = float(rows.cpu[in_span].sum())
            cpu[here] += max(0.0, (used - own) / number)
    return cpu


def _memory_peak(scenario: Scenario, result: LoadResult) -> float | None:
    growth = []
    for after in result.after:
        if after is None or not {"peak_rss_bytes", "start_rss_bytes"} <= after.process.keys():
            return None
        growth.append(after.process["peak_rss_bytes"] - after.process["start_rss_bytes"])
    return scenario.topology.base_memory + max(growth) if growth else None


def _counters(result: LoadResult) -> dict[str, int]:
    counters: Counter[str] = Counter()
    for before, after in zip(result.before, result.after, strict=True):
        if before is not None and after is not None:
            for name, value in after.counters.items():
                if name not in GAUGES:
                    counters[name] += value - before.counters.get(name, 0)
    return dict(counters)


_CODES = {kind: CAUSES.index(kind.cause) for kind in Kind if kind is not Kind.ANSWERED}


def failures(
    workload: Workload,
    result: LoadResult,
    *,
    after: float,
    endpoints: Sequence[str] = CDP.names,
    checks: Sequence[Sequence[str]] = (),
) -> tuple[Failure, ...]:
    """Return why requests of *workload* failed; *after*: the end of the warm-up in seconds.

    endpoints: names of those that can be asked for, by their codes; checks: of each.
    Requests that an interruption cut off have not failed.
    """
    rows = result.rows
    is_failed = rows.kind != Kind.ANSWERED
    if result.interrupted:
        is_failed &= rows.kind != Kind.UNFINISHED
    codes = np.zeros(max(Kind) + 1, dtype=np.uint8)
    for kind, code in _CODES.items():
        codes[kind] = code
    kinds = rows.kind[is_failed]
    dropped = np.concatenate((np.setdiff1d(rows.dropped, rows.held), rows.held))
    statuses = np.where(np.isin(kinds, (Kind.STATUS, Kind.CHECK)), rows.status[is_failed], 0)
    of_dropped = np.full(dropped.size, CAUSES.index(Cause.DROPPED), dtype=np.uint8)
    of_dropped[dropped.size - rows.held.size :] = CAUSES.index(Cause.HELD)
    found = counted(
        endpoint=np.concatenate((rows.endpoint[is_failed], workload.endpoint[dropped])),
        cause=np.concatenate((codes[kinds], of_dropped)),
        status=np.concatenate((statuses, np.zeros(dropped.size))).astype(np.uint16),
        intended=np.concatenate((rows.intended_ns[is_failed], workload.intended_ns[dropped])) / 1e9,
        after=after,
        endpoints=endpoints,
        checks=checks,
    )
    examples = {
        (each["endpoint"], each["cause"], each["of_status"], each.get("check")): Example(
            **each["example"]
        )
        for each in result.audit.get("examples", ())
    }
    return tuple(
        replace(
            each, example=examples.get((each.endpoint, each.cause.value, each.status, each.check))
        )
        for each in found
    )


def _notes(workload: Workload, result: LoadResult, *, clean: bool) -> tuple[str, ...]:
    notes = [*workload.notes, *result.notes]
    if clean:
        notes.append("clean start: fresh service processes")
    else:
        notes.append(f"clean start: {result.audit['clean_start']}")
    notes += header_notes(result.audit.get("headers", {}))
    if any(snapshot is None for snapshot in result.after):
        notes += _without_statistics(result.rows)
    elif any(snapshot is None for snapshot in result.before):
        notes.append("the service's statistics at the end of the warm-up are missing")
    return tuple(notes)


def _without_statistics(rows: Rows) -> list[str]:
    samples = {stage: rows.samples[stage][0].size for stage in ("l3", "l3wait")}
    if not samples["l3"]:
        return [
            "no statistics of the service: query and queue times, memory and the process's share "
            "of CPU time cannot be seen"
        ]
    waiting = (
        "l3 and l3wait together"
        if samples["l3wait"]
        else "l3, taken to include waiting, as no l3wait is sent"
    )
    return [
        f"{BEGINNING}query times are from Server-Timing: {waiting}",
        "no statistics of the service: queue times, memory and the process's share of CPU time "
        "cannot be seen",
    ]


def summary(latencies: Mapping[str, LatencyHistogram]) -> list[str]:
    """Return a table of the percentiles of each endpoint in milliseconds, a line each."""
    heads = "".join(f"{head:>10}" for head in ("p50", "p95", "p99", "max"))
    lines = [f"{'endpoint':<14}{'requests':>10}{'failed':>8}{heads}  ms"]
    for name, histogram in latencies.items():
        values = [*histogram.quantiles((0.5, 0.95, 0.99)), histogram.maximum]
        texts = "".join(f"{'∞' if math.isinf(v) else f'{v * 1e3:.2f}':>10}" for v in values)
        lines.append(f"{name:<14}{histogram.count:>10,}{histogram.failed:>8,}{texts}")
    return lines


def reason_lines(
    failures: Sequence[Failure], *, timeout: float, own: Mapping[str, float] = _NO_LIMITS
) -> list[str]:
    """Return a table of why requests failed, a line each; none if none failed.

    timeout: of the scenario; own: of the endpoints that have another one.
    """
    if not failures:
        return []
    lines = [f"{'endpoint':<14}{'failed':>10}{'warm-up':>8}{'first':>10}  reason"]
    for failure in failures:
        text = failure.text(own.get(failure.endpoint, timeout))
        first = "" if failure.first is None else f"{failure.first:.2f} s"
        counts = f"{failure.count:>10,}{failure.in_warm_up:>8,}"
        lines.append(f"{failure.endpoint:<14}{counts}{first:>10}  {text}")
        if failure.example is not None:
            lines.append(f"{'':<14}e.g. {failure.example.line}")
    return lines
