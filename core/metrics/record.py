"""The record of a run: versioned data that can be judged and drawn again at any time."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from core.endpoints import CDP, EndpointTable
from core.errors import InputError
from core.files import write_whole
from core.metrics.charge import Charge
from core.metrics.doubt import Doubt
from core.metrics.estimate import Estimate, estimate_of
from core.metrics.failures import Cause, Failure
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Interval, Metric
from core.metrics.part import PartOfRun
from core.metrics.ratio import Ratio
from core.metrics.retried import Retried, Tries, tries_of
from core.metrics.seconds import Times
from core.texts import read_json
from core.wire import NEGATIVE, READ_OUTCOMES, STALE

SCHEMA_VERSION = 1
MAX_WINDOWS = 240
MOST_ROWS = 2_000_000
"""Of requests.npz; a run with more keeps every second one, every third, and so on."""
_BLOCK = 200_000
MOST_COMPRESSED = 500_000
"""Rows of requests.npz that are compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The run in at most 240 equal windows of *width* seconds, the first one starting at *start*.

    Columns of one number a window; latencies in seconds, None where a window holds no request,
    infinite where the rank falls on a failed one. l1, l2 and missed count cache reads. attempts:
    what was sent in each window, retries included; empty where no client tries again.
    """

    start: float
    width: float
    requests: tuple[int, ...]
    failed: tuple[int, ...]
    p50: tuple[float | None, ...]
    p95: tuple[float | None, ...]
    p99: tuple[float | None, ...]
    l1: tuple[int, ...]
    l2: tuple[int, ...]
    missed: tuple[int, ...]
    attempts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the load generator says of itself.

    Lags and speeds are seconds (speed: the mean time of a fixed piece of work), cpu_share is the
    part of one core that the generator used, dropped lists the indices that were never sent; of
    these the service failed *held* by holding every connection. late: how many of the *judged*
    requests were sent later than lag_limit, None in a record that was written before they were
    counted. invalid: the run's flaws; they make a verdict INVALID where they could change it.
    """

    lag_p50: float
    lag_p99: float
    lag_limit: float
    cpu_share: float
    planned: int
    sent: int
    dropped: tuple[int, ...]
    rendered_hash: str
    inversions: int
    largest_displacement: int
    delay_error_mean: float | None
    generator_speed: float | None
    service_speed: float | None
    invalid: tuple[str, ...]
    late: int | None = None
    judged: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one engine found for one scenario, warm-up left out.

    latencies: histogram per endpoint, client's view. stages: histogram per stage of the service
    (`core.metrics.stage`). reads: cache reads per name (config, lookup,
    ...) and outcome (READ_OUTCOMES; "negative" and "stale" count hits on cached absence and on
    values beyond their TTL once more).
    memory_peak: bytes, None where it cannot be seen. replications: for each further run of the
    simulation, with random numbers of its own, every metric's value. counters: exact domain
    counters. failures: why requests failed, each failed one in exactly one row. notes: what a
    reader of the report has to know. parts: what was found in the parts of the run that KPIs name,
    by the part's name. doubt: what the flaws in the audit leave open, None where they leave
    everything open or there are none. ranges: of several loads of which one is flawed, for each
    the range of every metric that its flaws leave open, by name; None where they leave everything
    open. doubt is then that of the first load. utilisation: of a simulation's servers by name, the
    seconds of work asked for per second in the second half. saturated: of those whose queues only
    grew, so that the run was ended, the requests/s that they can carry, about. memory_growth:
    bytes that memory_peak gained per second in the second half. one_more: whether intervals are
    those for one more run, in place of those of the mean. paired: of further runs of the same
    requests with other service times, every metric's value. pooled: of several loads, the
    latencies of all together; failures are then those of all, everything else is of the first.
    cost: what the run costs on the platform (`core.cost.cost.Cost`, as plain data), empty where
    nobody asked for it. tries: how often clients tried, None where each request is one attempt.
    """

    engine: Literal["simulate", "load"]
    scenario: Mapping[str, Any]
    scenario_hash: str
    seed: int
    workload_hash: str
    planned: int
    duration: float
    latencies: Mapping[str, LatencyHistogram]
    stages: Mapping[str, LatencyHistogram]
    reads: Mapping[str, Mapping[str, int]]
    memory_peak: float | None
    windows: Windows
    replications: tuple[Mapping[str, float], ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    audit: Audit | None = None
    parts: Mapping[str, PartOfRun] = field(default_factory=dict)
    doubt: Doubt | None = None
    ranges: tuple[Mapping[str, Interval] | None, ...] = ()
    pooled: Mapping[str, LatencyHistogram] = field(default_factory=dict)
    utilisation: Mapping[str, float] = field(default_factory=dict)
    saturated: Mapping[str, float] = field(default_factory=dict)
    memory_growth: float | None = None
    one_more: bool = False
    paired: tuple[Mapping[str, float], ...] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    tries: Tries | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def name(self) -> str:
        """The scenario's name."""
        return str(self.scenario["name"])

    @property
    def endpoints(self) -> EndpointTable:
        """The table of the scenario's endpoints."""
        data = self.scenario.get("endpoints")
        return CDP if data is None else EndpointTable.from_data(data)

    @property
    def all_latencies(self) -> Mapping[str, LatencyHistogram]:
        """The latencies of every load by endpoint, of which `latencies` are the first's."""
        return self.pooled or self.latencies

    def metric(self, metric: Metric) -> float | None:
        """Return *metric* of this one run in SI units, None if it could not see it."""
        if metric.part is not None:
            part = self.parts.get(metric.part.name)
            return None if part is None else self.only(part).metric(metric.whole)
        if isinstance(metric.what, Ratio):
            return self.ratio(metric.what)
        if isinstance(metric.what, Charge):
            value: float | None = self.cost.get("figures", {}).get(metric.what.alias)
            return value
        if metric.function == "peak":
            return self.memory_peak
        histogram = (self.latencies if metric.what is None else self.stages).get(metric.series)
        if histogram is None or histogram.count == 0:
            return None
        if metric.quantile is not None:
            return histogram.quantile(metric.quantile)
        if metric.function == "max":
            return histogram.maximum
        return histogram.mean if histogram.counts else math.inf

    def only(self, part: PartOfRun) -> RunRecord:
        """Return the record of *part* alone; what a part does not tell is as in the whole."""
        return replace(
            self,
            latencies=part.latencies,
            stages=part.stages,
            reads=part.reads,
            parts={},
            doubt=part.doubt,
            tries=part.tries,
        )

    def ratio(self, ratio: Ratio) -> float | None:
        """Return *ratio* of this one run, None if a count of it was not seen."""
        total = self._sum(ratio.of)
        counted = self._sum(ratio.counted)
        if not total or counted is None:
            return None
        return 1 - counted / total if ratio.is_rest else counted / total

    def _sum(self, names: Sequence[str]) -> int | None:
        """Return the counts *names* together, None if this run could not see one of them."""
        total = 0
        for name in names:
            count = self.count(name)
            if count is None:
                return None
            total += count
        return total

    def count(self, name: str) -> int | None:
        """Return one of `core.metrics.ratio.COUNTS` or counters.NAME, None if it was not seen."""
        kind, _, part = name.partition(".")
        if kind == "counters":
            return self.counters.get(part)
        if name in ("requests.cold", "reads.outdated"):
            if self.engine == "load":  # no answer tells of it
                return None
            return self.stages[part].count if part in self.stages else 0
        if kind == "requests":
            if self.tries is not None and part == "attempts":
                return self.tries.attempts
            if self.tries is not None and part == "first_failed":
                return self.tries.first_failed
            histograms = self.latencies.values()
            is_failed = part in ("failed", "first_failed")
            return sum(h.failed if is_failed else h.count for h in histograms)
        totals = self.read_totals()
        if not part:
            return sum(totals.values())
        if part in totals:
            return totals[part]
        return sum(outcomes.get(part, 0) for outcomes in self.reads.values())

    def read_totals(self) -> dict[str, int]:
        """Return the cache reads by outcome, over all names, without negative and stale."""
        totals = dict.fromkeys(READ_OUTCOMES[1:], 0)
        for outcomes in self.reads.values():
            for outcome in totals:
                totals[outcome] += outcomes.get(outcome, 0)
        return totals

    @property
    def runs(self) -> int:
        """How many runs there are: this one and its replications."""
        return 1 + len(self.replications)

    def estimate(self, metric: Metric) -> Estimate | None:
        """Return the mean of *metric* over this run and its replications, None if none saw it.

        Its interval is cut at what the metric cannot be.
        """
        own = self.metric(metric)
        values = [] if own is None else [own]
        values += [run[metric.name] for run in self.replications if metric.name in run]
        if not values:
            return None
        return estimate_of_metric(metric, values, one_more=self.one_more)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; equal records give equal data in equal order."""
        parts = {name: part.to_json() for name, part in sorted(self.parts.items())}
        return {
            "schema": "edgeproof/run-record",
            "schema_version": self.schema_version,
            "engine": self.engine,
            "scenario": dict(self.scenario),
            "scenario_hash": self.scenario_hash,
            "seed": self.seed,
            "workload_hash": self.workload_hash,
            "planned": self.planned,
            "duration": self.duration,
            "latencies": _histograms(self.latencies),
            "stages": _histograms(self.stages),
            "reads": {name: dict(sorted(r.items())) for name, r in sorted(self.reads.items())},
            "memory_peak": self.memory_peak,
            "windows": _columns(self.windows),
            "replications": [
                {name: _finite(value) for name, value in sorted(run.items())}
                for run in self.replications
            ],
            "counters": dict(sorted(self.counters.items())),
            "failures": [failure.to_json() for failure in self.failures],
            "notes": list(self.notes),
            "audit": None if self.audit is None else _columns(self.audit),
            **({"parts": parts} if parts else {}),
            **({} if self.doubt is None else {"doubt": self.doubt.to_json()}),
            **({"pooled": _histograms(self.pooled)} if self.pooled else {}),
            **({"ranges": [_told(run) for run in self.ranges]} if self.ranges else {}),
            **({"utilisation": dict(self.utilisation)} if self.utilisation else {}),
            **({"saturated": dict(self.saturated)} if self.saturated else {}),
            **({"one_more": True} if self.one_more else {}),
            **({"paired": [_luck(run) for run in self.paired]} if self.paired else {}),
            **({} if self.memory_growth is None else {"memory_growth": self.memory_growth}),
            **({"cost": dict(self.cost)} if self.cost else {}),
            **({} if self.tries is None else {"tries": self.tries.to_json()}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` wrote; KeyError or ValueError if it is none."""
        if data.get("schema") != "edgeproof/run-record":
            raise ValueError("not a run record")
        if data["schema_version"] != SCHEMA_VERSION:
            raise ValueError(
                f"schema version {data['schema_version']}, this program reads {SCHEMA_VERSION}"
            )
        windows, audit = data["windows"], data["audit"]
        latencies = {n: LatencyHistogram.from_json(h) for n, h in data["latencies"].items()}
        return cls(
            engine=data["engine"],
            scenario=data["scenario"],
            scenario_hash=data["scenario_hash"],
            seed=data["seed"],
            workload_hash=data["workload_hash"],
            planned=data["planned"],
            duration=data["duration"],
            latencies=latencies,
            stages={n: LatencyHistogram.from_json(h) for n, h in data["stages"].items()},
            reads=data["reads"],
            memory_peak=data["memory_peak"],
            windows=Windows(**{name: _restore(value) for name, value in windows.items()}),
            replications=tuple(
                {name: _infinite(value) for name, value in run.items()}
                for run in data["replications"]
            ),
            counters=data["counters"],
            failures=(
                tuple(Failure.from_json(each) for each in data["failures"])
                if "failures" in data
                else _unexplained(latencies)
            ),
            notes=tuple(data["notes"]),
            audit=None if audit is None else Audit(**{n: _restore(v) for n, v in audit.items()}),
            parts={n: PartOfRun.from_json(part) for n, part in data.get("parts", {}).items()},
            doubt=Doubt.from_json(data["doubt"]) if "doubt" in data else None,
            pooled={n: LatencyHistogram.from_json(h) for n, h in data.get("pooled", {}).items()},
            ranges=tuple(map(_range, data.get("ranges", ()))),
            utilisation=data.get("utilisation", {}),
            saturated=data.get("saturated", {}),
            memory_growth=data.get("memory_growth"),
            one_more=data.get("one_more", False),
            paired=tuple(
                {name: _infinite(value) for name, value in run.items()}
                for run in data.get("paired", ())
            ),
            cost=data.get("cost", {}),
            tries=Tries.from_json(data["tries"]) if "tries" in data else None,
        )


