"""How every figure looks: the palette, the settings that hold while one is drawn, its labels."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import text_to_path

# Okabe and Ito's colours, which stay apart for colour-blind readers, and their darker kin for
# text: the originals have too little contrast on white.
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
SKY, PINK = "#56b4e9", "#cc79a7"
SKY_TEXT, PINK_TEXT = "#2a7fb5", "#a8527f"
GREEN_TEXT, ORANGE_TEXT, RED_TEXT = "#00704f", "#8f6200", "#b34700"
INK, MUTED, GRID, EDGE, PAPER = "#222222", "#5b6169", "#e6e8eb", "#9aa0a6", "#ffffff"
GOOD_TINT, FAIR_TINT, BAD_TINT, ABSENT = "#dff1ea", "#fbeecb", "#fae0d2", "#d3d7dc"

COLOURS = {
    "blue": BLUE,
    "orange": ORANGE,
    "green": GREEN,
    "red": RED,
    "sky": SKY,
    "pink": PINK,
    "sky-text": SKY_TEXT,
    "pink-text": PINK_TEXT,
    "green-text": GREEN_TEXT,
    "orange-text": ORANGE_TEXT,
    "red-text": RED_TEXT,
    "ink": INK,
    "muted": MUTED,
    "grid": GRID,
    "edge": EDGE,
    "paper": PAPER,
    "good": GOOD_TINT,
    "fair": FAIR_TINT,
    "bad": BAD_TINT,
    "absent": ABSENT,
}
"""Every colour that a figure uses, by the name of the page's variable that may replace it."""

PHONE = 5.4
"""Inches: a figure so wide has no letter of less than 8 pixels on a phone's screen."""

PREDICTED, PREDICTED_TEXT, MEASURED = ORANGE, ORANGE_TEXT, BLUE
DASHES = (0, (4, 1.6))

RC: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every host draws the same
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a name such as "sale $5-$9" is no formula
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 8.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": EDGE,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": EDGE,
    "ytick.color": EDGE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "butt",
    "svg.fonttype": "path",  # a reader without the font would see labels run into each other
    "svg.hashsalt": "edgeproof",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Let matplotlib draw in this style while the context lasts; it leaves no trace behind."""
    with matplotlib.rc_context(RC), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; `can_draw` tells.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def text_width(text: str, *, size: float, is_bold: bool = False) -> float:
    """Return the width in points of *text* in the figures' font at *size* points."""
    weight = "bold" if is_bold else "normal"
    font = font_manager.FontProperties(family=RC["font.family"], size=size, weight=weight)
    with drawing():
        return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def can_draw(text: str) -> bool:
    """Return whether the figures' font has every letter of *text*."""
    font = font_manager.get_font(font_manager.findfont(RC["font.family"]))
    return all(font.get_char_index(ord(letter)) for letter in text)


def backing() -> dict[str, Any]:
    """Return the box behind a label that lies on top of lines.

    A halo of strokes would draw each letter twice, as outlines: three times the bytes.
    """
    return {"boxstyle": "round,pad=0.18", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.82}


def headline(figure: Figure, title: str, subtitle: str) -> None:
    """Put the finding, and under it what is drawn, at the figure's upper left."""
    height = float(figure.get_figheight()) * 72
    figure.suptitle(
        title, x=0.012, y=1 - 9 / height, ha="left", va="top", fontsize=12, fontweight="bold"
    )
    y = 1 - (12 + 16 * (title.count("\n") + 1)) / height
    figure.text(0.012, y, subtitle, va="top", fontsize=8.5, color=MUTED, gid="subtitle")


def finding(figure: Figure) -> str:
    """Return the sentence that `headline` put on *figure*, on one line."""
    return " ".join(str(figure.get_suptitle()).split())


def subtitle(figure: Figure) -> str:
    """Return what `headline` says is drawn on *figure*."""
    return next((t.get_text() for t in figure.texts if t.get_gid() == "subtitle"), "")


