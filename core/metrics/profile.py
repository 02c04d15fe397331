"""The samples of one kind and name, and the lines that they are held against."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from core.metrics.histogram import LatencyHistogram


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


def thresholds_with(kinds: Iterable[str]) -> dict[str, Threshold]:
    """Return THRESHOLDS, and lines that no sample crosses for those of *kinds* without any."""
    return {kind: Threshold(math.inf, math.inf) for kind in kinds} | THRESHOLDS


class Profile:
    """The samples of one kind and name, and how many crossed the kind's lines.

    now: what spans are timed by; slow: takes the requests that crossed a line.
    """

    __slots__ = (
        "errors", "histogram", "is_request", "kind", "name", "now", "slow", "threshold", "warning",
        "warnings",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        name: str,
        threshold: Threshold,
        *,
        now: Callable[[], float],
        slow: deque[Any],
    ) -> None:
        self.kind = kind
        self.name = name
        self.now = now
        self.slow = slow
        self.is_request = kind == "request"
        self.histogram = LatencyHistogram()
        self.threshold = threshold
        self.warning = threshold.warning
        self.warnings = 0
        self.errors = 0

    def record(self, seconds: float) -> None:
        """Count one sample."""
        self.histogram.record(seconds)
        if seconds > self.warning:
            self.cross(seconds)

    def cross(self, seconds: float) -> None:
        """Count that a sample lies above the first line, or above the second."""
        if seconds > self.threshold.error:
            self.errors += 1
        else:
            self.warnings += 1

    def fail(self) -> None:
        """Count one operation that never succeeded: slower than any limit."""
        self.histogram.fail()
        self.errors += 1