def _unexplained(latencies: Mapping[str, LatencyHistogram]) -> tuple[Failure, ...]:
    """Return the failures of a record that was written before reasons were kept."""
    return tuple(
        Failure(endpoint=name, cause=Cause.UNKNOWN, count=histogram.failed, first=None)
        for name, histogram in latencies.items()
        if histogram.failed
    )


def _histograms(found: Mapping[str, LatencyHistogram]) -> dict[str, Any]:
    return {name: histogram.to_json() for name, histogram in sorted(found.items())}


def _luck(run: Mapping[str, float]) -> dict[str, Any]:
    return {name: _finite(value) for name, value in sorted(run.items())}


def _told(ranges: Mapping[str, Interval] | None) -> dict[str, list[Any]] | None:
    if ranges is None:
        return None
    return {name: [_finite(end) for end in ends] for name, ends in sorted(ranges.items())}


def _range(told: Mapping[str, Sequence[Any]] | None) -> dict[str, Interval] | None:
    if told is None:
        return None
    return {name: (_infinite(low), _infinite(high)) for name, (low, high) in told.items()}


def _columns(part: Windows | Audit) -> dict[str, Any]:
    columns = {}
    for name in type(part).__dataclass_fields__:
        value = getattr(part, name)
        columns[name] = [_finite(v) for v in value] if isinstance(value, tuple) else _finite(value)
    if not columns.get("attempts", True):
        del columns["attempts"]
    return columns