def _headline_points(figure: Figure) -> int:
    return 26 + 16 * (str(figure.get_suptitle()).count("\n") + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndLabel:
    """A word at the end of a line: the line's last point in data units, and the word's colour."""

    x: float
    y: float
    text: str
    colour: str


def spread(positions: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Return *positions* moved as little as possible until any two are *gap* apart, in [low, high].

    The least squares answer, by pooling adjacent violators. Too many for the room share it evenly.
    """
    if not positions:
        return []
    gap = min(gap, (high - low) / max(1, len(positions) - 1))
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    pools: list[list[float]] = []  # sum and number of the members of each pool
    for rank, index in enumerate(order):
        pools.append([positions[index] - rank * gap, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, number = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += number
    placed = [total / number for total, number in pools for _ in range(int(number))]
    ceiling = high - (len(order) - 1) * gap
    moved = [0.0] * len(order)
    for rank, index in enumerate(order):
        moved[index] = min(max(placed[rank], low), ceiling) + rank * gap
    return moved


def end_labels(axes: Axes, labels: Sequence[EndLabel], *, size: float = 8.5) -> None:
    """Write *labels* to the right of their points, apart from each other; limits must be final.

    A label that had to move is tied to its point by a thin connector, unless the line left the
    axes: then the label stands at the edge where it did.
    """
    points = axes.bbox.height * 72 / axes.figure.dpi
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [to_axes.transform((label.x, label.y)) for label in labels]
    heights = [min(max(float(end[1]), 0.0), 1.0) for end in ends]
    placed = spread(heights, gap=(size + 2.5) / points, low=0.0, high=1.0)
    for label, end, height, y in zip(labels, ends, heights, placed, strict=True):
        has_moved = abs(y - height) * points > 2.5 and 0.001 < height < 0.999
        connector = {
            "arrowstyle": "-",
            "color": label.colour,
            "linewidth": 0.7,
            "shrinkA": 1,
            "shrinkB": 1,
            "relpos": (0, 0.5),
        }
        axes.annotate(
            label.text,
            xy=(float(end[0]), height),
            xytext=(14 if has_moved else 5, (y - height) * points),
            xycoords="axes fraction",
            textcoords="offset points",
            color=label.colour,
            fontsize=size,
            fontweight="bold",
            va="center_baseline",
            annotation_clip=False,
            arrowprops=connector if has_moved else None,
        )


def svg(figure: Figure) -> bytes:
    """Return *figure* as SVG; equal figures give equal bytes, and no address stands in them."""
    file = io.BytesIO()
    with drawing():
        figure.savefig(
            file,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    # A hundredth of a point is finer than any screen, and makes a file half as large.
    drawn = re.sub(r'(?<= d=")[^"]+', _rounded, file.getvalue().decode())
    return re.sub(r'(?<=translate\()[^)]+|(?<= [xy]=")[^"]+', _rounded, drawn).encode()


def _rounded(match: re.Match[str]) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda digits: f"{float(digits[0]):.2f}", match[0])


def png(figure: Figure) -> bytes:
    """Return *figure* as PNG; equal figures give equal bytes."""
    file = io.BytesIO()
    with drawing():
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def inline(figure: Figure, drawn: bytes, *, name: str) -> str:
    """Return *drawn*, the `svg` of *figure*, as an element of a page that may hold several.

    The headline is cut off, for the page to write. Ids start with *name* (a letter or two),
    colours follow the page's variables (--fig-ink and so on), and a screen reader says the finding.
    """
    label, cut = finding(figure), _headline_points(figure)
    match = re.search(
        r"<svg\b[^>]*viewBox=\"0 0 ([0-9.]+) ([0-9.]+)\"[^>]*>(.*)</svg>",
        drawn.decode(),
        flags=re.DOTALL,
    )
    if match is None:
        raise ValueError("not an SVG that matplotlib drew")
    body = re.sub(r"<!--.*?-->", "", match[3], flags=re.DOTALL)
    body = re.sub(r"\s*<style\b.*?</style>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r">\s+<", "><", body).replace("\n", " ").replace("xlink:href", "href")
    used = dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', body))
    short = {old: f"{name}{number}" for number, old in enumerate(used)}
    body = re.sub(r' id="([^"]+)"', lambda i: f' id="{short[i[1]]}"' if i[1] in short else "", body)
    body = re.sub(r'(href="|url\()#([^")]+)', lambda i: f"{i[1]}#{short[i[2]]}", body)
    names = {colour: variable for variable, colour in COLOURS.items()}
    body = re.sub(
        r"(?<=[ :])#[0-9a-f]{6}\b",
        lambda c: f"var(--fig-{names[c[0]]},{c[0]})" if c[0] in names else c[0],
        body,
    )
    box = f"0 {cut} {match[1]} {float(match[2]) - cut:g}"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}">{body}</svg>'
