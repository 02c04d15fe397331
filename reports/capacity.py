"""The capacity figure: up to which arrival rate the KPIs hold, and which one gives way first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from core.metrics.capacity import CapacityPlan
from core.metrics.kpi import Kpi
from reports import style, words
from reports.capacity_words import capacity_finding, leading_kpi
from reports.figure import ReportFigure
from reports.report import Report

_COLOURS = (
    style.BLUE,
    style.ORANGE_TEXT,
    style.GREEN_TEXT,
    style.PINK_TEXT,
    style.SKY_TEXT,
    style.MUTED,
    style.INK,
    style.ORANGE,
)
_CEILING = 20.0  # of the allowance: beyond it, how far a KPI is lost no longer matters
_FLOOR = 1e-3  # of the allowance: what is smaller cannot be told apart and lies at the edge


def capacity(plan: CapacityPlan, kpis: Sequence[Kpi]) -> Figure:
    """Draw one latency, and every KPI's use of its allowance, against the arrival rate.

    Raise ValueError if no rate was tried, or the plan knows none of *kpis*.
    """
    if not plan.points:
        raise ValueError("the plan holds no rate")
    if not any(_series(plan, kpi) for kpi in kpis):
        raise ValueError("the plan holds none of the KPIs")
    with style.drawing():
        title = words.wrapped(capacity_finding(plan), 88)
        height = 4.1 + 0.23 * title.count("\n")
        figure = Figure(figsize=(9.6, height))
        left = figure.add_axes((0.075, 0.52 / height, 0.36, 2.75 / height))
        right = figure.add_axes((0.51, 0.52 / height, 0.315, 2.75 / height))
        for axes in (left, right):
            _rates(axes, plan)
        kpi = _leading(plan, kpis)
        if kpi is not None:
            _values(left, plan, kpi)
        _shares(right, plan, kpis)
        rates = f"each of {len(plan.points)} arrival rates (dots)"
        runs = words.count_of(plan.replications, "replication")
        how = f"Predicted: mean of {runs} at {rates}."
        if plan.engine == "load":
            how = f"Measured: one load at {rates}; the median where one broke, the mean where held."
        style.headline(figure, title, how)
        return figure


def _leading(plan: CapacityPlan, kpis: Sequence[Kpi]) -> Kpi | None:
    """Return the KPI of the left panel: the one that breaks first, else a latency, p95 of track."""
    if (first := leading_kpi(plan, kpis)) is not None:
        return first
    known = [k for k in kpis if k.metric.unit == "seconds" and _series(plan, k)]
    for name in (*plan.breaks_first, "p95_track"):
        for kpi in known:
            if kpi.name == name:
                return kpi
    return known[0] if known else None


def _series(plan: CapacityPlan, kpi: Kpi) -> list[tuple[float, float]]:
    return [(p.rate, p.values[kpi.name]) for p in plan.points if kpi.name in p.values]


def _most(plan: CapacityPlan) -> float | None:
    """Return the knee, or else the highest rate tried at which every KPI holds."""
    return plan.highest_rate if plan.knee is None else plan.knee.rate


def _rates(axes: Axes, plan: CapacityPlan) -> None:
    rates = [point.rate for point in plan.points]
    span = (max(rates) - min(rates)) or max(rates) or 1.0
    axes.set_xlim(max(0.0, min(rates) - 0.05 * span), max(rates) + 0.05 * span)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=max(rates) > 10))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))
    axes.set_xlabel("arrival rate, requests/s")
    high = axes.get_xlim()[1]
    if plan.breaking_rate is not None:
        axes.axvspan(plan.breaking_rate, high, color=style.BAD_TINT, lw=0, zorder=0)
        if plan.highest_rate is not None:
            axes.axvspan(
                plan.highest_rate, plan.breaking_rate, color=style.FAIR_TINT, lw=0, zorder=0
            )
    if (most := _most(plan)) is not None:
        axes.axvline(most, color=style.GREEN, lw=1.3, zorder=1)


def _values(axes: Axes, plan: CapacityPlan, kpi: Kpi) -> None:
    points = _series(plan, kpi)
    is_log = kpi.metric.unit == "seconds"
    finite = [(rate, value) for rate, value in points if math.isfinite(value) and value >= 0]
    if is_log:
        finite = [(rate, value) for rate, value in finite if value > 0]
    values = [value for _, value in finite]
    target = kpi.target.value
    if is_log:
        low, high = min([*values, target]) / 1.7, max([*values, target]) * 2.2
        axes.set_yscale("log")
        steps = (1.0,) if high / low > 80 else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: words.axis_duration(y)))
        axes.set_ylabel("response time (log)")
    else:
        span = (max([*values, target]) - min([*values, target])) or target or 1.0
        low, high = min([*values, target]) - 0.2 * span, max([*values, target]) + 0.25 * span
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: kpi.metric.format(y)))
    axes.set_ylim(low, high)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title(f"{kpi.name}")
    bands = [
        (point.rate, *point.intervals[kpi.name])
        for point in plan.points
        if kpi.name in point.intervals and math.isfinite(point.intervals[kpi.name][1])
    ]
    if bands:
        rates, lows, highs = zip(*bands, strict=True)
        clipped = [max(end, low) for end in lows], [min(end, high) for end in highs]
        axes.fill_between(rates, *clipped, color=style.BLUE, alpha=0.25, lw=0, zorder=1.5)
    axes.plot(*zip(*finite, strict=True), color=style.BLUE, marker="o", ms=4)
    lost = [rate for rate, value in points if math.isinf(value)]
    if lost:
        axes.plot(lost, [high] * len(lost), "^", ms=6, color=style.RED, clip_on=False)
        is_late = lost[0] > sum(axes.get_xlim()) / 2
        axes.annotate(
            "beyond any limit: requests fail",
            (lost[0], high),
            xytext=(-7, -3) if is_late else (-3, -12),
            textcoords="offset points",
            ha="right" if is_late else "left",
            va="center",
            fontsize=8,
            color=style.RED_TEXT,
            bbox=style.backing(),
        )
    axes.axhline(target, color=style.INK, lw=1.1, ls=style.DASHES)
    axes.annotate(
        f"target {kpi.target_text}",
        (axes.get_xlim()[0], target),
        xytext=(5, 4),
        textcoords="offset points",
        fontsize=8,
        color=style.INK,
        bbox=style.backing(),
    )
    if plan.knee is not None:
        axes.axvspan(*plan.knee.interval, color=style.GREEN, alpha=0.25, lw=0, zorder=1)
    if (most := _most(plan)) is not None:
        is_left = most < sum(axes.get_xlim()) / 2
        axes.annotate(
            f"holds up to {words.rate_text(most)}",
            (most, low),
            xytext=(5 if is_left else -5, 7),
            textcoords="offset points",
            ha="left" if is_left else "right",
            fontsize=8.5,
            fontweight="bold",
            color=style.GREEN_TEXT,
            bbox=style.backing(),
        )


def _shares(axes: Axes, plan: CapacityPlan, kpis: Sequence[Kpi]) -> None:
    axes.set_yscale("log")
    curves: list[tuple[Kpi, list[tuple[float, float]]]] = []
    for kpi in kpis:
        shares = [(rate, words.used(kpi, value)) for rate, value in _series(plan, kpi)]
        if shares:
            curves.append((kpi, shares))
    finite = [s for _, shares in curves for _, s in shares if _FLOOR < s < math.inf]
    low, high = min([*finite, 0.5]) / 1.6, min(_CEILING, max([*finite, 1.0]) * 2.0)
    axes.set_ylim(low, high)
    labels = []
    colours = iter(_COLOURS * len(kpis))
    for kpi, shares in curves:
        breaks = kpi.name in plan.breaks_first
        colour = style.RED_TEXT if breaks else next(colours)
        drawn = [(rate, min(max(share, low), 1e9)) for rate, share in shares]
        axes.plot(
            *zip(*drawn, strict=True), color=colour, lw=2.4 if breaks else 1.3, marker="o", ms=2.5
        )
        text = f"{kpi.name} (first)" if breaks else kpi.name
        if drawn[-1][1] > high:
            text = f"↑ {text}"
        labels.append(
            style.EndLabel(
                x=axes.get_xlim()[1], y=min(drawn[-1][1], high), text=text, colour=colour
            )
        )
    axes.axhline(1.0, color=style.INK, lw=1.1, ls=style.DASHES)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 30 else (1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    axes.set_title("Every KPI: allowance used (100 % is the target)")
    style.end_labels(axes, labels, size=8)


def _draw(report: Report) -> Figure:
    assert report.plan is not None  # it is drawn for plans alone
    return capacity(report.plan, report.judged)


CAPACITY = ReportFigure(
    name="capacity",
    heading="Capacity",
    how="Green line: up to where every KPI holds. Bands: 95 % confidence"
    " intervals of the means, and in green that of the knee. Yellow: the gap to the first"
    " rate at which one does not. Red: from that rate on. On the right, 100 % is each KPI's own"
    " target.",
    is_drawn=lambda report: report.plan is not None and bool(report.plan.points),
    draw=_draw,
)
