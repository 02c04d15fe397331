"""Figures of a study: the heat map of steps between channels, and credit over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from core.attribution.anatomy import CONVERSION, NULL, START
from core.attribution.models import DATA_DRIVEN
from core.attribution.study import Study, Table
from reports import style, words
from reports.labels import fitting, shortened

MOST_DRAWN = 14
"""Channels of the heat map: those with most journeys."""
MOST_LINES = 5
_WIDTH = 9.6
_SIZE = 8.5
_SHADES = LinearSegmentedColormap.from_list("shares", [style.PAPER, style.BLUE])


def heat_map(table: Table) -> Figure:
    """Draw the shares of the steps from each channel (row) to the next one (column).

    *table*: that of the transitions. Raise ValueError if it has no step.
    """
    shares = {(str(row[0]), str(row[1])): float(row[3] or 0) for row in table.rows}
    walked: dict[str, float] = {}
    for row in table.rows:
        walked[str(row[0])] = walked.get(str(row[0]), 0.0) + float(row[2] or 0)
    ranked = sorted((name for name in walked if name != START), key=lambda n: (-walked[n], n))
    if not ranked:
        raise ValueError("no journey has a step")
    drawn = ranked[:MOST_DRAWN]
    rows, columns = [START, *drawn], [*drawn, CONVERSION, NULL]
    grid = np.array([[shares.get((a, b), 0.0) for b in columns] for a in rows])
    best = max(drawn, key=lambda name: shares.get((name, CONVERSION), 0.0))
    title = words.wrapped(
        f"Of all channels, {shortened(words.printable(best), 50)} is most often followed by a "
        f"conversion: after {_percent(shares.get((best, CONVERSION), 0.0))} of its touches",
        88,
    )
    with style.drawing():
        shown = fitting([words.printable(name) for name in columns], lambda text: len(text) <= 22)
        names = {name: shown.get(words.printable(name), words.printable(name)) for name in columns}
        head = 0.85 + 0.23 * title.count("\n")
        foot = 1.5
        height = head + 0.34 * len(rows) + foot
        figure = Figure(figsize=(_WIDTH, height))
        axes = figure.add_axes((0.2, foot / height, 0.77, 0.34 * len(rows) / height))
        edges = [np.arange(size + 1) - 0.5 for size in (len(columns), len(rows))]
        most = max(float(grid.max()), 0.01)
        axes.pcolormesh(*edges, grid, cmap=_SHADES, vmin=0, vmax=most)  # an image is no vector
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_xticks(
            range(len(columns)), [names[name] for name in columns], rotation=40, ha="right"
        )
        axes.set_yticks(range(len(rows)), [names.get(name, name) for name in rows])
        axes.tick_params(length=0, labelsize=_SIZE)
        for spine in axes.spines.values():
            spine.set_visible(False)
        for (row, column), share in np.ndenumerate(grid):
            if share > 0:
                dark = share > 0.72 * grid.max()
                axes.text(
                    column, row, _percent(share), ha="center", va="center",
                    fontsize=7.5 if len(columns) <= 12 else 6.5,
                    color=style.PAPER if dark else style.INK,
                )  # fmt: skip
        more = len(ranked) - len(drawn)
        rest = f" The {len(drawn)} channels with most touches of {len(ranked)}." if more else ""
        style.headline(
            figure, title,
            f"Share of the touches of a channel (row) that the column follows.{rest}",
        )  # fmt: skip
        return figure


def trend(table: Table, models: Sequence[str]) -> Figure:
    """Draw the conversions of the largest channels by day or week, under one model.

    *table*: that of the trend; *models*: of the account: data_driven is drawn, else the last one.
    Raise ValueError for fewer than two periods.
    """
    model = DATA_DRIVEN if DATA_DRIVEN in models else models[-1]
    found: dict[str, dict[str, float]] = {}
    for period, of, channel, conversions, _ in table.rows:
        if of == model:
            found.setdefault(str(channel), {})[str(period)] = float(conversions or 0)
    periods = sorted({period for by in found.values() for period in by})
    if len(periods) < 2:
        raise ValueError("a trend needs two periods")
    ranked = sorted(found, key=lambda name: (-sum(found[name].values()), name))[:MOST_LINES]
    totals = [sum(by.get(period, 0.0) for by in found.values()) for period in periods]
    by = table.columns[0]
    top = max(range(len(periods)), key=lambda place: totals[place])
    title = (
        f"The {by} of {periods[top]} had most conversions, {totals[top]:,.6g} of {sum(totals):,.6g}"
    )
    colours = (style.BLUE, style.RED_TEXT, style.GREEN_TEXT, style.PINK_TEXT, style.ORANGE_TEXT)
    with style.drawing():
        height = 4.4
        figure = Figure(figsize=(_WIDTH, height))
        axes = figure.add_axes((0.075, 0.5 / height, 0.72, (height - 1.4) / height))
        labels = []
        for channel, colour in zip(ranked, colours, strict=False):
            points = [found[channel].get(period, 0.0) for period in periods]
            axes.plot(range(len(periods)), points, color=colour, lw=1.6, marker="o", ms=3)
            label = shortened(words.printable(channel), 22)
            labels.append(
                style.EndLabel(x=len(periods) - 1, y=points[-1], text=f" {label}", colour=colour)
            )
        axes.set_xlim(-0.2, len(periods) - 0.8)
        axes.set_ylim(bottom=min(0.0, *(p for c in ranked for p in found[c].values())))
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.xaxis.set_major_formatter(
            FuncFormatter(
                lambda x, _: periods[int(x)] if x == int(x) and 0 <= x < len(periods) else ""
            )
        )
        axes.set_ylabel(f"conversions per {by}")
        style.end_labels(axes, labels, size=_SIZE)
        named = f" The {len(ranked)} largest of {len(found)} channels." * (len(found) > len(ranked))
        style.headline(figure, title, f"Conversions by {model.replace('_', ' ')}.{named}")
        return figure


def figures(study: Study) -> list[tuple[str, str, Figure]]:
    """Return the figures of *study* beside the credit: name, heading and picture."""
    drawn = []
    table = study.table("transitions")
    if table is not None and any(row[0] != START for row in table.rows):
        drawn.append(("transitions", table.title, heat_map(table)))
    table = study.table("trend")
    if table is not None and len({row[0] for row in table.rows}) > 1:
        drawn.append(("trend", table.title, trend(table, study.account.models)))
    return drawn


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 or not share else f"{100 * share:.1f} %"
