"""The KPIs of a scenario: what is promised about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.errors import InputError
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


_ASKED = re.compile(
    r"\s*(?P<metric>[^<>=]+?)\s*(?P<target>[<>]=?[^,]*?)\s*(?:,\s*alert\s*(?P<alert>[<>].*?))?\s*"
)
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def kpi_of(text: str) -> KpiSpec:
    """Return the KPI that *text* ("p95(track) < 300ms, alert > 600ms") describes.

    Without an alert line that is the target: what misses it FAILs. Raise ValueError if the text
    is not written so; what it says is not checked.
    """
    match = _ASKED.fullmatch(text)
    if match is None:
        raise ValueError("write it as 'p95(track) < 300ms' or 'p95(track) < 300ms, alert > 600ms'")
    target = match["target"]
    comparison = target[: 2 if target[1:2] == "=" else 1]
    alert = match["alert"] or f"{_OPPOSITE[comparison]} {target[len(comparison) :].strip()}"
    return KpiSpec(metric=match["metric"], target=target, alert=alert)


def with_kpis(
    specs: Sequence[KpiSpec], texts: Sequence[str], table: MetricTable
) -> tuple[list[KpiSpec], dict[int, str]]:
    """Return *specs* with the KPIs of the command line, and at which position each of these is.

    One of a metric that *specs* have takes its place, any other comes last. Raise InputError for a
    text that describes no KPI, or a metric that two of *texts* name.
    """
    found = list(specs)
    names = [spec.parsed(table).name for spec in specs]
    positions: dict[int, str] = {}
    for text in texts:
        option = f"--kpi {text!r}"
        try:
            spec = kpi_of(text)
            name = spec.parsed(table).name
        except ValueError as error:
            raise InputError(f"{option}: {error}") from None
        if name not in names:
            names.append(name)
            found.append(spec)
        position = names.index(name)
        if position in positions:
            raise InputError(f"{option}: {name} is given twice; keep one of the two")
        found[position] = spec
        positions[position] = option
    return found, positions