def _finite(value: Any) -> Any:
    """JSON has no infinity: it is written as text."""
    return "Infinity" if isinstance(value, float) and math.isinf(value) else value


def _infinite(value: Any) -> Any:
    return math.inf if value == "Infinity" else value


def _restore(value: Any) -> Any:
    return tuple(_infinite(v) for v in value) if isinstance(value, list) else _infinite(value)


def estimate_of_metric(
    metric: Metric, values: Sequence[float], *, one_more: bool = False
) -> Estimate:
    """Return the mean of *metric* over runs, its interval cut at what the metric cannot be.

    With *one_more* the interval is that of one more run.

    Raise ValueError without a value.
    """
    found = estimate_of(values, one_more=one_more)
    if found.interval is None:
        return found
    # Counts of two kinds may give more than 1; shares never do.
    is_share = metric.unit == "ratio" and max(values) <= 1
    most = 1.0 if is_share else math.inf
    low, high = max(found.interval[0], 0.0), min(found.interval[1], most)
    return replace(found, interval=(low, high))


def write_record(record: RunRecord, path: Path) -> None:
    """Write *record* to *path* as JSON, whole or not at all."""
    text = json.dumps(record.to_json(), allow_nan=False, separators=(",", ":"))
    write_whole(path, text + "\n")


