"""The samples of one kind and name, and the lines that they are held against."""

from __future__ import annotations

from dataclasses import dataclass

from core.histogram import LatencyHistogram


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

    __slots__ = ("errors", "histogram", "is_request", "kind", "name", "threshold", "warnings")

    def __init__(self, kind: str, name: str, threshold: Threshold) -> None:
        self.kind = kind
        self.name = name
        self.is_request = kind == "request"
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
