"""What an OpenMetrics parser reads from a text."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families


def parsed(text: str) -> list[Metric]:
    """Return every family of *text*; ValueError if it is no OpenMetrics."""
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]  # no types
