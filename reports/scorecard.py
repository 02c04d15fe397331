"""The scorecard: every KPI on one axis, as predicted and as measured, against its two lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from matplotlib.transforms import blended_transform_factory

from core.metrics.kpi import Interval, Kpi, Outcome, Verdict
from core.metrics.verdict import ComparisonRow
from reports import style, words
from reports.figure import ReportFigure
from reports.report import Report

OUTCOME_COLOURS = {
    Outcome.PASS: style.GREEN_TEXT,
    Outcome.WARN: style.ORANGE_TEXT,
    Outcome.FAIL: style.RED_TEXT,
    Outcome.INCONCLUSIVE: style.MUTED,
    Outcome.NOT_MEASURED: style.MUTED,
    Outcome.INVALID: style.RED_TEXT,
}
_FLOOR = 1e-3  # of the allowance: what is smaller stands at the edge, with an arrow
_BAR = 0.60
_APART = 0.15
_PREDICTED_X, _MEASURED_X, _OUTCOME_X = 1.045, 1.315, 1.585  # in widths of the track


def scorecard(rows: Sequence[ComparisonRow]) -> Figure:
    """Draw each of *rows* as a track from nothing to beyond its alert line.

    The axis is the share of the target's allowance that is used (`words.used`), so that 100 % is
    the target of every KPI. Raise ValueError if there is no row.
    """
    if not rows:
        raise ValueError("a scorecard needs at least one KPI")
    with style.drawing():
        title = words.wrapped(words.outcome_sentence(rows), 88)
        height = 1.42 + 0.52 * len(rows) + 0.22 * title.count("\n")
        figure = Figure(figsize=(9.6, height))
        axes = figure.add_axes((0.235, 0.62 / height, 0.385, 0.52 * len(rows) / height))
        low, high = _limits(rows)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        for position, row in enumerate(rows):
            _track(axes, position, row.kpi)
            _mark(axes, position - _APART, row.predicted, is_measured=False)
            _mark(axes, position + _APART, row.measured, is_measured=True)
            _texts(axes, position, row)
        _frame(axes, rows)
        style.headline(figure, title, _subtitle(rows))
        return figure


def _subtitle(rows: Sequence[ComparisonRow]) -> str:
    if close := words.closeness(rows):
        return f"{close[0].upper()}{close[1:]}."
    return "Each KPI on a scale of its own; what lies left of the black line meets its target."


def _limits(rows: Sequence[ComparisonRow]) -> tuple[float, float]:
    shares = [words.used(row.kpi, row.kpi.alert.value) for row in rows]
    verdicts = [v for row in rows for v in (row.predicted, row.measured) if v is not None]
    shares += [words.used(v.kpi, v.value) for v in verdicts if v.value is not None]
    finite = [share for share in shares if share > 0 and not math.isinf(share)]
    smallest, largest = min(finite, default=1.0), max(finite, default=1.0)
    return max(_FLOOR, min(0.1, smallest / 1.8)), min(1e4, max(4.0, largest * 1.6))


def _track(axes: Axes, position: int, kpi: Kpi) -> None:
    low, high = axes.get_xlim()
    alert = words.used(kpi, kpi.alert.value)
    alert = min(max(alert, 1.0), high)
    for start, end, tint in (
        (low, 1.0, style.GOOD_TINT),
        (1.0, alert, style.FAIR_TINT),
        (alert, high, style.BAD_TINT),
    ):
        if end > start:
            axes.barh(position, end - start, _BAR, left=start, color=tint, lw=0, zorder=1)
    axes.plot(
        [alert, alert],
        [position - _BAR / 2, position + _BAR / 2],
        color=style.RED,
        lw=1.6,
        solid_capstyle="butt",
        zorder=2,
    )


def _mark(axes: Axes, y: float, verdict: Verdict | None, *, is_measured: bool) -> None:
    if verdict is None or verdict.value is None:
        return
    low, high = axes.get_xlim()
    colour = style.MEASURED if is_measured else style.PREDICTED
    share = words.used(verdict.kpi, verdict.value)
    x, marker = min(max(share, low), high), "o" if is_measured else "D"
    if share < low:
        marker = "<"
    elif share > high:
        marker = ">"
    if verdict.interval is not None:
        start, end = _ends(verdict.kpi, verdict.interval, low, high)
        axes.plot([start, end], [y, y], color=colour, lw=3.2, solid_capstyle="butt", zorder=3)
    axes.plot(
        [x],
        [y],
        marker,
        ms=6.5 if is_measured else 5.5,
        mfc=colour if is_measured else style.PAPER,
        mec=colour,
        mew=1.5,
        clip_on=False,
        zorder=5 if is_measured else 4,
    )


def _ends(kpi: Kpi, interval: Interval, low: float, high: float) -> Interval:
    start, end = sorted(min(max(words.used(kpi, end), low), high) for end in interval)
    return start, end


def _texts(axes: Axes, position: int, row: ComparisonRow) -> None:
    across = blended_transform_factory(axes.transAxes, axes.transData)

    def write(x: float, above: str, below: str, colour: str, side: str = "left") -> None:
        for text, dy, size, weight, ink in (
            (above, 0.5 if not below else 5.5, 9.5, "bold", colour),
            (below, -6.5, 8, "normal", style.MUTED),
        ):
            axes.annotate(
                text,
                (x, position),
                xytext=(0, dy),
                xycoords=across,
                textcoords="offset points",
                ha=side,
                va="center_baseline",
                fontsize=size,
                fontweight=weight,
                color=ink,
                annotation_clip=False,
            )

    kpi = row.kpi
    bounds = f"target {kpi.target_text}, alert {kpi.alert_text}"
    write(-0.035, kpi.name, bounds, style.INK, "right")
    if row.predicted is not None:
        write(_PREDICTED_X, *words.figure_and_interval(row.predicted), style.PREDICTED_TEXT)
    if row.measured is not None:
        write(_MEASURED_X, *words.figure_and_interval(row.measured), style.MEASURED)
    outcome = words.outcome_of(row)
    below = words.differing_prediction(row)
    write(_OUTCOME_X, words.said(outcome), below, OUTCOME_COLOURS[outcome])


def _frame(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    axes.axvline(1.0, color=style.INK, lw=1.3, zorder=2.5)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.yaxis.set_major_locator(FixedLocator([]))
    low, high = axes.get_xlim()
    ticks = [10.0**power for power in range(-3, 5) if low <= 10.0**power <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g} %"))
    axes.set_xlabel(
        "share of the target's allowance that is used (log scale); red line: alert", loc="left"
    )
    heads = [(_OUTCOME_X, "outcome", style.MUTED)]
    if any(row.predicted is not None for row in rows):
        heads.append((_PREDICTED_X, "◇ predicted", style.PREDICTED_TEXT))
    if any(row.measured is not None for row in rows):
        heads.append((_MEASURED_X, "● measured", style.MEASURED))
    for x, text, colour in heads:
        axes.annotate(
            text,
            (x, 1),
            xytext=(0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8.5,
            color=colour,
        )
    axes.annotate(
        "target",
        (1.0, 1),
        xytext=(0, 6),
        xycoords=blended_transform_factory(axes.transData, axes.transAxes),
        textcoords="offset points",
        ha="center",
        fontsize=8.5,
        fontweight="bold",
        color=style.INK,
    )


_HOW = (
    "100 % is each KPI's own target, the red line its alert. For hit_ratio the scale counts the"
    " reads that missed against those that may miss. An arrow points to what lies beyond the scale."
)
_OF_INTERVAL = "A thick line behind a mark is the 95 % confidence interval of the mean."


def _how(report: Report) -> str:
    sides = [side for row in report.rows for side in (row.predicted, row.measured)]
    has_interval = any(side is not None and side.interval for side in sides)
    return f"{_HOW} {_OF_INTERVAL}" if has_interval else _HOW


SCORECARD = ReportFigure(
    name="scorecard",
    heading="Scorecard",
    how=_how,
    is_drawn=lambda report: bool(report.rows),
    draw=lambda report: scorecard(report.rows),
)
