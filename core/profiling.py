"""The latency profiler: bounded memory, constant time per sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.histogram import LatencyHistogram

BUCKET_BYTES = 85
"""Counted for a histogram bucket: a dict slot and two integers (`python -m bench.sizes`)."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Seconds above which a sample is worth a warning, and above which it is an error."""

    warning: float
    error: float


THRESHOLDS = {
    "request": Threshold(0.100, 0.200),
    "query": Threshold(0.050, 0.100),
    "cache": Threshold(0.050, 0.250),
    "external": Threshold(0.500, 2.000),
    "queue": Threshold(0.500, 2.000),
}
"""By kind. The cache lines are those of the edge store (p95 50 ms, p99 250 ms), not of memory."""


class Profile:
    """The samples of one kind and name, and how many crossed the kind's lines."""

    __slots__ = ("errors", "histogram", "threshold", "warnings")

    def __init__(self, threshold: Threshold) -> None:
        self.histogram = LatencyHistogram()
        self.threshold = threshold
        self.warnings = 0
        self.errors = 0

    def record(self, seconds: float) -> None:
        """Count one sample."""
        self.histogram.record(seconds)
        if seconds > self.threshold.warning:
            if seconds > self.threshold.error:
                self.errors += 1
            else:
                self.warnings += 1

    def fail(self) -> None:
        """Count one operation that never succeeded: slower than any limit."""
        self.histogram.fail()
        self.errors += 1


class LatencyProfiler:
    """Latencies by kind (request, query, cache, external, queue) and by name within the kind."""

    __slots__ = ("_profiles",)

    def __init__(self) -> None:
        self._profiles: dict[tuple[str, str], Profile] = {}

    def profile(self, kind: str, name: str) -> Profile:
        """Return the profile of *name*, whose `record` can be kept and called; KeyError for a kind
        that has no thresholds."""
        found = self._profiles.get((kind, name))
        if found is None:
            found = self._profiles[kind, name] = Profile(THRESHOLDS[kind])
        return found

    def record(self, kind: str, name: str, seconds: float) -> None:
        """Count one sample of *seconds*."""
        self.profile(kind, name).record(seconds)

    def names(self, kind: str) -> list[str]:
        """Return the names seen of *kind*, in the order of their first sample."""
        return [name for seen, name in self._profiles if seen == kind]

    def histogram(self, kind: str) -> LatencyHistogram:
        """Return all samples of *kind* in one histogram."""
        merged = LatencyHistogram()
        for (seen, _), profile in self._profiles.items():
            if seen == kind:
                merged.add(profile.histogram)
        return merged

    def counted_bytes(self) -> int:
        """Return the bytes that memory accounting charges for the profiler."""
        return BUCKET_BYTES * sum(len(p.histogram.counts) for p in self._profiles.values())

    def summary(self, kind: str) -> dict[str, Any]:
        """Return count, mean, p50, p95, p99 and max in milliseconds, over all names of *kind*."""
        histogram = self.histogram(kind)
        crossed = [p for (seen, _), p in self._profiles.items() if seen == kind]
        return summarise(histogram) | {
            "warnings": sum(profile.warnings for profile in crossed),
            "errors": sum(profile.errors for profile in crossed),
        }

    def summary_by_name(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the figures of each name of *kind*."""
        return {name: summarise(self.profile(kind, name).histogram) for name in self.names(kind)}


def summarise(histogram: LatencyHistogram) -> dict[str, Any]:
    """Return count, failures, avg, p50, p95, p99 and max in milliseconds.

    null where nothing was recorded, and where a percentile falls on an operation that failed.
    """
    found: dict[str, Any] = {"total": histogram.count, "failed": histogram.failed}
    names = ("avg", "p50", "p95", "p99", "max")
    if not histogram.counts:
        return found | dict.fromkeys(names)
    quantiles = histogram.quantiles((0.5, 0.95, 0.99))
    values = (histogram.mean, *quantiles, 1e-9 * histogram.maximum_ns)
    return found | {
        name: None if math.isinf(value) else 1e3 * value
        for name, value in zip(names, values, strict=True)
    }
