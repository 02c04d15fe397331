"""The latency profiler: bounded memory, constant time per sample."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from core.clock import Clock
from core.metrics.histogram import LatencyHistogram
from core.metrics.profile import THRESHOLDS, Profile, Threshold
from core.metrics.span import ProfiledSpan, SlowRequest, land

BUCKET_BYTES = 85
"""Counted for a histogram bucket: a dict slot and two integers (`python -m bench.sizes`)."""

MAX_NAMES = 1_000
"""Names over all kinds; what comes under further ones is counted under OTHER of its kind."""

OTHER = "(other)"
SLOW_KEPT = 20


class LatencyProfiler:
    """Latencies by kind (request, query, cache, external, queue) and by name within the kind.

    clock: what spans are timed by; a profiler of samples that others have timed needs none.
    thresholds: the kinds that there are, and their lines. slow_kept: how many of the last
    requests that crossed their warning line, or failed, are kept with their stages.
    has_spans: whether one was ever asked for; until then no sample looks for a request around it.
    For one thread: spans and samples of an event loop's tasks, not of several threads.
    """

    __slots__ = ("_clock", "_profiles", "_slow", "_spanned", "_thresholds", "has_spans")

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        thresholds: Mapping[str, Threshold] = THRESHOLDS,
        slow_kept: int = SLOW_KEPT,
    ) -> None:
        self._clock = clock
        self._thresholds = thresholds
        self._profiles: dict[tuple[str, str], Profile] = {}
        self._spanned: dict[tuple[str, str], Profile] = {}  # those that a span was asked for
        self._slow: deque[SlowRequest] = deque(maxlen=slow_kept)
        self.has_spans = False

    def profile(self, kind: str, name: str) -> Profile:
        """Return the profile of *name*, whose `record` can be kept and called.

        ValueError that lists the kinds for a kind that has no thresholds.
        """
        found = self._profiles.get((kind, name))
        return self._new_profile(kind, name) if found is None else found

    def _new_profile(self, kind: str, name: str) -> Profile:
        threshold = self._thresholds.get(kind)
        if threshold is None:
            known = ", ".join(self._thresholds)
            raise ValueError(f"{kind!r} is no kind of this profiler; use one of {known}")
        if len(self._profiles) >= MAX_NAMES and name != OTHER:
            return self.profile(kind, OTHER)
        now = _no_clock if self._clock is None else self._clock.now
        profile = Profile(kind, name, threshold, now=now, slow=self._slow)
        self._profiles[kind, name] = profile
        return profile

    def span(self, kind: str, name: str) -> ProfiledSpan:
        """Return a context manager that times what runs in it as one sample of *name*.

        What is opened inside it, across awaits and in tasks started there, is nested in it, and
        what is nested in a request lands on that request. An exception counts as a failure and
        passes. ValueError for a kind without thresholds, and for a profiler without a clock.
        """
        found = self._spanned.get((kind, name))
        return ProfiledSpan(self._to_span(kind, name) if found is None else found)

    def _to_span(self, kind: str, name: str) -> Profile:
        if self._clock is None:
            _no_clock()
        self.has_spans = True
        found = self.profile(kind, name)
        if found.name == name:  # of names that share a profile there is no end
            self._spanned[kind, name] = found
        return found

    def record(self, kind: str, name: str, seconds: float) -> None:
        """Count one sample of *seconds* that has just ended; it lands on the request around it."""
        profile = self.profile(kind, name)
        profile.record(seconds)
        if self.has_spans:
            land(profile, seconds)

    def fail(self, kind: str, name: str, seconds: float) -> None:
        """Count one operation that failed after *seconds*; it lands on the request around it."""
        profile = self.profile(kind, name)
        profile.fail()
        if self.has_spans:
            land(profile, seconds, is_failed=True)

    def slow_requests(self) -> list[SlowRequest]:
        """Return the last requests that crossed their warning line or failed, latest last."""
        return list(self._slow)

    def kinds(self) -> list[str]:
        """Return the kinds that samples came in, in the order of their first sample."""
        return list(dict.fromkeys(kind for kind, _ in self._profiles))

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


def _no_clock() -> float:
    raise ValueError("a profiler without a clock times no spans; give it one")


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
