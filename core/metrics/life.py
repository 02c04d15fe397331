"""What is told of the lives of isolates, where a scenario states them."""

from __future__ import annotations

from core.metrics.metric_table import MetricTable
from core.metrics.ratio import Ratio
from core.metrics.stage import Stage

COLD = Stage(
    name="cold", source="simulated", title="requests' waits for an isolate to start",
)  # fmt: skip
"""A time for each request that had to wait: the one that started the isolate, and those behind."""

COLD_SHARE = Ratio(
    name="cold", counted=("requests.cold",), of=("requests",),
    title="requests that waited for an isolate to start",
)  # fmt: skip


def with_life(table: MetricTable, *, starts: bool) -> MetricTable:
    """Return *table* with what is told of isolates, if a scenario *starts* them in its run."""
    return table.extended(stages=(COLD,), ratios=(COLD_SHARE,)) if starts else table
