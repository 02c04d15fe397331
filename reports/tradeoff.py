"""Money against latency: what a field at several values costs, and how fast the answers are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from core.metrics.histogram import LatencyHistogram
from core.metrics.record import RunRecord
from core.units import format_dollars, format_duration
from reports import style, words
from reports.figure import ReportFigure
from reports.tables import Table

_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PINK)
_TEXTS = (style.BLUE, style.ORANGE_TEXT, style.GREEN_TEXT, style.PINK_TEXT)
_MARKERS = ("o", "D", "s", "^")
_NAMES = {"tiers.l1.ttl": "L1's TTL", "tiers.l2.ttl": "L2's TTLs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One value of a field, what it costs, and what it does.

    per_million, per_month: dollars. mean, p95: seconds of all requests. hits: share of the cache
    reads, None without any. is_base: whether it is the scenario as it was.
    """

    field: str
    value: str
    per_million: float
    per_month: float
    mean: float
    p95: float
    hits: float | None
    is_base: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain data; an infinite time is written as text."""
        return {
            name: "Infinity" if isinstance(value, float) and math.isinf(value) else value
            for name, value in asdict(self).items()
        }


def choice_of(field: str, value: str, record: RunRecord, *, is_base: bool) -> Choice | None:
    """Return what *record* tells of *value*; None if its cost is not known."""
    figures = record.cost.get("figures", {})
    if "cost_per_million" not in figures:
        return None
    together = LatencyHistogram()
    for histogram in record.latencies.values():
        together.add(histogram)
    totals = record.read_totals()
    reads = sum(totals.values())
    return Choice(
        field=field,
        value=value,
        per_million=figures["cost_per_million"],
        per_month=figures["cost_per_month"],
        mean=together.mean if together.counts else math.inf,
        p95=together.quantile(0.95),
        hits=(totals["l1"] + totals["l2"]) / reads if reads else None,
        is_base=is_base,
    )


def choices_table(choices: Sequence[Choice]) -> Table:
    """Return the header and a line for each of *choices*."""
    table: Table = [("field", "value", "1M requests", "a month", "mean", "p95", "hits")]
    table += [
        (
            each.field,
            f"{each.value} (as it is)" if each.is_base else each.value,
            format_dollars(each.per_million),
            format_dollars(each.per_month),
            words.duration(each.mean),
            words.duration(each.p95),
            words.DASH if each.hits is None else f"{100 * each.hits:.1f} %",
        )
        for each in choices
    ]
    return table


def headline(choices: Sequence[Choice]) -> str:
    """Return what the choices come to: the cheapest and the fastest, beside the scenario's own."""
    # Of equals the scenario's own stands: a change that changes nothing is no advice.
    cheapest = min(choices, key=lambda each: (each.per_million, each.mean, not each.is_base))
    fastest = min(choices, key=lambda each: (each.mean, each.per_million, not each.is_base))
    if len({(each.per_million, each.mean) for each in choices}) == 1 < len(choices):
        return f"No value of these changes cost or latency: {_figures(cheapest)}"
    if cheapest is fastest:
        return f"{_told(cheapest)} is cheapest and fastest: {_figures(cheapest)}"
    return (
        f"{_told(cheapest)} is cheapest, {_figures(cheapest)}; {_told(fastest)} is fastest, "
        f"{_figures(fastest)}"
    )


def _told(choice: Choice) -> str:
    if choice.is_base:
        return "The scenario as it is"
    name = _NAMES.get(choice.field, choice.field)
    return f"{name} {_value(choice)}"


def _value(choice: Choice) -> str:
    return f"× {choice.value[1:]}" if choice.value.startswith("x") else choice.value


def _figures(choice: Choice) -> str:
    return (
        f"{format_dollars(choice.per_million)} a million requests at {format_duration(choice.mean)}"
    )


