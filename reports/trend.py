"""The figures of benchmarks over versions, a panel for each, with the changes of their level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from core.texts import count_of
from reports import style

WIDTH = 5.4
"""Inches: a phone's screen shows it without a letter of less than 8 pixels."""
_PANEL = 1.35
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change of level: the run that it begins with, and the levels in seconds."""

    index: int
    version: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One benchmark on one machine: the version and the seconds of each run, oldest first."""

    name: str
    machine: str
    versions: tuple[str, ...]
    values: tuple[float, ...]
    steps: tuple[Step, ...]


def trend(trends: Sequence[Trend], *, subtitle: str) -> Figure:
    """Return the figure of *trends*. Raise ValueError if there are none."""
    if not trends:
        raise ValueError("no benchmark to draw")
    head = 0.62
    height = head + _PANEL * len(trends) + 0.2
    with style.drawing():
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.subplots(len(trends), 1, squeeze=False)[:, 0]
        figure.subplots_adjust(
            left=0.13, right=0.86, top=1 - (head + 0.25) / height, bottom=0.42 / height, hspace=0.95
        )
        for panel, one in zip(axes, trends, strict=True):
            _panel(panel, one)
        style.headline(figure, _finding(trends), subtitle)
    return figure


def page(figure: Figure, title: str, machines: Sequence[str]) -> str:
    """Return *figure* as a page of its own, for a screen of any width and for paper."""
    drawn = style.inline(figure, style.svg(figure), name="t")
    listed = "".join(f"<li>{escape(machine)}</li>" for machine in machines)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>"
        "body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;padding:12px;max-width:760px;"
        "color:#222;background:#fff}h1{font-size:1.2rem;margin:.2em 0}p,ul{color:#5b6169;"
        "font-size:.85rem;margin:.3em 0}svg{width:100%;height:auto}"
        "@media print{body{max-width:none;padding:0}}</style></head><body>"
        f"<h1>{escape(style.finding(figure))}</h1><p>{escape(style.subtitle(figure))}</p>"
        f"<ul>{listed}</ul>{drawn}</body></html>\n"
    )


def _finding(trends: Sequence[Trend]) -> str:
    slower = sum(bool(one.steps) and one.steps[-1].after > one.steps[-1].before for one in trends)
    faster = sum(bool(one.steps) for one in trends) - slower
    if not slower and not faster:
        return f"No change of level in {count_of(len(trends), 'benchmark')}"
    parts = [
        f"{number} {word}" for number, word in ((slower, "slower"), (faster, "faster")) if number
    ]
    return f"Latest change: {' and '.join(parts)}, of {count_of(len(trends), 'benchmark')}"


def _panel(axes: Axes, one: Trend) -> None:
    size, unit = next((u for u in _UNITS if max(one.values) >= u[0]), _UNITS[-1])
    values = [value / size for value in one.values]
    runs = range(1, len(values) + 1)
    axes.plot(runs, values, ".", color=style.SKY, markersize=5)
    starts = [0, *(step.index for step in one.steps), len(values)]
    for number, (start, end) in enumerate(pairwise(starts)):
        level = _level(one, number)
        axes.plot([start + 0.6, end + 0.4], [level / size] * 2, color=style.BLUE, linewidth=1.6)
    low, high = min(values), max(values)
    room = max(0.25 * (high - low), 0.05 * high)  # noise of a percent fills no panel
    # Labels of steps take turns in two rows above the points.
    axes.set_ylim(max(0.0, low - room), high + room + 0.35 * len(one.steps[:2]) * (high - low))
    axes.set_xlim(0.3, len(values) + 0.7)
    for number, step in enumerate(one.steps):
        ratio = step.after / step.before
        colour = style.RED_TEXT if ratio > 1 else style.GREEN_TEXT
        axes.axvline(step.index + 0.5, color=colour, linewidth=1, linestyle=style.DASHES)
        is_late = step.index > 0.45 * len(values)
        axes.annotate(
            f"{'slower' if ratio > 1 else 'faster'} ×{ratio:.3g} at {step.version}",
            xy=(step.index + 0.5, 1), xycoords=("data", "axes fraction"),
            xytext=(-4 if is_late else 4, -2 - 12 * (number % 2)), textcoords="offset points",
            ha="right" if is_late else "left", va="top", fontsize=8, fontweight="bold",
            color=colour, bbox=style.backing(),
        )  # fmt: skip
    axes.set_title(one.name, fontsize=8.5)
    axes.set_ylabel(unit)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _version(one.versions, round(x))))
    last = _level(one, len(one.steps)) / size
    axes.annotate(
        f"level\n{last:.3g} {unit}", xy=(len(values) + 0.7, last), xytext=(4, 0),
        textcoords="offset points", va="center", fontsize=8.5, fontweight="bold",
        color=style.BLUE, annotation_clip=False,
    )  # fmt: skip


def _level(one: Trend, number: int) -> float:
    if not one.steps:
        ordered = sorted(one.values)
        middle = len(ordered) // 2
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return one.steps[0].before if number == 0 else one.steps[number - 1].after


def _version(versions: Sequence[str], run: int) -> str:
    return versions[run - 1][:8] if 1 <= run <= len(versions) else ""
