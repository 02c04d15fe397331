"""The percentile spectrum: how slow the slowest requests are, predicted against measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Kpi, Outcome, Verdict
from core.metrics.record import RunRecord
from core.metrics.verdict import compare
from reports import style, words
from reports.figure import ReportFigure
from reports.report import Report
from reports.scorecard import OUTCOME_COLOURS

STAGES = ("query", "queue")
BEYOND = 10
"""Requests that have to lie beyond a percentile for it to be drawn."""
_START = 1.25
_TICKS = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_ROOM = 0.32  # of a panel's width, to the right of a line's end: enough for its label
_LEFT, _RIGHT, _BETWEEN = 0.068, 0.985, 0.08
_PANEL_INCHES, _GAP_INCHES = 1.55, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    series: str
    predicted: LatencyHistogram | None
    measured: LatencyHistogram | None
    verdict: Verdict | None
    is_one_of_several: bool

    @property
    def decisive(self) -> LatencyHistogram:
        histogram = self.measured or self.predicted
        assert histogram is not None  # panels without a side are not made
        return histogram

    @property
    def quantile(self) -> float:
        """The quantile that the panel talks about: its KPI's, else p95."""
        return (self.verdict.kpi.metric.quantile if self.verdict else None) or 0.95


def spectrum(
    predicted: RunRecord | None, measured: RunRecord | None, kpis: Sequence[Kpi]
) -> Figure:
    """Draw latency against percentile, one panel for each endpoint, the query and the queue.

    The axis is 1/(1-q) on a log scale, up to the percentile that 10 requests lie beyond. Raise
    ValueError if neither record holds a latency.
    """
    sides = [record for record in (predicted, measured) if record is not None]
    names = dict.fromkeys(name for record in sides for name in record.endpoints.names)
    series = (*names, *STAGES)
    panels = [
        panel for name in series if (panel := _panel(name, predicted, measured, kpis)) is not None
    ]
    if not panels:
        raise ValueError("no latency was recorded")
    with style.drawing():
        columns = min(3, len(panels))
        rows = math.ceil(len(panels) / columns)
        title = words.wrapped(_title(panels), 88)
        top = 0.55 + 0.23 * (title.count("\n") + 1)
        height = top + rows * (_PANEL_INCHES + _GAP_INCHES) + 0.02
        figure = Figure(figsize=(9.6, height))
        ends = [_furthest(panel) for panel in panels]
        furthest = max(ends)
        if min(ends) > furthest ** (1 - _ROOM):  # then no panel has room for a label
            furthest = furthest ** (1 / (1 - _ROOM))
        for index, panel in enumerate(panels):
            row, column = divmod(index, columns)
            bottom = height - top - row * (_PANEL_INCHES + _GAP_INCHES) - 0.50 - _PANEL_INCHES
            step = (_RIGHT - _LEFT + _BETWEEN) / columns
            left, width = _LEFT + column * step, step - _BETWEEN
            axes = figure.add_axes((left, bottom / height, width, _PANEL_INCHES / height))
            _draw(axes, panel, furthest)
            if index + columns >= len(panels):
                axes.set_xlabel("percentile", loc="left", fontsize=8)
        style.headline(figure, title, _subtitle(predicted, measured))
        return figure


def _subtitle(predicted: RunRecord | None, measured: RunRecord | None) -> str:
    text = "Response time at each percentile, the slow end stretched (log 1/(1−q)); ringed: the one"
    record = measured or predicted
    if record is not None and record.runs > 1:
        return (
            f"{text} that a KPI is about. The curves are one run; the KPIs are judged on the mean"
            f" of {record.runs}."
        )
    return f"{text} that a KPI judges."


def _panel(
    series: str, predicted: RunRecord | None, measured: RunRecord | None, kpis: Sequence[Kpi]
) -> _Panel | None:
    left, right = _histogram(predicted, series), _histogram(measured, series)
    if left is None and right is None:
        return None
    kpi = next(
        (
            k
            for k in kpis
            if k.metric.series == series and k.metric.quantile and k.metric.part is None
        ),
        None,
    )
    row = compare([kpi], predicted, measured)[0] if kpi else None
    verdict = words.decisive(row) if row else None
    record = measured or predicted
    is_one = record is not None and record.runs > 1
    return _Panel(
        series=series, predicted=left, measured=right, verdict=verdict, is_one_of_several=is_one
    )


