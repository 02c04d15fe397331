"""What a process has counted, in a form that adds up over the processes of a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.metrics.histogram import LatencyHistogram
from core.metrics.profile import THRESHOLDS, thresholds_with
from core.metrics.profiler import SLOW_KEPT as SLOW_REQUESTS_KEPT
from core.metrics.profiler import LatencyProfiler
from core.query.executor import SLOW_KEPT, StatementStatistics

PARTS = ("latencies", "caches", "queries", "metrics")
"""What can be asked for: each has the latencies and counters, the others something more.

"metrics" is for counters that a monitoring system subtracts: each process apart.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFigures:
    """The figures of one process, or of several together.

    processes: what cannot be added, by worker; statements and slow (queries, with their plans):
    of the part "queries" only; caches: of the parts "caches" and "metrics" only, see
    `core.service.cache_statistics`; slow_requests: the last ones, by the machine's clock. apart: of
    the part "metrics" only, the consumer's figures, where this process reports them.
    """

    profiler: LatencyProfiler
    counters: Mapping[str, int]
    processes: list[dict[str, Any]]
    statements: Mapping[str, StatementStatistics]
    slow: list[dict[str, Any]]
    slow_requests: list[dict[str, Any]]
    caches: Mapping[str, Any]
    apart: Sequence[ProcessFigures] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return {
            "latencies": latencies_to_json(self.profiler),
            "statements": statements_to_json(self.statements),
            "caches": self.caches,
            "counters": self.counters,
            "processes": self.processes,
            "slow": self.slow,
            "slow_requests": self.slow_requests,
            "apart": [part.to_json() for part in self.apart],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProcessFigures:
        """Return the figures that `to_json` wrote; KeyError, TypeError or ValueError if none."""
        return cls(
            profiler=latencies_from_json(data["latencies"]),
            statements=statements_from_json(data["statements"]),
            caches=data["caches"],
            counters=data["counters"],
            processes=data["processes"],
            slow=data["slow"],
            slow_requests=data["slow_requests"],
            apart=[cls.from_json(part) for part in data["apart"]],
        )


def merged(parts: Iterable[ProcessFigures]) -> ProcessFigures:
    """Return the figures of all *parts* together; they are left as they are."""
    parts = list(parts)
    kinds = [kind for part in parts for kind in part.profiler.kinds()]
    profiler = LatencyProfiler(thresholds=thresholds_with(kinds))
    statements: dict[str, StatementStatistics] = {}
    caches: dict[str, Any] = {}
    counters: dict[str, int] = {}
    processes: list[dict[str, Any]] = []
    slow: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    for part in parts:
        add_latencies(profiler, part.profiler)
        add_statements(statements, part.statements)
        add_counts(caches, part.caches)
        add_counts(counters, part.counters)
        processes += part.processes
        slow += part.slow
        requests += part.slow_requests
    slow.sort(key=lambda query: query["ended_ms"])
    requests.sort(key=lambda request: request["ended"])
    return ProcessFigures(
        profiler=profiler,
        statements=statements,
        caches=caches,
        counters=counters,
        processes=processes,
        slow=slow[-SLOW_KEPT:],
        slow_requests=requests[-SLOW_REQUESTS_KEPT:],
    )


def add_counts(total: dict[str, Any], counts: Mapping[str, Any]) -> None:
    """Add every number of *counts* to the one at the same place of *total*."""
    for name, value in counts.items():
        if isinstance(value, Mapping):
            add_counts(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value


def add_statements(
    total: dict[str, StatementStatistics], other: Mapping[str, StatementStatistics]
) -> None:
    """Add what each statement of *other* has cost to *total*; *other* is left as it is."""
    for name, found in other.items():
        sum_ = total.setdefault(name, StatementStatistics(LatencyHistogram()))
        sum_.histogram.add(found.histogram)
        sum_.rows_read += found.rows_read
        sum_.rows_written += found.rows_written
        sum_.cache_hits += found.cache_hits


def statements_to_json(statements: Mapping[str, StatementStatistics]) -> dict[str, Any]:
    """Return what each statement has cost as plain data."""
    return {
        name: {
            "histogram": found.histogram.to_json(),
            "rows_read": found.rows_read,
            "rows_written": found.rows_written,
            "cache_hits": found.cache_hits,
        }
        for name, found in statements.items()
    }


def statements_from_json(data: Mapping[str, Any]) -> dict[str, StatementStatistics]:
    """Return what `statements_to_json` wrote."""
    return {
        name: StatementStatistics(
            LatencyHistogram.from_json(found["histogram"]),
            rows_read=found["rows_read"],
            rows_written=found["rows_written"],
            cache_hits=found["cache_hits"],
        )
        for name, found in data.items()
    }


def add_latencies(total: LatencyProfiler, other: LatencyProfiler) -> None:
    """Add the samples of *other* to those of *total*, by kind and name."""
    for kind in _ordered(other):
        for name in other.names(kind):
            sum_, part = total.profile(kind, name), other.profile(kind, name)
            sum_.histogram.add(part.histogram)
            sum_.warnings += part.warnings
            sum_.errors += part.errors


def _ordered(profiler: LatencyProfiler) -> dict[str, None]:
    """Return the kinds of *profiler*, in an order that no traffic changes but for new ones."""
    return dict.fromkeys((*THRESHOLDS, *profiler.kinds()))


def latencies_to_json(profiler: LatencyProfiler) -> list[dict[str, Any]]:
    """Return every profile of *profiler* as plain data."""
    return [
        {
            "kind": kind,
            "name": name,
            "histogram": profile.histogram.to_json(),
            "warnings": profile.warnings,
            "errors": profile.errors,
        }
        for kind in _ordered(profiler)
        for name in profiler.names(kind)
        for profile in (profiler.profile(kind, name),)
    ]


def latencies_from_json(data: Iterable[Mapping[str, Any]]) -> LatencyProfiler:
    """Return the profiler that `latencies_to_json` wrote."""
    data = list(data)
    profiler = LatencyProfiler(thresholds=thresholds_with(found["kind"] for found in data))
    for found in data:
        profile = profiler.profile(found["kind"], found["name"])
        profile.histogram.add(LatencyHistogram.from_json(found["histogram"]))
        profile.warnings += found["warnings"]
        profile.errors += found["errors"]
    return profiler
