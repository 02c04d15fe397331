"""The KPIs of a scenario: what is promised about it."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from core.metrics.kpi import Kpi, parse_kpi
from core.scenario.table import Table


class KpiSpec(Table):
    """One promise, as text: metric = "p95(track)", target = "< 100ms", alert = "> 200ms"."""

    metric: str
    target: str
    alert: str

    @model_validator(mode="after")
    def _reads_as_a_kpi(self) -> Self:
        self.parsed()
        return self

    def parsed(self) -> Kpi:
        """Return the KPI that the three texts describe."""
        return parse_kpi(self.metric, self.target, self.alert)


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