def _histogram(record: RunRecord | None, series: str) -> LatencyHistogram | None:
    if record is None:
        return None
    histogram = record.latencies.get(series) or record.stages.get(series)
    return histogram if histogram is not None and histogram.count else None


def _title(panels: Sequence[_Panel]) -> str:
    is_measured = any(p.measured for p in panels)
    judged = [p.verdict for p in panels if p.verdict is not None and p.verdict.value is not None]
    missed = [v.kpi.name for v in judged if v.outcome in (Outcome.WARN, Outcome.FAIL)]
    kept = [v for v in judged if v.outcome is Outcome.PASS]
    if missed:
        outcome = Outcome.WARN  # which misses its target, as one that FAILs does
        verb = words.verb(outcome, len(missed), is_measured=is_measured)
        text = f"{words.listed(missed)} {verb}" + (", as measured" if is_measured else "")
    elif kept and len(kept) == len(judged):
        every = (
            f"{words.all_of(len(kept))} percentile targets are"
            if len(kept) > 1
            else "The target is"
        )
        text = f"{every} {'kept, as measured' if is_measured else 'predicted to be kept'}"
    else:
        slowest = max(panels, key=lambda p: p.decisive.quantile(0.95))
        side = "as measured" if is_measured else "as predicted"
        text = f"{slowest.series} has the longest p95, {side}"
    errors = {p.series: e for p in panels if (e := _error(p)) is not None}
    if errors:
        worst = max(errors, key=lambda name: abs(errors[name]))
        text += f"; the prediction is up to {abs(100 * errors[worst]):.0f} % off ({worst})"
    return text


def _error(panel: _Panel) -> float | None:
    if panel.predicted is None or panel.measured is None:
        return None
    q = panel.quantile
    left, right = panel.predicted.quantile(q), panel.measured.quantile(q)
    if math.isinf(left) or math.isinf(right) or right == 0:
        return None
    return left / right - 1


def _furthest(panel: _Panel) -> float:
    sides = [h.count / BEYOND for h in (panel.predicted, panel.measured) if h is not None]
    return max(1.6 / (1 - panel.quantile), *sides)


