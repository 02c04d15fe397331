"""The tornado: how far each change of one field moves the knee of a plan."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import blended_transform_factory

from core.metrics.capacity import CapacityPlan
from core.metrics.what_helps import Effect, WhatHelps
from reports import style, words
from reports.figure import ReportFigure
from reports.helps_words import closed_text, difference, helps_finding, next_text, times_text
from reports.report import Report

MOST = 12
"""Changes that are drawn, the largest effects."""
_ROW = 0.72  # inches a change: a line of words, its bar, and a line of figures
_BAR = 0.30


def tornado(plan: CapacityPlan) -> Figure:
    """Draw the effects of *plan*, the largest first. Raise ValueError if it has none."""
    helps = plan.helps
    if helps is None or not helps.effects:
        raise ValueError("the plan has no effects")
    effects = _largest(helps)
    with style.drawing():
        title = words.wrapped(helps_finding(plan), 50)
        head = 0.62 + 0.22 * title.count("\n")
        height = head + _ROW * len(effects) + 0.52
        figure = Figure(figsize=(style.PHONE, height))
        axes = figure.add_axes((0.02, 0.48 / height, 0.96, _ROW * len(effects) / height))
        _scale(axes, effects)
        for position, effect in enumerate(effects):
            _bar(axes, position, effect)
            _texts(axes, position, effect, helps)
        style.headline(figure, title, _subtitle(helps))
        return figure


def _largest(helps: WhatHelps) -> list[Effect]:
    ranked = sorted(helps.effects, key=lambda e: -max(e.size, 1 / max(e.size, 1e-9)))
    return sorted(ranked[:MOST], key=lambda e: -e.size)


def _subtitle(helps: WhatHelps) -> str:
    return f"Predicted: one field changed at a time, mean of {helps.runs} replications."


def _scale(axes: Axes, effects: list[Effect]) -> None:
    axes.set_ylim(len(effects) - 0.5, -0.5)
    axes.yaxis.set_major_locator(NullLocator())
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    if effects[0].ratio is None:
        low = min(0.0, *(e.closed or 0.0 for e in effects))
        axes.set_xlim(low - 0.02, 1.06)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f} %"))
        axes.set_xlabel("share of the way to the targets that are missed", loc="left")
        _base(axes, 0.0, len(effects))
        return
    sizes = [end for e in effects for end in (e.size, *(e.interval or ()))]
    low, high = min(0.8, *sizes) / 1.08, max(1.25, *sizes) * 1.08
    axes.set_xscale("log")
    axes.set_xlim(max(low, 0.05), high)
    steps = (0.05, 0.1, 0.25, 0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
    shown = [step for step in steps if low <= step <= high]
    is_wide = high / low > 3
    axes.xaxis.set_major_locator(
        FixedLocator([s for s in shown if s not in (0.8, 1.25, 1.5) or not is_wide])
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("times the rate that holds today (log scale)", loc="left")
    _base(axes, 1.0, len(effects))


def _base(axes: Axes, x: float, number: int) -> None:
    """Draw where nothing changes, behind the bars alone."""
    for position in range(number):
        axes.plot([x, x], [position - 0.6 * _BAR, position + 0.6 * _BAR], color=style.INK, lw=1.3,
                  zorder=3)  # fmt: skip


def _bar(axes: Axes, position: int, effect: Effect) -> None:
    start = 0.0 if effect.ratio is None else 1.0
    end = (effect.closed or 0.0) if effect.ratio is None else effect.ratio
    helps = end >= start
    colour, tint = (style.GREEN, style.GOOD_TINT) if helps else (style.RED, style.BAD_TINT)
    axes.barh(position, end - start, _BAR, left=start, color=tint, ec=colour, lw=1.0, zorder=2)
    if effect.interval is not None:
        axes.plot(
            effect.interval, [position, position], color=colour, lw=4.0,
            solid_capstyle="butt", zorder=4,
        )  # fmt: skip
    elif effect.bound:
        marker = ">" if effect.bound == "at least" else "<"
        axes.plot([end], [position], marker, ms=7, color=colour, clip_on=False, zorder=4)


def _texts(axes: Axes, position: int, effect: Effect, helps: WhatHelps) -> None:
    across = blended_transform_factory(axes.transAxes, axes.transData)
    month, figures = "cost_per_month", []
    if effect.ratio is None:
        size = closed_text(effect)
    else:
        size = f"{times_text(effect)} times"
        if effect.rate is not None:
            figures.append(f"{_AT[effect.bound]}{words.rate_text(effect.rate)}")
        if effect.first:
            figures.append(f"then {next_text(effect)} breaks")
    if month in effect.costs:
        change = difference(helps.costs.get(month), effect.costs[month])
        figures.append("the same bill" if change == "the same" else f"{change} a month")
    for x, side, text, dy, weight, ink in (
        (0.0, "left", effect.name, 16, "bold", style.INK),
        (1.0, "right", size, 16, "bold", style.INK),
        (0.0, "left", ", ".join(figures), -16.5, "normal", style.MUTED),
    ):
        axes.annotate(
            text, (x, position), xytext=(0, dy), xycoords=across, textcoords="offset points",
            ha=side, va="center_baseline", fontsize=8.5, fontweight=weight, color=ink,
            annotation_clip=False,
        )  # fmt: skip


_AT = {"": "", "at least": "at least ", "at most": "less than "}


def _is_drawn(report: Report) -> bool:
    helps = None if report.plan is None else report.plan.helps
    return helps is not None and bool(helps.effects)


def _draw(report: Report) -> Figure:
    assert report.plan is not None  # it is drawn for plans alone
    return tornado(report.plan)


TORNADO = ReportFigure(
    name="tornado",
    heading="What helps most",
    how="Green bars help, red ones harm. The thick line is the 95 % confidence interval of the"
    " paired comparison; an arrow means that the effect goes beyond what was tried. Costs are"
    " those of today's traffic with the change and without it.",
    is_drawn=lambda report: (
        report.plan is not None
        and report.plan.helps is not None
        and bool(report.plan.helps.effects)
    ),
    draw=_draw,
)
