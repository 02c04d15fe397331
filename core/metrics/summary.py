"""What is kept of each further run, so that several runs give means and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from core.endpoints import CDP, EndpointTable
from core.metrics.kpi import ALIASES, Metric, parse_metric
from core.metrics.metric_table import BUILT_IN
from core.metrics.record import RunRecord


@lru_cache(maxsize=8)
def summary_metrics(endpoints: EndpointTable) -> tuple[Metric, ...]:
    """Return the metrics that every further run keeps, beside those that are judged."""
    names = endpoints.names
    alike = {f"p95_{name}" for name in CDP.names if name not in names}
    table = BUILT_IN.of_endpoints(names)
    return tuple(
        parse_metric(text, table)
        for text in (
            *(alias for alias in ALIASES if alias not in alike),
            *(f"p{q}({series})" for q in (50, 95, 99) for series in (*names, "query", "queue")),
            *(f"ratio({series})" for series in ("l1", "l2", "miss")),
        )
    )


def summary(record: RunRecord, metrics: Sequence[Metric]) -> dict[str, float]:
    """Return the values of *metrics* that *record* has, by name."""
    values = {metric.name: record.metric(metric) for metric in metrics}
    return {name: value for name, value in values.items() if value is not None}
