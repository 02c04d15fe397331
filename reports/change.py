"""The figure of two runs compared: what changed, with intervals, against the limit."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from core.metrics.difference import Change, Difference, Differences
from reports import style, words
from reports.compared import SECTIONS, Compared, change_of

_SYMBOLS = {
    Change.SAME: "✓", Change.BETTER: "✓", Change.WORSE: "✗", Change.UNDECIDED: "?",
    Change.NOT_COMPARED: "–", Change.INVALID: "∅",
}  # fmt: skip
_COLOURS = {
    Change.SAME: style.GREEN_TEXT, Change.BETTER: style.GREEN_TEXT, Change.WORSE: style.RED_TEXT,
    Change.UNDECIDED: style.MUTED, Change.NOT_COMPARED: style.MUTED,
    Change.INVALID: style.RED_TEXT,
}  # fmt: skip
_MOST_DRAWN = 40


def drawn_rows(found: Differences) -> list[Difference]:
    """Return the rows that the figure shows: those with a change, KPIs first and each once."""
    order = [kind for kind, _ in SECTIONS]
    known = {row.metric.general for row in found.rows if row.kind == "kpi"}
    rows = [
        row
        for row in sorted(found.rows, key=lambda row: order.index(row.kind))
        if row.change is not None
        and (row.kind == "kpi" or row.name.startswith("failed(") or row.metric.general not in known)
    ]
    return rows[:_MOST_DRAWN]


def change(compared: Compared) -> Figure:
    """Draw the change of every figure with its interval against the limit.

    Times and sizes in percent on the left scale, ratios in points on their own. Raise ValueError if
    nothing changed that could be drawn.
    """
    rows = drawn_rows(compared.found)
    relative = [row for row in rows if row.metric.unit != "ratio"]
    ratios = [row for row in rows if row.metric.unit == "ratio"]
    panels = [
        (part, unit) for part, unit in ((relative, "%"), (ratios, "percentage points")) if part
    ]
    if not panels:
        raise ValueError("no figure of both runs has a change to draw")
    with style.drawing():
        title = words.wrapped(compared.sentence.rstrip("."), 88)
        line, gap = 0.27, 0.72
        height = 1.05 + 0.23 * title.count("\n") + sum(line * len(p) + gap for p, _ in panels)
        drawing = Figure(figsize=(9.6, height))
        top = height - 0.85 - 0.23 * title.count("\n")
        for part, unit in panels:
            tall = line * len(part)
            axes = drawing.add_axes((0.2, (top - tall) / height, 0.42, tall / height))
            _panel(axes, part, unit, compared.found.limit)
            top -= tall + gap
        style.headline(
            drawing, title,
            "Change from A to B, with its 95 % interval where there is one; dashed: the limit.",
        )  # fmt: skip
        return drawing


def _panel(axes: Axes, rows: Sequence[Difference], unit: str, limit: float) -> None:
    ends = [abs(end) for row in rows for end in (row.interval or (row.change or 0.0,))]
    far = 100 * min(max([*ends, limit]) * 1.15, max(10 * limit, 3 * sorted(ends)[len(ends) // 2]))
    axes.set_xlim(-far, far)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(0, color=style.INK, lw=1.1, zorder=1)
    harms = {row.harm for row in rows}
    for harm in (1, -1):
        if harm in harms:
            axes.axvline(100 * harm * limit, color=style.RED, lw=1.1, ls=style.DASHES, zorder=1)
    for position, row in enumerate(rows):
        _mark(axes, position, row, far)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+g}".replace("-", "−")))
    axes.set_xlabel(f"change, {unit}", loc="left")


def _mark(axes: Axes, position: int, row: Difference, far: float) -> None:
    colour = _COLOURS[row.outcome]
    value = 100 * (row.change or 0.0)
    if row.interval is not None:
        low, high = (min(max(100 * end, -far), far) for end in row.interval)
        axes.plot([low, high], [position] * 2, color=colour, lw=2.6, solid_capstyle="butt")
    marker = ">" if value > far else "<" if value < -far else "o"
    x = min(max(value, -far), far)
    axes.plot([x], [position], marker, ms=5, mfc=colour, mec=colour, clip_on=False, zorder=3)
    across = axes.get_yaxis_transform()
    for where, text, side, ink in (
        (-0.03, row.name, "right", style.INK),
        (1.03, change_of(row), "left", style.MUTED),
        (1.52, f"{_SYMBOLS[row.outcome]} {row.outcome.value.replace('_', ' ')}", "left", colour),
    ):
        axes.annotate(
            text, (where, position), xycoords=across, ha=side, va="center", fontsize=8, color=ink,
            annotation_clip=False,
        )  # fmt: skip
