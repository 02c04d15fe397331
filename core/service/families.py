"""The metrics of a service: what its processes counted, in Prometheus's names and units.

Each process has its own series (label worker): a process that is restarted begins at 0, and one
that does not answer is left out. In a sum over processes both would look like a reset of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from core.caching.statistics import COLUMNS
from core.metrics.exposition import durations
from core.metrics.histogram import LatencyHistogram
from core.service.statistics import ProcessFigures

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_OUTCOMES = [column for column in COLUMNS if column not in ("none", "negative", "stale")]

OF_COUNTERS = {
    "queue_batches": ("queue_batches", "Batches of conversions that were processed."),
    "queue_retries": ("queue_retries", "Attempts after a failed one to process a conversion."),
    "queue_given_up": ("queue_given_up", "Conversions that ran out of attempts."),
    "conversions_processed": (
        "conversions_processed", "Conversions whose credits were stored.",
    ),
    "conversions_without_touches": (
        "conversions_without_touches", "Processed conversions that had no touch to credit.",
    ),
    "models_fitted": ("models_fitted", "Fits of the data_driven model."),
    "fits_failed": ("model_fits_failed", "Fits of the data_driven model that failed."),
    "forwarded": ("forwarded_conversions", "Conversions that the destination accepted."),
    "forward_requests": ("forward_requests", "Requests to the destination."),
    "forward_retries": ("forward_retries", "Deliveries that were tried again."),
    "forward_given_up": ("forward_given_up", "Deliveries that ran out of attempts."),
    "traces_sent": ("traces_sent", "Requests whose spans the OTLP endpoint accepted."),
    "traces_dropped": ("traces_dropped", "Requests whose spans did not fit the queue."),
    "traces_failed": ("traces_failed", "Requests whose spans could not be delivered."),
    "query_cache_hits": ("query_cache_hits", "Queries answered by the cache of rows."),
    "breaker_openings": ("l2_breaker_openings", "Times that the breaker of L2 opened."),
    "l1_extended": (
        "l1_extended_reads", "Values that L1 served beyond its own TTL because L2 failed.",
    ),
    "l2_write_errors": ("l2_write_errors", "Writes to L2 that failed."),
    "l2_deletes": ("l2_deletes", "Keys whose deletion was sent to L2."),
    "l2_lists": ("l2_lists", "Pages of 1,000 keys that invalidations listed."),
    "l2_skipped": ("l2_skipped_operations", "Reads and writes that an open breaker kept from L2."),
    "l2_corrupt": ("l2_corrupt_entries", "Entries of L2 that were no entries of this cache."),
    "l2_refused": ("l2_refused_entries", "Entries of L2 older than an invalidation."),
    "loads": ("cache_loads", "Loads of entries from the database."),
    "loads_early_or_stale": (
        "cache_background_loads", "Loads in the background, early or of a stale entry.",
    ),
    "loads_outlived": (
        "cache_outlived_loads", "Loads that took longer than their TTL, and were not kept.",
    ),
    "loads_overtaken": (
        "cache_overtaken_loads", "Loads that an invalidation overtook, and that were not kept.",
    ),
}  # fmt: skip
"""Counters of the statistics that are metrics of their own: name without prefix, and what it is."""

OF_L2 = {
    "reads": ("l2_reads", "Reads sent to L2."),
    "writes": ("l2_writes", "Writes sent to L2."),
    "errors": ("l2_read_errors", "Reads from L2 that failed or took too long."),
    "late": ("l2_late_reads", "Failed reads from L2 that met the soft limit."),
}
"""What the cache statistics count of L2 beyond those."""

OF_STORES = {
    f"{store}_{what}": (store, what) for store in ("l2", "l3") for what in ("operations", "errors")
}
"""Counters of the emulated stores: store and what is counted."""

OF_PROCESSES = {
    "cpu_seconds": ("process_cpu_seconds", "CPU time used, in seconds."),
    "rss_bytes": ("process_resident_memory_bytes", "Resident memory, in bytes."),
    "peak_rss_bytes": (
        "edgeproof_process_peak_resident_memory_bytes",
        "Peak of resident memory since the start, or since a load's clean start, in bytes.",
    ),
}

Values = dict[tuple[str, ...], float]


def service_families(
    parts: Sequence[ProcessFigures], silent: Sequence[str] = (), *, scenario: str
) -> list[Metric]:
    """Return every metric of the processes that *parts* tell of, each with one process.

    silent: the processes that did not answer; scenario: the name of what is served.
    """
    return [
        *_of_the_service(parts, silent, scenario),
        *_latencies(parts),
        *_counters(parts),
        *_caches(parts),
        *_processes(parts),
    ]


def _worker(part: ProcessFigures) -> str:
    return str(part.processes[0]["worker"])


def _of_the_service(
    parts: Sequence[ProcessFigures], silent: Sequence[str], scenario: str
) -> Iterable[Metric]:
    from prometheus_client.metrics_core import InfoMetricFamily

    yield InfoMetricFamily(
        "edgeproof_build", "The version, and the scenario that is served.",
        value={"version": version("edgeproof"), "scenario": scenario},
    )  # fmt: skip
    answered = [name for part in parts if (name := _worker(part)) not in silent]
    up: Values = {(name,): 1.0 if name in answered else 0.0 for name in (*answered, *silent)}
    yield _gauge(
        "worker_up", "1 if the process answered this scrape, 0 if not; the consumer is one.",
        ["worker"], up,
    )  # fmt: skip
    waiting: Values = {}
    for part in parts:
        if part.processes[0]["worker"] == 0:
            waiting[()] = part.counters["queue_pending"]
    if waiting:
        yield _gauge(
            "queue_pending_conversions", "Accepted conversions that are not processed yet.",
            [], waiting,
        )  # fmt: skip


def _latencies(parts: Sequence[ProcessFigures]) -> Iterable[Metric]:
    requests: dict[tuple[str, ...], LatencyHistogram] = {}
    stages: dict[tuple[str, ...], LatencyHistogram] = {}
    for part in parts:
        profiler, worker = part.profiler, _worker(part)
        for counter in part.counters:
            if counter.startswith("requests_"):  # a rate needs the 0 before the first request
                requests[counter.removeprefix("requests_"), worker] = LatencyHistogram()
        for kind in profiler.kinds():
            for name in profiler.names(kind):
                histogram = profiler.profile(kind, name).histogram
                if kind == "request":
                    requests[name, worker] = histogram
                else:
                    stages[kind, name, worker] = histogram
    slower = "Failed ones count as slower than every bucket and add nothing to the sum."
    failed = "those that failed, of the histogram's count"
    labels, of_stages = ["endpoint", "worker"], ["stage", "operation", "worker"]
    yield durations(
        "edgeproof_request_duration_seconds",
        f"Time of requests within the service, by endpoint. {slower}", labels, requests,
    )  # fmt: skip
    yield _counter(
        "request_failures", f"Requests answered with a 5xx status: {failed}.", labels,
        {key: found.failed for key, found in requests.items()},
    )  # fmt: skip
    yield durations(
        "edgeproof_stage_duration_seconds",
        "Time of queries, cache reads by tier, queue batches and deliveries, by operation. "
        f"{slower}", of_stages, stages,
    )  # fmt: skip
    yield _counter(
        "stage_failures", f"Operations of stages: {failed}.", of_stages,
        {key: found.failed for key, found in stages.items()},
    )  # fmt: skip


def _counters(parts: Sequence[ProcessFigures]) -> Iterable[Metric]:
    responses: Values = {}
    for part in parts:
        for digit in (2, 4, 5):
            if (count := part.counters.get(f"responses_{digit}xx")) is not None:
                responses[f"{digit}xx", _worker(part)] = count
    yield _counter("responses", "Answers by class of their status.", ["code", "worker"], responses)
    for counter, (name, documentation) in OF_COUNTERS.items():
        values: Values = {
            (_worker(part),): part.counters[counter] for part in parts if counter in part.counters
        }
        if values:
            yield _counter(name, documentation, ["worker"], values)
    for what in ("operations", "errors"):
        of_stores: Values = {
            (store, _worker(part)): part.counters[counter]
            for counter, (store, counted) in OF_STORES.items()
            for part in parts
            if counted == what and counter in part.counters
        }
        if of_stores:
            yield _counter(
                f"store_{what}", f"Emulated stores: {what}, by store.", ["store", "worker"],
                of_stores,
            )  # fmt: skip


def _caches(parts: Sequence[ProcessFigures]) -> Iterable[Metric]:
    told = [(_worker(part), part.caches) for part in parts if part.caches]
    reads: Values = {}
    flags: dict[str, Values] = {"negative": {}, "stale": {}}
    for worker, caches in told:
        for name, counts in caches["by_type"].items():
            for outcome in _OUTCOMES:
                reads[name, outcome, worker] = counts[outcome]
            for flag, values in flags.items():
                values[name, worker] = counts[flag]
    yield _counter(
        "cache_reads", "Cache reads by what the entry holds and by who answered.",
        ["type", "outcome", "worker"], reads,
    )  # fmt: skip
    yield _counter(
        "cache_negative_hits", "Hits whose answer was that there is nothing.", ["type", "worker"],
        flags["negative"],
    )  # fmt: skip
    yield _counter(
        "cache_stale_hits", "Hits beyond the TTL of their entry.", ["type", "worker"],
        flags["stale"],
    )  # fmt: skip
    yield _gauge("l1_entries", "Entries in L1.", ["worker"], _of(told, "l1", "entries"))
    yield _gauge("l1_bytes", "Bytes that L1 counts for its entries.", ["worker"],
                 _of(told, "l1", "bytes"))  # fmt: skip
    removed: Values = {
        (reason, worker): caches["l1"][reason]
        for worker, caches in told
        for reason in ("evicted", "expired", "invalidated")
    }
    yield _counter(
        "l1_removed_entries", "Entries that left L1, by reason.", ["reason", "worker"], removed
    )
    yield _gauge(
        "l2_breaker_open", "1 while the breaker keeps L2 from being asked.", ["worker"],
        _of(told, "l2", "open_breakers"),
    )  # fmt: skip
    for count, (name, documentation) in OF_L2.items():
        yield _counter(name, documentation, ["worker"], _of(told, "l2", count))
    for count in ("read", "written"):
        yield _counter(
            f"l2_{count}_bytes", f"Bytes of entries {count}.", ["worker"],
            _of(told, "l2", f"bytes_{count}"),
        )  # fmt: skip


def _of(told: Sequence[tuple[str, Mapping[str, Any]]], tier: str, count: str) -> Values:
    return {(worker,): caches[tier][count] for worker, caches in told}


def _processes(parts: Sequence[ProcessFigures]) -> Iterable[Metric]:
    for figure, (name, documentation) in OF_PROCESSES.items():
        values: Values = {
            (_worker(part),): part.processes[0][figure]
            for part in parts
            if figure in part.processes[0]
        }
        make = _counter if figure == "cpu_seconds" else _gauge
        yield make(name, documentation, ["worker"], values, prefix="")


def _gauge(
    name: str, documentation: str, labels: Sequence[str], values: Values,
    *, prefix: str = "edgeproof_",
) -> Metric:  # fmt: skip
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(prefix + name, documentation, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(
    name: str, documentation: str, labels: Sequence[str], values: Values,
    *, prefix: str = "edgeproof_",
) -> Metric:  # fmt: skip
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(prefix + name, documentation, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
