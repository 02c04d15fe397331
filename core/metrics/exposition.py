"""Counters and histograms as Prometheus reads them: OpenMetrics, by prometheus-client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from core.metrics.histogram import LatencyHistogram

if TYPE_CHECKING:
    from prometheus_client.metrics_core import HistogramMetricFamily, Metric

BOUNDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0,
    10.0,
)  # fmt: skip
"""Upper bounds of the buckets in seconds, the same for every histogram, so that they add up."""

Labels = tuple[str, ...]


def rendered(families: Iterable[Metric], accepted: str = "") -> tuple[bytes, str]:
    """Return *families* as text and its content type.

    That is OpenMetrics 1.0, or Prometheus's older format where the header Accept (*accepted*) names
    text/plain and no OpenMetrics.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
    from prometheus_client.exposition import generate_latest as plain
    from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    types = {one.partition(";")[0].strip().lower() for one in accepted.split(",")}
    if "text/plain" in types and "application/openmetrics-text" not in types:
        return plain(registry), CONTENT_TYPE_PLAIN_0_0_4
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no types
    return text, CONTENT_TYPE_LATEST


def durations(
    name: str, documentation: str, labels: Sequence[str], found: Mapping[Labels, LatencyHistogram]
) -> HistogramMetricFamily:
    """Return a histogram of seconds; failed requests count as slower than every bound.

    They add nothing to the sum, as they have no latency.
    """
    from prometheus_client.metrics_core import HistogramMetricFamily

    family = HistogramMetricFamily(name, documentation, labels=labels, unit="seconds")
    for values, histogram in found.items():
        buckets = bucket_samples(histogram.at_most(BOUNDS), histogram.count)
        family.add_metric(values, buckets, histogram.total_ns * 1e-9)
    return family


def bucket_samples(counts: Iterable[int], total: int) -> list[tuple[str, float]]:
    """Return bound and count of each bucket: *counts* up to each of BOUNDS, *total* in all."""
    found = [(repr(bound), float(count)) for bound, count in zip(BOUNDS, counts, strict=True)]
    return [*found, ("+Inf", float(total))]


class _Families:
    """A collector of families that were made before."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return every family."""
        yield from self._families
