"""The KPIs of a scenario: what is promised about it."""

from __future__ import annotations

from core.metrics.kpi import Kpi, parse_kpi
from core.metrics.metric_table import BUILT_IN, MetricTable
from core.scenario.table import Table


class KpiSpec(Table):
    """One promise, as text: metric = "p95(track)", target = "< 100ms", alert = "> 200ms"."""

    metric: str
    target: str
    alert: str

    def parsed(self, table: MetricTable = BUILT_IN) -> Kpi:
        """Return the KPI that the three texts describe; ValueError if they describe none.

        table: the stages and ratios that there are.
        """
        return parse_kpi(self.metric, self.target, self.alert, table)


DEFAULT_KPIS = (
    KpiSpec(metric="hit_ratio", target=">= 95%", alert="< 85%"),
    KpiSpec(metric="p95_track", target="< 100ms", alert="> 200ms"),
    KpiSpec(metric="p95_attribution", target="< 500ms", alert="> 1000ms"),
    KpiSpec(metric="p95_query", target="< 50ms", alert="> 100ms"),
    KpiSpec(metric="p95_queue", target="< 500ms", alert="> 2000ms"),
    KpiSpec(metric="peak_memory", target="< 96MB", alert="> 128MB"),
    KpiSpec(metric="p95_cpu", target="< 50ms", alert="> 150ms"),
    KpiSpec(metric="error_ratio", target="< 0.1%", alert="> 1%"),
)
