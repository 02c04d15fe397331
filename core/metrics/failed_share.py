"""The share of an endpoint's requests that failed: kept of each run, and not a KPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.metrics.histogram import LatencyHistogram


@dataclass(frozen=True, slots=True)
class FailedShare:
    """The share of the judged requests of *endpoint* that failed, between 0 and 1."""

    endpoint: str

    @property
    def name(self) -> str:
        """How reports and records name it."""
        return f"failed({self.endpoint})"

    def of(self, latencies: Mapping[str, LatencyHistogram]) -> float | None:
        """Return the share in *latencies*, None where the endpoint has no request."""
        found = latencies.get(self.endpoint)
        return found.failed / found.count if found is not None and found.count else None