def read_record(path: Path) -> RunRecord:
    """Read the record at *path*; InputError if it is missing or is none."""
    try:
        return RunRecord.from_json(read_json(path, "a record"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such record; give the folder of a finished run") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: not a run record ({error}); run the command again") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """One row per planned request, warm-up included: the content of requests.npz.

    intended: seconds from the start of the run (f8); endpoint: position in its table (u1);
    subject (u4); isolate (u2); latency: seconds from the intended start, infinite where the
    request failed or was dropped (f8); reads: codes of the cache reads in their order
    (READ_OUTCOMES, plus NEGATIVE and STALE), shape (n, read_width of the table) (u1).
    """

    intended: Times
    endpoint: NDArray[np.uint8]
    subject: NDArray[np.uint32]
    isolate: NDArray[np.uint16]
    latency: NDArray[np.float64]
    reads: NDArray[np.uint8]

    def blocks(self) -> Iterator[Requests]:
        """Yield the rows in parts that are worked on at a time, which bounds the memory."""
        for start in range(0, len(self.intended), _BLOCK):
            yield self._rows(slice(start, start + _BLOCK))

    def at(self, rows: NDArray[np.int64]) -> Requests:
        """Return the rows at *rows*, in that order."""
        return self._rows(rows)

    def between(self, after: float, until: float) -> Requests:
        """Return the rows that are intended at *after* seconds or later, and before *until*."""
        intended = np.asarray(self.intended)
        chosen = (intended >= after) & (intended < until)
        return self if chosen.all() else self._rows(chosen)

    def _rows(self, rows: slice | NDArray[np.bool_] | NDArray[np.int64]) -> Requests:
        return Requests(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def write(self, path: Path) -> int:
        """Write the columns to *path*; equal columns give equal bytes.

        Of more than MOST_ROWS rows every second one is written, or every third, and so on. Return
        which: 1 for all of them. Many rows are not compressed: that takes 1.5 s a million.
        """
        rows = len(self.intended)
        step = -(-rows // MOST_ROWS) or 1
        save = np.savez if rows > MOST_COMPRESSED else np.savez_compressed
        with path.open("wb") as file:
            save(file, **{name: getattr(self, name)[::step] for name in self.__dataclass_fields__})
        return step


def count_reads(
    requests: Requests, *, after: float, until: float = math.inf, endpoints: EndpointTable = CDP
) -> dict[str, dict[str, int]]:
    """Return the cache reads by name and outcome of the requests intended at *after* or later.

    And before *until*, in seconds.

    Reads of one name are counted together, whichever endpoint made them; reads that an endpoint
    does not describe count as its unnamed ones.
    """
    width = requests.reads.shape[1]
    codes = np.zeros((len(endpoints), width, 256), dtype=np.int64)
    for part in requests.blocks():
        some = part.between(after, until)
        first = some.endpoint.astype(np.intp) << 8
        for slot in range(width):
            column = np.bincount(first | some.reads[:, slot], minlength=len(endpoints) << 8)
            codes[:, slot] += column.reshape(-1, 256)
    plain, every = np.arange(256) & (NEGATIVE - 1), np.arange(256)
    counted: dict[str, dict[str, int]] = {}
    for code, endpoint_name in enumerate(endpoints.names):
        for slot in range(width):
            name, column = endpoints.read_name(endpoint_name, slot), codes[code, slot]
            counts = {n: int(column[plain == o].sum()) for o, n in enumerate(READ_OUTCOMES) if o}
            counts["negative"] = int(column[(every & NEGATIVE) > 0].sum())
            counts["stale"] = int(column[(every & STALE) > 0].sum())
            if any(counts.values()):
                others = counted.get(name, {})
                counted[name] = {n: count + others.get(n, 0) for n, count in counts.items()}
    return counted


def without_reads(
    record: RunRecord, requests: Requests, names: Collection[str]
) -> tuple[RunRecord, Requests]:
    """Return *record* and its *requests* without the cache reads *names*."""
    reads, endpoints = requests.reads.copy(), record.endpoints
    for code, endpoint in enumerate(endpoints.names):
        for slot in range(reads.shape[1]):
            if endpoints.read_name(endpoint, slot) in names:
                reads[requests.endpoint == code, slot] = 0
    kept = replace(requests, reads=reads)
    windows = record.windows
    return (
        replace(
            record,
            reads={name: counts for name, counts in record.reads.items() if name not in names},
            windows=replace(
                window_columns(kept, after=windows.start, duration=record.duration),
                attempts=windows.attempts,
            ),
            # Their hit ratios are those of all reads.
            paired=tuple(
                {name: value for name, value in run.items() if "ratio" not in name}
                for run in record.paired
            ),
        ),
        kept,
    )


def window_columns(
    requests: Requests, *, after: float, duration: float, retried: Retried | None = None
) -> Windows:
    """Return *requests* intended at *after* or later, in equal windows of a second or more."""
    number = max(1, min(MAX_WINDOWS, int(duration)))
    width = duration / number
    is_ordered = _is_ascending(requests.intended)  # no copies then
    if is_ordered:
        first = bisect_left(requests.intended, after)
        intended: Times = requests.intended
        latency, reads = requests.latency[first:], requests.reads[first:]
    else:
        first, chosen = 0, np.asarray(requests.intended) >= after
        intended, latency = requests.intended[chosen], requests.latency[chosen]
        reads = requests.reads[chosen]
    counts = np.zeros(number, dtype=np.int64)
    position = np.empty(0 if is_ordered else len(intended), dtype=np.int16)
    for start in range(first, len(intended), _BLOCK):
        rows = slice(start, start + _BLOCK)
        windows = np.minimum((intended[rows] - after) / width, number - 1).astype(np.int16)
        counts += np.bincount(windows, minlength=number)
        if not is_ordered:
            position[rows] = windows
    order = None if is_ordered else np.argsort(position, kind="stable")
    ends = np.concatenate(([0], np.cumsum(counts)))
    columns: dict[str, list[Any]] = {name: [] for name in Windows.__dataclass_fields__}
    for window in range(number):
        part = slice(int(ends[window]), int(ends[window + 1]))
        here = part if order is None else order[part]
        size = part.stop - part.start
        quantiles = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        ranks = [max(1, math.ceil(q * size - 1e-9)) - 1 for _, q in quantiles]
        ordered = np.partition(latency[here], ranks) if size else latency[here]
        columns["requests"].append(size)
        columns["failed"].append(int(np.count_nonzero(np.isinf(ordered))))
        for (name, _), rank in zip(quantiles, ranks, strict=True):
            columns[name].append(float(ordered[rank]) if size else None)
        plain = reads[here] & (NEGATIVE - 1)
        outcomes = np.bincount(plain.ravel(), minlength=len(READ_OUTCOMES)).tolist()
        columns["l1"].append(outcomes[1])
        columns["l2"].append(outcomes[2])
        columns["missed"].append(sum(outcomes[3:]))
    del columns["start"], columns["width"]
    if retried is not None:
        edges = after + width * np.arange(number + 1)  # of what is sent later, none is counted
        columns["attempts"] = (counts + np.histogram(retried.at, edges)[0]).tolist()
    return Windows(start=after, width=width, **{n: tuple(v) for n, v in columns.items()})


def _is_ascending(column: Times) -> bool:
    starts = range(0, len(column), _BLOCK)
    parts = (column[start : start + _BLOCK + 1] for start in starts)  # with the next one's first
    return all(bool(np.all(part[1:] >= part[:-1])) for part in parts)


def endpoint_latencies(
    requests: Requests, *, after: float, until: float = math.inf, endpoints: EndpointTable = CDP
) -> dict[str, LatencyHistogram]:
    """Return the latency histogram of each endpoint asked from *after* to *until* seconds."""
    latencies = {name: LatencyHistogram() for name in endpoints.names}
    for part in requests.blocks():
        some = part.between(after, until)
        for code, histogram in enumerate(latencies.values()):
            histogram.record_all(some.latency[some.endpoint == code])
    return {name: histogram for name, histogram in latencies.items() if histogram.count}


Samples = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""For each stage, when the request of each sample was to be sent, and the sample, in seconds."""


def parts_of(
    requests: Requests,
    samples: Samples,
    spans: Mapping[str, tuple[float, float]],
    *,
    endpoints: EndpointTable = CDP,
    retried: Retried | None = None,
) -> dict[str, PartOfRun]:
    """Return what *requests* and their *samples* found in each of *spans*, by its name."""
    found = {}
    for name, (start, end) in spans.items():
        stages = {}
        for stage, (intended, seconds) in samples.items():
            chosen = seconds[(intended >= start) & (intended < end)]
            if chosen.size:
                stages[stage] = LatencyHistogram.of(chosen)
        found[name] = PartOfRun(
            start=start,
            end=end,
            latencies=endpoint_latencies(requests, after=start, until=end, endpoints=endpoints),
            stages=stages,
            reads=count_reads(requests, after=start, until=end, endpoints=endpoints),
            tries=told_tries(requests, retried, after=start, until=end),
        )
    return found


def told_tries(
    requests: Requests, retried: Retried | None, *, after: float, until: float = math.inf
) -> Tries | None:
    """Return how often clients tried requests intended from *after* to *until* seconds.

    None where no client tries again.
    """
    if retried is None:
        return None
    return tries_of(retried, requests.intended, requests.latency, after=after, until=until)


def delivery_notes(counters: Mapping[str, int]) -> tuple[str, ...]:
    """Return what a reader of a run's record has to know of its deliveries."""
    lost = counters.get("forward_given_up", 0)
    if not lost:
        return ()
    sent = counters.get("forwarded", 0)
    return (
        f"The destination did not take {lost:,} of {lost + sent:,} finished conversions; they were "
        "given up.",
    )
