"""What is kept of each further run, so that several runs give means and intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from core.endpoints import CDP, EndpointTable
from core.metrics.charge import CHARGES
from core.metrics.failed_share import FailedShare
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


def kept_figures(
    endpoints: EndpointTable, judged: Iterable[Metric] = ()
) -> tuple[Metric | FailedShare, ...]:
    """Return what every further run keeps.

    `summary_metrics`, those *judged*, failed shares, and figures of cost.
    """
    shares = map(FailedShare, endpoints.names)
    charges = (Metric(each.function, each.name, each) for each in CHARGES)
    return tuple(dict.fromkeys((*summary_metrics(endpoints), *judged, *shares, *charges)))


def summary(record: RunRecord, figures: Sequence[Metric | FailedShare]) -> dict[str, float]:
    """Return the values of *figures* that *record* has, by name."""
    values = {figure.name: own(record, figure) for figure in figures}
    return {name: value for name, value in values.items() if value is not None}


def own(record: RunRecord, figure: Metric | FailedShare) -> float | None:
    """Return *figure* of this one run, None if it could not see it."""
    if isinstance(figure, FailedShare):
        return figure.of(record.latencies)
    return record.metric(figure)
