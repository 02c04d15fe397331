"""The KPIs of a scenario: what is promised about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import ValidationInfo, model_validator

from core.endpoints import CDP
from core.metrics.kpi import Kpi, parse_kpi
from core.scenario.by_endpoint import endpoints_of
from core.scenario.table import Table


class KpiSpec(Table):
    """One promise, as text: metric = "p95(track)", target = "< 100ms", alert = "> 200ms"."""

    metric: str
    target: str
    alert: str

    @model_validator(mode="after")
    def _reads_as_a_kpi(self, info: ValidationInfo) -> Self:
        self.parsed(endpoints_of(info).names)
        return self

    def parsed(self, endpoints: Sequence[str] = CDP.names) -> Kpi:
        """Return the KPI that the three texts describe.

        endpoints: names of those that there are.
        """
        return parse_kpi(self.metric, self.target, self.alert, endpoints)


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
