"""What a flawed run leaves open: the range that each of its figures lies in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from core.endpoints import ENDPOINTS
from core.metrics.histogram import LatencyHistogram, bucket_value
from core.metrics.kpi import Interval, Metric
from core.units import parse_duration

if TYPE_CHECKING:
    from core.metrics.record import RunRecord

_HITS = ("l1", "l2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The judged requests whose outcome the load generator may have caused or hidden.

    late: per endpoint, the latencies of requests that succeeded and that could have been faster:
    they were sent or read late. A late request is at best answered at once and at worst as slow as
    recorded, since the latency counts from the intended start.
    excused: per endpoint, requests recorded as failed that could have succeeded at once.
    absent: per endpoint, requests that the record lacks; each could have succeeded or failed.
    reads: the cache reads of these requests by outcome, of which each could have had any other.
    unknown_reads: how many more reads they could have made.
    stages: per stage, the samples of these requests; each could have had any value.
    unplaced: per stage, how many of its samples belong to these requests, where nobody knows which.
    unknown: per stage, how many more samples these requests could have given.
    memory: the factor on the peak of the memory at worst.
    is_timeless: no time of the run says anything.
    """

    late: Mapping[str, LatencyHistogram] = field(default_factory=dict)
    excused: Mapping[str, int] = field(default_factory=dict)
    absent: Mapping[str, int] = field(default_factory=dict)
    reads: Mapping[str, int] = field(default_factory=dict)
    unknown_reads: int = 0
    stages: Mapping[str, LatencyHistogram] = field(default_factory=dict)
    unplaced: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    memory: float = 1.0
    is_timeless: bool = False

    def range(self, record: RunRecord, metric: Metric) -> Interval | None:
        """Return the least and the greatest value of *metric* over all that is open.

        None where *record* could not see the metric and no open request would show it.
        """
        if metric.function == "ratio":
            if metric.series == "error":
                return self._errors(record)
            return self._reads(record, metric.series)
        if metric.function == "peak":
            peak = record.memory_peak
            return None if peak is None else (peak, peak * self.memory)
        if metric.series in ENDPOINTS:
            best, worst = self._of_endpoint(record, metric.series)
            return self._times(metric, best, worst, worst_mean=self._worst_mean(record, metric))
        if metric.series not in record.stages:
            return None
        best, worst = self._of_stage(record.stages[metric.series], metric.series)
        # A sample that could have had any value could have had the greatest.
        worst_mean = math.inf if worst.failed else _mean(worst)
        return self._times(metric, best, worst, worst_mean=worst_mean)

    def _errors(self, record: RunRecord) -> Interval | None:
        absent = sum(self.absent.values())
        total = sum(h.count for h in record.latencies.values()) + absent
        failed = sum(h.failed for h in record.latencies.values())
        if not total:
            return None
        return (failed - sum(self.excused.values())) / total, (failed + absent) / total

    def _reads(self, record: RunRecord, series: str) -> Interval | None:
        totals = record.read_totals()
        told = sum(totals.values())
        if not told:
            return None
        if series == "miss":
            hits = self._reads(record, "hit")
            return None if hits is None else (1 - hits[1], 1 - hits[0])
        outcomes = _HITS if series == "hit" else (series,)
        sure = sum(totals[o] - self.reads.get(o, 0) for o in outcomes)
        doubtful = sum(self.reads.get(o, 0) for o in totals) + self.unknown_reads
        total = told + self.unknown_reads
        return sure / total, (sure + doubtful) / total

    def _of_endpoint(
        self, record: RunRecord, name: str
    ) -> tuple[LatencyHistogram, LatencyHistogram]:
        found = record.latencies.get(name, LatencyHistogram())
        late = self.late.get(name, LatencyHistogram())
        excused, absent = self.excused.get(name, 0), self.absent.get(name, 0)
        best, worst = _without(found, late), _without(found, LatencyHistogram())
        best.failed -= excused
        _add_instant(best, late.count + excused + absent)
        worst.failed += absent
        return best, worst

    def _worst_mean(self, record: RunRecord, metric: Metric) -> float:
        """Return the greatest mean of an endpoint: what is open succeeds at the time limit."""
        found = record.latencies.get(metric.series, LatencyHistogram())
        succeeded = sum(found.counts.values())
        if not succeeded:
            return math.inf
        more = self.excused.get(metric.series, 0) + self.absent.get(metric.series, 0)
        limit = parse_duration(record.scenario["timeout"]) if more else 0.0
        return max(found.mean, (found.total_ns * 1e-9 + more * limit) / (succeeded + more))

    def _of_stage(
        self, found: LatencyHistogram, name: str
    ) -> tuple[LatencyHistogram, LatencyHistogram]:
        known = self.stages.get(name, LatencyHistogram())
        unplaced = min(self.unplaced.get(name, 0), found.count)
        unknown = self.unknown.get(name, 0)
        best, worst = _without(found, known), _without(found, known)
        best.failed = worst.failed = found.failed
        _take(best, unplaced, slowest=True)
        _take(worst, unplaced, slowest=False)
        _add_instant(best, known.count + unplaced + unknown)
        worst.failed += known.count + unplaced + unknown
        return best, worst

    def _times(
        self,
        metric: Metric,
        best: LatencyHistogram,
        worst: LatencyHistogram,
        *,
        worst_mean: float,
    ) -> Interval | None:
        if not worst.count:
            return None
        if self.is_timeless:
            return 0.0, math.inf
        if metric.quantile is not None:
            return best.quantile(metric.quantile), worst.quantile(metric.quantile)
        if metric.function == "max":
            return best.maximum, worst.maximum
        return _mean(best), worst_mean

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("late", "stages"):
            data[name] = {key: h.to_json() for key, h in sorted(data[name].items())}
        for name in ("excused", "absent", "reads", "unplaced", "unknown"):
            data[name] = dict(sorted(data[name].items()))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave; KeyError, TypeError or ValueError if it is none."""
        parts = {
            name: {key: LatencyHistogram.from_json(h) for key, h in data[name].items()}
            for name in ("late", "stages")
        }
        return cls(**{**data, **parts})


def _mean(histogram: LatencyHistogram) -> float:
    return histogram.mean if histogram.counts else math.inf


def _without(found: LatencyHistogram, part: LatencyHistogram) -> LatencyHistogram:
    """Return *found* less the successes of *part*, with the maximum of what is left."""
    left = found.since(part)
    left.failed = found.failed
    if left.counts and part.counts:
        left.maximum_ns = min(left.maximum_ns, round(bucket_value(max(left.counts)) * 1e9))
    return left


def _add_instant(histogram: LatencyHistogram, number: int) -> None:
    if number:
        histogram.counts[0] = histogram.counts.get(0, 0) + number


def _take(histogram: LatencyHistogram, number: int, *, slowest: bool) -> None:
    """Remove the *number* slowest or fastest samples, at most all; failed ones are the slowest."""
    if slowest:
        gone = min(number, histogram.failed)
        histogram.failed -= gone
        number -= gone
    for key in sorted(histogram.counts, reverse=slowest):
        if not number:
            break
        gone = min(number, histogram.counts[key])
        number -= gone
        histogram.total_ns -= round(gone * bucket_value(key) * 1e9)
        histogram.counts[key] -= gone
        if not histogram.counts[key]:
            del histogram.counts[key]
    if not slowest:
        histogram.failed -= min(number, histogram.failed)
    top = max(histogram.counts, default=0)
    histogram.total_ns = max(0, histogram.total_ns)
    histogram.maximum_ns = min(histogram.maximum_ns, round(bucket_value(top) * 1e9))
