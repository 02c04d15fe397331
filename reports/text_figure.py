"""Figures of letters, for where no image is shown: the job summary of a CI system."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from core.metrics.capacity import CapacityPlan
from core.metrics.kpi import Kpi
from core.metrics.verdict import ComparisonRow
from reports import tables, words
from reports.labels import fitting

WIDTH = 40
_NAME_WIDTH = 36
_BEYOND = 2.0
"""Of the allowance, where the scale ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A share of an allowance: 1 is the target. None is not known, and has no mark."""

    name: str
    share: float | None
    alert: float | None = None
    predicted: float | None = None
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A relative difference with its interval: 0 is none, 0.05 is 5 % more."""

    name: str
    value: float
    interval: tuple[float, float] | None
    said: str = ""


def kpi_bars(rows: Sequence[ComparisonRow]) -> str:
    """Return how much of its target's allowance each KPI uses, by the side that counts."""
    bars = []
    for row in rows:
        verdict = words.decisive(row)
        value = None if verdict is None else verdict.value
        beside = row.predicted.value if row.measured and row.predicted else None
        bars.append(
            Bar(
                name=row.kpi.name,
                share=None if value is None else words.used(row.kpi, value),
                alert=words.used(row.kpi, row.kpi.alert.value),
                predicted=None if beside is None else words.used(row.kpi, beside),
                said=words.verdict_text(row),
            )
        )
    return drawn_bars(bars, what="KPI")


def plan_bars(plan: CapacityPlan, kpis: Sequence[Kpi]) -> str:
    """Return for each rate that was tried how much the worst KPI uses of its allowance."""
    bars = []
    for point in plan.points:
        shares = {
            kpi.name: words.used(kpi, point.values[kpi.name])
            for kpi in kpis
            if kpi.name in point.values
        }
        worst = max(shares, key=shares.__getitem__, default=None)
        said = "holds" if point.holds else f"breaks {', '.join(point.broken)}"
        if point.saturated:
            said = f"{', '.join(point.saturated)} cannot keep up"
        bars.append(
            Bar(
                name=words.rate_text(point.rate),
                share=None if worst is None else shares[worst],
                said=said if worst is None or not point.holds else f"{said}, {worst} nearest",
            )
        )
    return drawn_bars(bars, what="rate, and its worst KPI")


def drawn_bars(bars: Sequence[Bar], *, what: str) -> str:
    """Return *bars* on one scale from 0 to 200 % of the target's allowance, with what marks say."""
    names = _names([what, *(bar.name for bar in bars)])
    lines = [
        _line(names[0], "0 %" + "100 %".center(2 * (WIDTH // 2 - 3) + 1) + "200 %"),
        *(
            _line(name, _bar(bar), "" if bar.share is None else _percent(bar.share), bar.said)
            for name, bar in zip(names[1:], bars, strict=True)
        ),
    ]
    marks = ["│ target"]
    if any(bar.alert is not None for bar in bars):
        marks.append("! alert")
    if any(bar.predicted is not None for bar in bars):
        marks.append("◇ predicted")
    if any(bar.share is not None and bar.share > _BEYOND for bar in bars):
        marks.append("> beyond the scale")
    told = "Share of its target's allowance that each uses: 100 % is the target."
    return "\n".join([*lines, "", told, ", ".join(marks)])


def _bar(bar: Bar) -> str:
    cells = ["·"] * (WIDTH + 1)

    def at(share: float) -> int:
        return round(min(share, _BEYOND) / _BEYOND * WIDTH)

    if bar.share is not None:
        cells[: at(bar.share)] = "█" * at(bar.share)
    cells[at(1.0)] = "│"
    if bar.alert is not None and 1.0 < bar.alert <= _BEYOND:
        cells[max(at(bar.alert), at(1.0) + 1)] = "!"
    if bar.predicted is not None:
        cells[at(bar.predicted)] = "◇"
    if bar.share is not None and bar.share > _BEYOND:
        cells[WIDTH] = ">"
    return "".join(cells)


def drawn_spans(spans: Sequence[Extent], *, limit: float, what: str) -> str:
    """Return *spans* on one scale around 0, with the limit as a mark; both are shares."""
    names = _names([what, *(span.name for span in spans)])
    ends = [abs(end) for span in spans for end in (span.interval or (span.value,))]
    farthest = max((end for end in ends if math.isfinite(end)), default=limit)
    scale = limit * min(10, max(2, math.ceil(1.05 * farthest / limit)))
    half = WIDTH // 2

    def at(value: float) -> int:
        return half + round(min(1.0, max(-1.0, value / scale)) * half)

    lines = [
        _line(names[0], f"{_signed(-scale):<{half - 1}} 0 {_signed(scale):>{half - 1}}"),
    ]
    for name, span in zip(names[1:], spans, strict=True):
        cells = ["·"] * (WIDTH + 1)
        cells[half] = "│"
        cells[at(limit)] = "!"
        if span.interval is not None:
            low, high = at(span.interval[0]), at(span.interval[1])
            cells[low : high + 1] = "─" * (high + 1 - low)
            cells[low], cells[high] = "├", "┤"
        if math.isfinite(span.value):
            cells[at(span.value)] = "●"
            if abs(span.value) > scale:
                cells[at(span.value)] = ">" if span.value > 0 else "<"
        shown = words.signed_percent(span.value) if math.isfinite(span.value) else ""
        lines.append(_line(name, "".join(cells), shown, span.said))
    told = "Time of head less that of base, relative: left of the line is faster, right slower."
    marks = "│ no difference, ! limit, ├●┤ estimate and interval, < > beyond the scale"
    return "\n".join([*lines, "", told, marks])


def _line(name: str, drawn: str, figure: str = "", said: str = "") -> str:
    return f"{name}  {drawn}  {figure:>8}  {said}".rstrip()


def _names(names: Sequence[str]) -> list[str]:
    """Return *names* equally wide, told apart, and each on one line; equal ones stay equal."""
    plain = [words.printable(name) for name in names]
    short = fitting(plain, lambda text: cell_len(text) <= _NAME_WIDTH)
    shown = [short[name] for name in plain]
    width = max(map(cell_len, shown), default=0)
    return [set_cell_size(name, width) for name in shown]


def _percent(share: float) -> str:
    """Return *share* with the digits that it takes to stand on its side of 100 %."""
    if math.isinf(share):
        return "∞"
    texts = (f"{100 * share:,.{places}f}" for places in range(12))
    return next(
        (f"{t} %" for t in texts if share == 1 or float(t.replace(",", "")) != 100), "100 %"
    )


def _signed(value: float) -> str:
    return f"{100 * value:+.3g} %".replace("-", "−")


def fenced(text: str) -> str:
    """Return *text* as a code block of Markdown, whatever it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}\n"


def code(text: str) -> str:
    """Return *text* as a code span of Markdown, or escaped where a table would break one."""
    plain = " ".join(words.printable(text).split())
    if not plain or "|" in plain:
        return tables.escape(plain)
    longest = max((len(run) for run in re.findall(r"`+", plain)), default=0)
    marks, pad = "`" * (longest + 1), " " if longest else ""
    return f"{marks}{pad}{plain}{pad}{marks}"
