"""The timeline: load, latency, cache reads and failures over the run, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from core.metrics.kpi import Kpi, parse_metric
from core.metrics.record import RunRecord, Windows
from core.scenario.fault_kinds import BUILT_IN, FaultKinds
from reports import style, words
from reports.breach import first_breach, over_time, window_kpi
from reports.fault_spans import mark_deployments, shade_faults
from reports.figure import ReportFigure

_QUANTILES = (("p50", style.SKY), ("p95", style.BLUE), ("p99", style.INK))
_INKS = {style.SKY: style.SKY_TEXT}
_LEFT, _RIGHT, _BETWEEN = 0.08, 0.885, 0.135


def timeline(
    predicted: RunRecord | None,
    measured: RunRecord | None,
    kpis: Sequence[Kpi],
    fault_kinds: FaultKinds = BUILT_IN,
) -> Figure:
    """Draw each record as a column of small multiples over time, on common axes.

    Latencies are those of all requests together. fault_kinds: what the faults of the records are
    called, beside the kinds of installed packages. Raise ValueError without a record.
    """
    sides = [
        (word, colour, record)
        for word, colour, record in (
            ("predicted", style.PREDICTED_TEXT, predicted),
            ("measured", style.MEASURED, measured),
        )
        if record is not None
    ]
    if not sides:
        raise ValueError("a timeline needs a record")
    records = [record for _, _, record in sides]
    with style.drawing():
        rate = partial(_rate, kinds=fault_kinds)
        has_attempts = any(record.windows.attempts for record in records)
        rows: list[tuple[_Row, float]] = [
            (rate, 1.5 if has_attempts else 0.9), (_latency, 2.0), (_reads, 1.25),
        ]  # fmt: skip
        if any(sum(record.windows.failed) for record in records):
            rows.append((_failures, 0.9))
        title = words.wrapped(over_time(predicted, measured, kpis), 88)
        top = 0.95 + 0.23 * (title.count("\n") + 1)
        height = top + sum(inches + 0.42 for _, inches in rows) + 0.12
        figure = Figure(figsize=(9.6, height))
        width = (_RIGHT - _LEFT - _BETWEEN * (len(sides) - 1)) / len(sides)
        edge = height - top
        for draw, inches in rows:
            first: Axes | None = None
            drawn: list[tuple[Axes, RunRecord]] = []
            for column, (word, colour, record) in enumerate(sides):
                left = _LEFT + column * (width + _BETWEEN)
                box = (left, (edge - inches) / height, width, inches / height)
                axes = figure.add_axes(box, sharey=first)
                first = first or axes
                drawn.append((axes, record))
                _time_axis(axes, records, is_lowest=draw is rows[-1][0])
                axes.tick_params(labelleft=column == 0)
                if draw is rate:
                    how = "simulated" if record.engine == "simulate" else "load test"
                    how += ", one run" if record.runs > 1 else ""
                    axes.annotate(
                        f"{word} ({how})",
                        (0, 1),
                        xytext=(0, 22),
                        xycoords="axes fraction",
                        textcoords="offset points",
                        fontsize=10,
                        fontweight="bold",
                        color=colour,
                    )
            draw(drawn, kpis)
            edge -= inches + 0.42
        seconds = f"{records[-1].windows.width:.3g} s"
        style.headline(
            figure, title, f"All requests together, in windows of {seconds}; warm-up left out."
        )
        return figure


def _centres(windows: Windows) -> NDArray[np.float64]:
    return _edges(windows)[:-1] + windows.width / 2


def _column(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if v is None or math.isinf(v) else v for v in values])


def _time_axis(axes: Axes, records: Sequence[RunRecord], *, is_lowest: bool) -> None:
    starts = [r.windows.start for r in records]
    ends = [r.windows.start + r.windows.width * len(r.windows.requests) for r in records]
    axes.set_xlim(min(starts), max(ends))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(labelbottom=is_lowest, length=3)
    if is_lowest:
        axes.set_xlabel("time since the start of the run, s")


Drawn = Sequence[tuple[Axes, RunRecord]]


_Row = Callable[[Drawn, Sequence[Kpi]], None]


def _rate(drawn: Drawn, kpis: Sequence[Kpi], *, kinds: FaultKinds) -> None:
    highest = 1.0
    for axes, record in drawn:
        windows = record.windows
        rates = np.array(windows.requests) / windows.width
        highest = max(highest, float(rates.max(initial=0)))
        axes.stairs(rates, _edges(windows), baseline=None, color=style.INK, lw=1.4)
        shade_faults(axes, record, kinds)
        mark_deployments(axes, record)
        axes.set_title("Arrival rate")
        if windows.attempts:
            highest = max(highest, _attempts(axes, windows, rates))
    drawn[0][0].set_ylim(0, highest * 1.18)
    drawn[0][0].set_ylabel("requests/s")
    drawn[0][0].yaxis.set_major_locator(MaxNLocator(3, integer=True))


def _attempts(axes: Axes, windows: Windows, rates: NDArray[np.float64]) -> float:
    """Draw what clients sent and what was answered, beside the *rates*; return the highest rate."""
    sent = np.array(windows.attempts) / windows.width
    answered = rates - np.array(windows.failed) / windows.width
    axes.stairs(sent, _edges(windows), baseline=None, color=style.ORANGE_TEXT, lw=1.4)
    axes.stairs(answered, _edges(windows), baseline=None, color=style.BLUE, lw=1.4)
    axes.set_title("Arriving, attempts sent, answered")
    lines = (
        ("attempts", sent, style.ORANGE_TEXT), ("requests", rates, style.INK),
        ("answered", answered, style.BLUE),
    )  # fmt: skip
    right, tail = axes.get_xlim()[1], max(1, len(rates) // 10)
    labels = [
        style.EndLabel(x=right, y=float(values[-tail:].mean()), text=name, colour=colour)
        for name, values, colour in lines
    ]
    highest = float(sent.max(initial=0))
    axes.set_ylim(0, max(highest, float(rates.max(initial=1))) * 1.18)
    style.end_labels(axes, labels, size=7.5)
    return highest


def _edges(windows: Windows) -> NDArray[np.float64]:
    number = len(windows.requests)
    return np.linspace(windows.start, windows.start + windows.width * number, number + 1)


def _latency(drawn: Drawn, kpis: Sequence[Kpi]) -> None:
    kpi = window_kpi(kpis)
    values = [
        value
        for _, record in drawn
        for name, _ in _QUANTILES
        for value in _column(getattr(record.windows, name)).tolist()
        if value > 0
    ]
    low, high = min(values, default=1e-3) / 1.5, max(values, default=1e-1) * 1.6
    if kpi is not None:
        high = max(high, kpi.alert.value * 1.9)
    axes = drawn[0][0]
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 80 else (1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: words.axis_duration(y)))
    axes.set_ylabel("response time (log)")
    for axes, record in drawn:
        axes.set_title(f"Response time; bands: {kpi.name}" if kpi else "Response time")
        if kpi is not None:
            _bands(axes, kpi, record.windows)
        labels = []
        is_lost = False
        for name, colour in _QUANTILES:
            column = _column(getattr(record.windows, name))
            axes.plot(_centres(record.windows), column, color=colour, lw=1.5)
            is_lost |= _lost(axes, record.windows, name, colour)
            present = [v for v in getattr(record.windows, name) if v is not None]
            if present:
                x, y = axes.get_xlim()[1], min(present[-1], axes.get_ylim()[1])
                labels.append(style.EndLabel(x=x, y=y, text=name, colour=_INKS.get(colour, colour)))
        if is_lost:
            axes.annotate(
                "▲ a failed request",
                (0, 1),
                xytext=(5, -6),
                xycoords="axes fraction",
                textcoords="offset points",
                va="top",
                fontsize=7.5,
                color=style.RED_TEXT,
                bbox=style.backing(),
            )
        if kpi is not None and labels:
            labels += _bound_labels(axes, kpi)
        style.end_labels(axes, labels, size=8)


def _bands(axes: Axes, kpi: Kpi, windows: Windows) -> None:
    high = axes.get_ylim()[1]
    left, right = axes.get_xlim()
    target, alert = kpi.target.value, max(kpi.alert.value, kpi.target.value)
    axes.axhspan(target, alert, color=style.FAIR_TINT, lw=0, zorder=0)
    axes.axhspan(alert, high, color=style.BAD_TINT, lw=0, zorder=0)
    axes.axhline(target, color=style.ORANGE_TEXT, lw=0.9, ls=style.DASHES, zorder=1)
    axes.axhline(alert, color=style.RED_TEXT, lw=0.9, ls=style.DASHES, zorder=1)
    breach = first_breach(windows, kpi)
    if breach is None:
        return
    axes.axvline(breach.time, color=style.RED, lw=1)
    is_late = breach.time > (left + right) / 2
    axes.annotate(
        f"first miss: {breach.time:g} s",
        (breach.time, axes.get_ylim()[0]),
        xytext=(-4 if is_late else 4, 5),
        textcoords="offset points",
        ha="right" if is_late else "left",
        fontsize=8,
        fontweight="bold",
        color=style.RED_TEXT,
        bbox=style.backing(),
        zorder=6,
    )


def _bound_labels(axes: Axes, kpi: Kpi) -> list[style.EndLabel]:
    bounds = [("target", kpi.target.value, style.ORANGE_TEXT)]
    if kpi.alert.value > kpi.target.value:
        bounds.append(("alert", kpi.alert.value, style.RED_TEXT))
    return [
        style.EndLabel(
            x=axes.get_xlim()[1],
            y=value,
            text=f"{word} {words.axis_duration(value)}",
            colour=colour,
        )
        for word, value, colour in bounds
    ]


def _lost(axes: Axes, windows: Windows, name: str, colour: str) -> bool:
    """Mark at the upper edge the windows whose percentile falls on a failed request; say if any."""
    times = [
        time
        for time, value in zip(_centres(windows).tolist(), getattr(windows, name), strict=True)
        if value is not None and math.isinf(value)
    ]
    if times:
        level = {"p50": 0.93, "p95": 0.965, "p99": 1.0}[name]
        over = axes.get_xaxis_transform()
        axes.plot(
            times, [level] * len(times), "^", ms=3.5, color=colour, clip_on=False, transform=over
        )
    return bool(times)


def _reads(drawn: Drawn, kpis: Sequence[Kpi]) -> None:
    target = next((kpi for kpi in kpis if kpi.metric == parse_metric("hit_ratio")), None)
    drawn[0][0].set_ylim(0, 100)
    drawn[0][0].set_ylabel("% of cache reads")
    for axes, record in drawn:
        windows = record.windows
        tiers = np.array([windows.l1, windows.l2, windows.missed], dtype=float)
        total = tiers.sum(axis=0)
        shares = 100 * np.divide(tiers, total, out=np.zeros_like(tiers), where=total > 0)
        lower = np.zeros(total.size)
        colours = (style.BLUE, style.SKY, style.ABSENT)
        for share, colour in zip(shares, colours, strict=True):
            axes.stairs(
                lower + share, _edges(windows), baseline=lower, fill=True, color=colour, lw=0
            )
            lower = lower + share
        mean = 100 * tiers.sum(axis=1) / total.sum() if total.sum() else np.zeros(3)
        axes.set_title("Who answered the cache reads")
        if not total.sum():
            continue
        names = ("L1", "L2", "database")
        inks = (style.BLUE, style.SKY_TEXT, style.MUTED)
        at = np.concatenate(([0.0], np.cumsum(mean)))
        style.end_labels(
            axes,
            [
                style.EndLabel(
                    x=axes.get_xlim()[1],
                    y=float((at[i] + at[i + 1]) / 2),
                    text=f"{names[i]} {mean[i]:.0f} %",
                    colour=inks[i],
                )
                for i in range(3)
            ],
            size=7.5,
        )
        if target is not None:
            axes.axhline(100 * target.target.value, color=style.INK, lw=1, ls=style.DASHES)


def _failures(drawn: Drawn, kpis: Sequence[Kpi]) -> None:
    highest = 0.0
    for axes, record in drawn:
        windows = record.windows
        requests = np.maximum(np.array(windows.requests, dtype=float), 1)
        share = 100 * np.array(windows.failed) / requests
        highest = max(highest, float(share.max(initial=0)))
        axes.stairs(share, _edges(windows), fill=True, color=style.RED, lw=0)
        failed, total = sum(windows.failed), sum(windows.requests)
        axes.set_title(f"Failed requests: {failed:,} of {total:,}")
    drawn[0][0].set_ylim(0, max(highest * 1.15, 0.1))
    drawn[0][0].set_ylabel("% of requests")
    drawn[0][0].yaxis.set_major_locator(MaxNLocator(3))


TIMELINE = ReportFigure(
    name="timeline",
    heading="Over time",
    how="Yellow: between the target and the alert line. Red: beyond the alert line. The dashed line"
    " over the cache reads is the target of hit_ratio. Times count from the intended start of a"
    " request, so a stalled service cannot hide behind a waiting client.",
    is_drawn=lambda report: report.predicted is not None or report.measured is not None,
    draw=lambda report: timeline(
        report.predicted, report.measured, report.judged, report.fault_kinds
    ),
)