def _curve(
    histogram: LatencyHistogram, q: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return 1/(1-q) as far as the number of requests allows, at least to *q*, and latencies."""
    odds = np.geomspace(_START, max(2.0, histogram.count / BEYOND, 1 / (1 - q)), 90)
    return odds, np.array(histogram.quantiles((1 - 1 / odds).tolist()))


def _draw(axes: Axes, panel: _Panel, furthest: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(_START, furthest)
    labels: list[style.EndLabel] = []
    seen: list[float] = []
    for histogram, word, colour, ink, dashes in (
        (panel.measured, "measured", style.MEASURED, style.MEASURED, "-"),
        (panel.predicted, "predicted", style.PREDICTED, style.PREDICTED_TEXT, style.DASHES),
    ):
        if histogram is None:
            continue
        odds, latency = _curve(histogram, panel.quantile)
        is_drawn = np.isfinite(latency)
        if not is_drawn.any():
            continue
        axes.plot(odds[is_drawn], latency[is_drawn], color=colour, ls=dashes)
        seen += latency[is_drawn].tolist()
        end_x, end_y = float(odds[is_drawn][-1]), float(latency[is_drawn][-1])
        labels.append(style.EndLabel(x=end_x, y=end_y, text=word, colour=ink))
    _limit(axes, panel, seen)
    _failures(axes, panel)
    _target(axes, panel)
    _words(axes, panel)
    if all(math.log(furthest / e.x) > _ROOM * math.log(furthest / _START) for e in labels):
        style.end_labels(axes, labels, size=8)
    axes.xaxis.set_major_locator(
        FixedLocator([1 / (1 - q) for q in _TICKS if 1 / (1 - q) <= furthest])
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"p{100 * (1 - 1 / x):.6g}"))


def _limit(axes: Axes, panel: _Panel, seen: Sequence[float]) -> None:
    values = [value for value in seen if value > 0]
    low, high = min(values, default=1e-3) / 1.25, max(values, default=1.0) * 1.5
    if panel.verdict is not None:
        target = panel.verdict.kpi.target.value
        low, high = min(low, target / 2.2), max(high, target * 2.2)
    if high / low < 8:
        low /= 2
    axes.set_ylim(low, high)
    wide = high / low > 150
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: words.axis_duration(y)))
    axes.tick_params(axis="both", length=3, labelsize=7.5)


def _failures(axes: Axes, panel: _Panel) -> None:
    """Shade the percentiles whose request failed: no latency is high enough for them."""
    histogram = panel.decisive
    if histogram.failed == 0:
        return
    odds = histogram.count / histogram.failed
    low, high = axes.get_xlim()
    if odds >= high:
        return
    axes.axvspan(max(odds, low), high, color=style.BAD_TINT, lw=0, zorder=0)
    axes.annotate(
        "failed when measured" if panel.measured else "failed",
        (high, axes.get_ylim()[0]),
        xytext=(-3, 5),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        fontweight="bold",
        color=style.RED_TEXT,
        bbox=style.backing(),
    )


def _target(axes: Axes, panel: _Panel) -> None:
    if panel.verdict is None:
        return
    kpi, odds = panel.verdict.kpi, 1 / (1 - panel.quantile)
    value = panel.decisive.quantile(panel.quantile)
    colour = OUTCOME_COLOURS[panel.verdict.outcome]
    line = [odds / 2.2, odds * 2.2]
    axes.plot(
        line, [kpi.target.value] * 2, color=style.INK, lw=2.4, solid_capstyle="butt", zorder=4
    )
    is_above = value <= kpi.target.value
    axes.annotate(
        f"target {kpi.target_text}",
        (odds, kpi.target.value),
        xytext=(0, 5 if is_above else -5),
        textcoords="offset points",
        ha="center",
        va="bottom" if is_above else "top",
        fontsize=7.5,
        color=style.INK,
        bbox=style.backing(),
        zorder=6,
    )
    if not math.isinf(value):
        axes.plot([odds, odds], [value, kpi.target.value], color=colour, lw=0.9, ls=":", zorder=3)
        axes.plot([odds], [value], "o", ms=6, mfc=style.PAPER, mec=colour, mew=1.7, zorder=5)


def _words(axes: Axes, panel: _Panel) -> None:
    q, name = panel.quantile, f"p{100 * panel.quantile:g}"
    lines: list[tuple[str, str]] = []
    if panel.measured is not None:
        said = f"{name} of one run" if panel.is_one_of_several else f"measured {name}"
        text = f"━ {said} {words.duration(panel.measured.quantile(q))}"
        lines.append((text, style.MEASURED))
    if panel.predicted is not None:
        is_one = panel.is_one_of_several and panel.measured is None
        said = f"{name} of one run" if is_one else f"predicted {name}"
        text = f"╌ {said} {words.duration(panel.predicted.quantile(q))}"
        if (error := _error(panel)) is not None:
            text += f" ({words.signed_percent(error)})"
        lines.append((text, style.PREDICTED_TEXT))
    for row, (text, colour) in enumerate(reversed(lines)):
        _above(axes, text, 5 + 11 * row, colour=colour)
    top = 6 + 11 * len(lines)
    _above(axes, panel.series, top, size=9.5, weight="bold")
    if panel.verdict is not None:
        outcome = panel.verdict.outcome
        colour = OUTCOME_COLOURS[outcome]
        text = words.said(outcome)
        _above(axes, text, top, size=9.5, colour=colour, weight="bold", side="right")


def _above(
    axes: Axes,
    text: str,
    dy: float,
    *,
    size: float = 8,
    colour: str = style.INK,
    weight: str = "normal",
    side: str = "left",
) -> None:
    axes.annotate(
        text,
        (1 if side == "right" else 0, 1),
        xytext=(0, dy),
        xycoords="axes fraction",
        textcoords="offset points",
        ha=side,
        fontsize=size,
        fontweight=weight,
        color=colour,
        annotation_clip=False,
    )


def _has_latencies(report: Report) -> bool:
    records = [record for record in (report.predicted, report.measured) if record is not None]
    return any(h.count for r in records for hs in (r.latencies, r.stages) for h in hs.values())


SPECTRUM = ReportFigure(
    name="spectrum",
    heading="Percentiles",
    how="p99 is the time that 99 of 100 stay below. A line ends where fewer than 10 requests"
    " are slower, except that it always reaches the percentile that is judged.",
    is_drawn=_has_latencies,
    draw=lambda report: spectrum(report.predicted, report.measured, report.judged),
)
