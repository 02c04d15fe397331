"""The figure of a panel: lines over one field, with bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from core.metrics.panel import Panel, Unit
from core.units import format_size
from reports import style, words

_COLOURS = (
    (style.BLUE, style.BLUE), (style.ORANGE, style.ORANGE_TEXT), (style.GREEN, style.GREEN_TEXT),
    (style.PINK, style.PINK_TEXT), (style.SKY, style.SKY_TEXT), (style.RED, style.RED_TEXT),
    (style.INK, style.INK), (style.MUTED, style.MUTED),
)  # fmt: skip
_DECADES = 12.0
"""Places this many times apart are drawn on a logarithmic scale."""


def text_of(unit: Unit, value: float) -> str:
    """Return *value* as people write it in *unit*; – for no number, ∞ for an infinite one."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if unit == "ratio":
        return f"{100 * value:.2f} %"
    if unit == "seconds":
        return words.axis_duration(value)
    if unit == "bytes":
        return format_size(value)
    if unit == "dollars":
        return f"${value:,.2f}"
    return f"{value:,.6g}"


def panel_figure(panel: Panel) -> Figure:
    """Draw *panel*; ValueError if it has no line or no place."""
    if not panel.lines or not panel.places:
        raise ValueError(f"the panel {panel.name} has nothing to draw")
    with style.drawing():
        title = words.wrapped(panel.finding.rstrip("."), 88)
        height = 4.2 + 0.23 * title.count("\n")
        figure = Figure(figsize=(9.6, height))
        axes = figure.add_axes((0.085, 0.52 / height, 0.68, 2.9 / height))
        _axes(axes, panel)
        ends = []
        for number, line in enumerate(panel.lines):
            colour, text = _COLOURS[number % len(_COLOURS)]
            if line.is_aside:
                axes.plot(panel.places, line.values, color=colour, lw=1.1, ls=style.DASHES)
            else:
                few = len(panel.places) <= 12
                axes.plot(panel.places, line.values, color=colour, marker="o" if few else "", ms=4)
            if line.intervals:
                lows, highs = zip(*line.intervals, strict=True)
                axes.fill_between(panel.places, lows, highs, color=colour, alpha=0.2, lw=0)
            known = [
                (x, y) for x, y in zip(panel.places, line.values, strict=True) if math.isfinite(y)
            ]
            if known:
                ends.append(
                    style.EndLabel(x=known[-1][0], y=known[-1][1], text=line.name, colour=text)
                )
        if panel.target is not None:
            axes.axhline(panel.target, color=style.INK, lw=1.1, ls=style.DASHES)
        if panel.mark is not None:
            axes.axvline(panel.mark, color=style.MUTED, lw=1.1, ls=style.DASHES)
        axes.set_ylim(axes.get_ylim())
        style.end_labels(axes, ends)
        style.headline(figure, title, panel.how)
        return figure


def _are_apart(places: Sequence[float]) -> bool:
    """Return whether labels at *places* leave room for one another."""
    room = 0.09 * (places[-1] - places[0])
    return all(after - before >= room for before, after in pairwise(places))


def _axes(axes: Axes, panel: Panel) -> None:
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    low, high = panel.places[0], panel.places[-1]
    if low > 0 and high / low >= _DECADES:
        axes.set_xscale("log")
        # A tick or two a decade: 1, 2, 5 only where the scale is short.
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 2000 else (1.0, 3.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    elif len(panel.places) <= 8 and _are_apart(panel.places):
        axes.set_xticks(panel.places)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlim(low, high) if high > low else axes.set_xlim(low - 1, high + 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: text_of(panel.x_unit, x)))
    if panel.y_unit == "ratio":
        top = max((v for line in panel.lines for v in line.values if math.isfinite(v)), default=1.0)
        axes.set_ylim(0, min(1.0, 1.08 * top) or 1.0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: text_of(panel.y_unit, y)))
    axes.yaxis.set_major_locator(MaxNLocator(6))
