"""The texts of a figure as they are drawn, and what is true of those of every figure."""

from __future__ import annotations

import io
import itertools

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from reports import style


def check_texts(figure: Figure, name: str = "") -> None:
    """Fail if a text overlaps another one, or leaves *figure*."""
    seen = _texts(figure)
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in seen:
        assert box.x0 >= -1, (name, text)
        assert box.x1 <= width + 1, (name, text)
        assert box.y0 >= -1, (name, text)
        assert box.y1 <= height + 1, (name, text)
    for (one, a), (other, b) in itertools.combinations(seen, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across < 2 or along < 3, (name, one, other)


def _texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return every text that is drawn, with its box in pixels at 100 dots per inch."""
    with style.drawing():
        figure.savefig(io.BytesIO(), dpi=100)
        unseen = {
            id(label)
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for tick in axis.get_major_ticks()
            for label in (tick.label1, tick.label2)
            if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        }
        return [
            # Without its arrow, which an annotation counts in.
            (text.get_text(), Text.get_window_extent(text))
            for text in figure.findobj(Text)
            if isinstance(text, Text)
            and text.get_visible()
            and text.get_text().strip()
            and id(text) not in unseen
        ]
