"""The range that a flawed run leaves open for each of its figures."""

from __future__ import annotations

import math

from core.metrics.charge import Charge
from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram, bucket_value
from core.metrics.kpi import Interval, Metric
from core.metrics.ratio import Ratio
from core.metrics.record import RunRecord
from core.metrics.stage import Stage
from core.units import parse_duration

_ANY = (0.0, math.inf)


class Ranges:
    """The least and the greatest value of each metric of a record with requests in doubt."""

    def __init__(self, record: RunRecord, doubt: Doubt) -> None:
        self._record, self._doubt = record, doubt

    def of(self, metric: Metric) -> Interval | None:
        """Return the least and the greatest value of *metric* over all that is open.

        None where the record could not see the metric and no open request would show it.
        """
        if metric.part is not None:
            return self._of_part(metric)
        if isinstance(metric.what, Ratio):
            return self._ratio(metric.what)
        if isinstance(metric.what, Charge):
            return None if self._record.metric(metric) is None else _ANY
        if metric.function == "peak":
            peak = self._record.memory_peak
            return None if peak is None else (peak, peak * self._doubt.memory)
        if metric.what is None:
            best, worst = self._of_endpoint(metric.series)
            return self._times(metric, best, worst, worst_mean=self._worst_mean(metric))
        if metric.series not in self._record.stages:
            return None
        if isinstance(metric.what, Stage) and metric.what.source == "region":
            return _ANY  # doubts are kept by endpoint
        best, worst = self._of_stage(self._record.stages[metric.series], metric.series)
        # A sample that could have had any value could have had the greatest.
        worst_mean = math.inf if worst.failed else _mean(worst)
        return self._times(metric, best, worst, worst_mean=worst_mean)

    def _of_part(self, metric: Metric) -> Interval | None:
        part = None if metric.part is None else self._record.parts.get(metric.part.name)
        if part is None:
            return None
        if part.doubt is None:
            return _ANY
        return Ranges(self._record.only(part), part.doubt).of(metric.whole)

    def _ratio(self, ratio: Ratio) -> Interval | None:
        if self._record.ratio(ratio) is None:
            return None
        found = self._share(ratio)
        if found is None:
            return _ANY
        return (1 - found[1], 1 - found[0]) if ratio.is_rest else found

    def _share(self, ratio: Ratio) -> Interval | None:
        """Return between what the counted part of *ratio* lies; None where nobody knows."""
        if ratio.of == ("requests",) and ratio.counted == ("requests.failed",):
            return self._errors()
        if ratio.of == ("reads",) and all(name.startswith("reads.") for name in ratio.counted):
            return self._reads(ratio.counted)
        counts = [self._count(name) for name in (*ratio.counted, *ratio.of)]
        if any(count is None for count in counts):
            return None
        pairs = [count for count in counts if count is not None]
        upper, lower = pairs[: len(ratio.counted)], pairs[len(ratio.counted) :]
        least, most = sum(low for low, _ in lower), sum(high for _, high in lower)
        return (
            sum(low for low, _ in upper) / most if most else 0.0,
            sum(high for _, high in upper) / least if least else math.inf,
        )

    def _count(self, name: str) -> tuple[int, int] | None:
        """Return the least and the greatest of a count by itself; None for a domain counter."""
        found = self._record.count(name)
        if found is None or name.startswith("counters."):
            return None
        absent, excused = sum(self._doubt.absent.values()), sum(self._doubt.excused.values())
        unknown, doubtful = self._doubt.unknown_reads, sum(self._doubt.reads.values())
        if name == "requests":
            return found + absent, found + absent
        if name == "requests.failed":
            return found - excused, found + absent
        if name in ("requests.attempts", "requests.first_failed"):
            return self._tries(name, found)
        if name == "reads":
            return found, found + unknown
        part = name.removeprefix("reads.")
        sure = found - self._in_doubt(part)
        return max(0, sure), max(0, sure) + doubtful + unknown

    def _tries(self, name: str, found: int) -> tuple[int, int]:
        """Return the least and the greatest count of attempts, or of first ones that failed.

        An open request may have been answered at once, or tried as often as may be.
        """
        absent = sum(self._doubt.absent.values())
        is_open = sum(self._doubt.excused.values())
        is_open += sum(histogram.count for histogram in self._doubt.late.values())
        if name == "requests.first_failed":
            return max(0, found - is_open), found + is_open + absent
        most = int(self._record.scenario["traffic"].get("retries", {}).get("attempts", 1))
        requests = self._record.count("requests") or 0
        least = max(requests, found - (most - 1) * is_open)
        return least + absent, found + (most - 1) * is_open + most * absent

    def _in_doubt(self, part: str) -> int:
        """Return how many reads counted as *part* are in doubt, at most.

        A negative or stale read is counted once more: any of those in doubt may have been one.
        """
        is_flag = part in ("negative", "stale")
        return sum(self._doubt.reads.values()) if is_flag else self._doubt.reads.get(part, 0)

    def _errors(self) -> Interval:
        absent = sum(self._doubt.absent.values())
        total = sum(h.count for h in self._record.latencies.values()) + absent
        failed = sum(h.failed for h in self._record.latencies.values())
        return (failed - sum(self._doubt.excused.values())) / total, (failed + absent) / total

    def failed_share(self, endpoint: str) -> Interval | None:
        """Return the least and the greatest share of an endpoint's requests that failed."""
        found = self._record.latencies.get(endpoint, LatencyHistogram())
        excused, absent = self._doubt.excused.get(endpoint, 0), self._doubt.absent.get(endpoint, 0)
        total = found.count + absent
        if not total:
            return None
        return (found.failed - excused) / total, (found.failed + absent) / total

    def _reads(self, counted: tuple[str, ...]) -> Interval:
        doubtful = sum(self._doubt.reads.values())
        parts = [name.removeprefix("reads.") for name in counted]
        sure = sum(self._record.count(name) or 0 for name in counted)
        sure = max(0, sure - sum(self._in_doubt(part) for part in parts))
        total = (self._record.count("reads") or 0) + self._doubt.unknown_reads
        return sure / total, min(1.0, (sure + doubtful + self._doubt.unknown_reads) / total)

    def _of_endpoint(self, name: str) -> tuple[LatencyHistogram, LatencyHistogram]:
        found = self._record.latencies.get(name, LatencyHistogram())
        late = self._doubt.late.get(name, LatencyHistogram())
        excused, absent = self._doubt.excused.get(name, 0), self._doubt.absent.get(name, 0)
        best, worst = _without(found, late), _without(found, LatencyHistogram())
        best.failed -= excused
        _add_instant(best, late.count + excused + absent)
        worst.failed += absent
        return best, worst

    def _worst_mean(self, metric: Metric) -> float:
        """Return the greatest mean of an endpoint: what is open succeeds at the time limit."""
        found = self._record.latencies.get(metric.series, LatencyHistogram())
        succeeded = sum(found.counts.values())
        if not succeeded:
            return math.inf
        more = self._doubt.excused.get(metric.series, 0) + self._doubt.absent.get(metric.series, 0)
        limit = self._time_limit(metric.series) if more else 0.0
        return max(found.mean, (found.total_ns * 1e-9 + more * limit) / (succeeded + more))

    def _time_limit(self, endpoint: str) -> float:
        scenario = self._record.scenario
        own = scenario.get("targets", {}).get(endpoint, {}).get("timeout")
        return parse_duration(own or scenario["timeout"])

    def _of_stage(
        self, found: LatencyHistogram, name: str
    ) -> tuple[LatencyHistogram, LatencyHistogram]:
        known = self._doubt.stages.get(name, LatencyHistogram())
        unplaced = min(self._doubt.unplaced.get(name, 0), found.count)
        unknown = self._doubt.unknown.get(name, 0)
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
        if self._doubt.is_timeless:
            return 0.0, math.inf
        if metric.quantile is not None:
            return best.quantile(metric.quantile), worst.quantile(metric.quantile)
        if metric.function == "max":
            return best.maximum, worst.maximum
        return _mean(best), worst_mean


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
