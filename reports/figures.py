"""Every figure that a report has the data for."""

from __future__ import annotations

from matplotlib.figure import Figure

from reports.capacity import capacity
from reports.report import Report
from reports.scorecard import scorecard
from reports.spectrum import spectrum
from reports.timeline import timeline

__all__ = ["capacity", "draw", "scorecard", "spectrum", "timeline"]


def draw(report: Report) -> dict[str, Figure]:
    """Return the figures of *report* by name, in the order in which they are read."""
    figures: dict[str, Figure] = {}
    sides = [record for record in (report.predicted, report.measured) if record is not None]
    if report.rows:
        figures["scorecard"] = scorecard(report.rows)
    if any(h.count for r in sides for hs in (r.latencies, r.stages) for h in hs.values()):
        figures["spectrum"] = spectrum(report.predicted, report.measured, report.judged)
    if sides:
        figures["timeline"] = timeline(report.predicted, report.measured, report.judged)
    if report.plan is not None and report.plan.points:
        figures["capacity"] = capacity(report.plan, report.judged)
    return figures
