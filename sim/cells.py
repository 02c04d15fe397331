"""What the replications of one scenario come to together: a cell of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from core.metrics.estimate import estimate_of
from core.metrics.kpi import Interval, Metric, judge
from core.metrics.record import estimate_of_metric
from core.metrics.summary import kept_figures
from core.metrics.sweep import SweepCell
from core.scenario.file import scenario_hash
from core.scenario.scenario import Scenario
from sim.rates import saturated
from sim.replications import Found


def cell_of(scenario: Scenario, found: Mapping[int, Found], values: Sequence[str]) -> SweepCell:
    """Return what the replications *found* of *scenario*, with a sweep's fields at *values*."""
    runs = [found[number] for number in sorted(found)]
    judged = scenario.judged()
    figures: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for figure in kept_figures(scenario.endpoints, (kpi.metric for kpi in judged)):
        seen = [run.metrics[figure.name] for run in runs if figure.name in run.metrics]
        if not seen or any(math.isnan(value) for value in seen):
            continue
        if isinstance(figure, Metric):
            mean = estimate_of_metric(figure, seen)
        else:
            mean = estimate_of(seen)
        figures[figure.name] = mean.value
        if mean.interval is not None:
            intervals[figure.name] = mean.interval
    return SweepCell(
        values=tuple(values),
        scenario_hash=scenario_hash(scenario),
        runs=len(runs),
        figures=figures,
        intervals=intervals,
        outcomes={
            kpi.name: str(judge(kpi, figures.get(kpi.name), intervals.get(kpi.name)).outcome)
            for kpi in judged
        }
        if runs
        else {},
        saturated=saturated(scenario, runs) if runs else (),
    )