def tradeoff(choices: Sequence[Choice]) -> Figure:
    """Draw the mean latency of all requests over the dollars of a million, a line a field.

    Raise ValueError for fewer than two choices.
    """
    drawn = [each for each in choices if math.isfinite(each.mean)]
    if len(drawn) < 2:
        raise ValueError("a trade-off needs two choices")
    fields = list(dict.fromkeys(each.field for each in drawn))
    with style.drawing():
        title = words.wrapped(headline(drawn), 84)
        more = 0.22 * title.count("\n")
        height = 4.5 + more
        figure = Figure(figsize=(9.6, height))
        axes = figure.add_axes((0.085, 0.56 / height, 0.875, (height - 1.3 - more) / height))
        _limits(axes, drawn)
        for number, field in enumerate(fields):
            colour, ink = _COLOURS[number % len(_COLOURS)], _TEXTS[number % len(_TEXTS)]
            points = [each for each in drawn if each.field == field]
            xs, ys = [p.per_million for p in points], [p.mean for p in points]
            axes.plot(xs, ys, color=colour, lw=1.6, zorder=3)
            axes.plot(xs, ys, _MARKERS[number % len(_MARKERS)], color=colour, ms=5.5, zorder=4)
            # The line is named at the point furthest from the scenario as it is.
            named = max(points, key=lambda each: _distance(each, drawn))
            for point in points:
                if not point.is_base or point is named:
                    name = f"{_NAMES.get(field, field)} " if point is named else ""
                    _point(axes, point, ink, name=name, is_above=number % 2 == 1)
        base = next((each for each in drawn if each.is_base), None)
        if base is not None:
            axes.plot(
                [base.per_million], [base.mean], "o", ms=10, mfc="none", mec=style.INK, mew=1.6,
                zorder=5,
            )  # fmt: skip
            axes.annotate(
                "as it is", (base.per_million, base.mean), xytext=(9, 9),
                textcoords="offset points", color=style.INK, fontsize=8.5, fontweight="bold",
                bbox=style.backing(), zorder=6,
            )  # fmt: skip
        axes.set_xlabel("list price of a million requests")
        axes.set_ylabel("mean latency of all requests")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_dollars(x)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: words.axis_duration(y)))
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(visible=True, color=style.GRID, lw=0.7)
        style.headline(
            figure, title, "One field changes along each line; further left is cheaper, further "
            "down is faster.",
        )  # fmt: skip
        return figure


def _limits(axes: Axes, choices: Sequence[Choice]) -> None:
    for values, set_limits in (
        ([each.per_million for each in choices], axes.set_xlim),
        ([each.mean for each in choices], axes.set_ylim),
    ):
        low, high = min(values), max(values)
        room = 0.12 * (high - low) or 0.1 * high or 1.0
        set_limits(max(0.0, low - room), high + room)


def _distance(choice: Choice, choices: Sequence[Choice]) -> float:
    """Return how far *choice* lies from the scenario as it is, in shares of the drawing."""
    base = next((each for each in choices if each.is_base), choices[0])
    costs, means = [c.per_million for c in choices], [c.mean for c in choices]
    wide, high = max(costs) - min(costs) or 1.0, max(means) - min(means) or 1.0
    across = (choice.per_million - base.per_million) / wide
    return math.hypot(across, (choice.mean - base.mean) / high)


def _point(axes: Axes, point: Choice, colour: str, *, name: str, is_above: bool) -> None:
    """Write the value of *point* to its upper left, or to its lower right: lines mostly rise."""
    low, high = axes.get_xlim()
    share = (point.per_million - low) / (high - low)
    is_left = (is_above and share > 0.15) or share > 0.85
    axes.annotate(
        f"{name}{_value(point)}",
        (point.per_million, point.mean),
        xytext=(-7 if is_left else 7, 5 if is_above else -5),
        textcoords="offset points",
        ha="right" if is_left else "left",
        va="bottom" if is_above else "top",
        color=colour,
        fontsize=8.5,
        fontweight="bold" if name else "normal",
        bbox=style.backing(),
        zorder=6,
    )


def tradeoff_figure(choices: Sequence[Choice]) -> ReportFigure:
    """Return the figure of *choices* for a report."""
    return ReportFigure(
        name="tradeoff",
        heading="Money against latency",
        how="Each point is a simulation of the same requests with one field changed. The ring is "
        "the scenario as it is. A longer TTL serves older values, which neither axis shows.",
        is_drawn=lambda _: len(choices) > 1,
        draw=lambda _: tradeoff(choices),
    )
