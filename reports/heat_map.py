"""The figure of two fields: a tile for each combination of their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from core.metrics.kpi import Outcome
from reports import style, words

_FILLS = {
    Outcome.PASS: style.GOOD_TINT,
    Outcome.WARN: style.FAIR_TINT,
    Outcome.INCONCLUSIVE: style.FAIR_TINT,
    Outcome.FAIL: style.BAD_TINT,
}
_STRENGTHS = (0.10, 0.55)
_LONGEST = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One combination: its figure as *text*, and as *value* for the shade.

    outcome: what all KPIs come to there; None where no run was made.
    """

    text: str
    value: float
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Tiles by row and column, the first row below.

    is_shaded: whether a tile's value is its shade, darker for more; else its outcome is its colour.
    """

    name: str
    heading: str
    finding: str
    how: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    tiles: tuple[tuple[Tile, ...], ...]
    is_shaded: bool = False


def heat_map_figure(drawn: HeatMap) -> Figure:
    """Draw *drawn*; ValueError without a tile."""
    if not drawn.tiles or not drawn.columns:
        raise ValueError(f"the figure {drawn.name} has nothing to draw")
    width, rows = 9.6, len(drawn.rows)
    with style.drawing():
        title = words.wrapped(drawn.finding.rstrip("."), 88)
        below = 0.75 if _is_slanted(drawn) else 0.52
        inner = min(8.0, max(1.3, 0.42 * rows))
        height = inner + below + 0.78 + 0.23 * title.count("\n")
        figure = Figure(figsize=(width, height))
        left = min(0.26, 0.075 + 0.0085 * max(len(_cut(text)) for text in drawn.rows))
        axes = figure.add_axes((left, below / height, 0.985 - left, inner / height))
        axes.grid(visible=False)
        known = [t.value for row in drawn.tiles for t in row if math.isfinite(t.value)]
        low, high = min(known, default=0.0), max(known, default=1.0)
        size = max(5.0, min(9.0, 72 * width * (0.985 - left) / len(drawn.columns) / 6.2))
        for row, tiles in enumerate(drawn.tiles):
            for column, tile in enumerate(tiles):
                axes.add_patch(
                    Rectangle((column, row), 1, 1, lw=1.5, ec=style.PAPER,
                              **_fill(tile, low, high, is_shaded=drawn.is_shaded))
                )  # fmt: skip
                mark = "" if tile.outcome is None else f" {words.SYMBOLS[tile.outcome]}"
                axes.text(
                    column + 0.5, row + 0.5, f"{tile.text}{mark}", ha="center", va="center",
                    fontsize=size, color=style.INK,
                    fontweight="bold" if tile.outcome is Outcome.PASS else "normal",
                )  # fmt: skip
        axes.set_xlim(0, len(drawn.columns))
        axes.set_ylim(0, rows)
        slant = {"rotation": 30, "ha": "right"} if _is_slanted(drawn) else {}
        axes.set_xticks(
            [place + 0.5 for place in range(len(drawn.columns))],
            [_cut(text) for text in drawn.columns], **slant,  # type: ignore[arg-type]  # of texts
        )  # fmt: skip
        axes.set_yticks([p + 0.5 for p in range(rows)], [_cut(text) for text in drawn.rows])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel(drawn.x_label)
        axes.set_ylabel(drawn.y_label)
        style.headline(figure, title, drawn.how)
        return figure


def _fill(tile: Tile, low: float, high: float, *, is_shaded: bool) -> dict[str, Any]:
    if tile.outcome is None:
        return {"fc": style.ABSENT}
    if not is_shaded or not math.isfinite(tile.value):
        return {"fc": _FILLS.get(tile.outcome, style.ABSENT)}
    share = (tile.value - low) / (high - low) if high > low else 0.0
    weakest, strongest = _STRENGTHS
    return {"fc": style.SKY, "alpha": weakest + share * (strongest - weakest)}


def _is_slanted(drawn: HeatMap) -> bool:
    longest = max(len(_cut(text)) for text in drawn.columns)
    return longest * len(drawn.columns) > 110


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
