"""Who answers the cache reads of a plan, for fewer and more isolates."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from core.metrics.what_helps import IsolateSplit
from core.texts import count_of
from reports import style, words
from reports.figure import ReportFigure
from reports.report import Report

_SERIES = (
    ("ratio(l1)", "L1", style.BLUE),
    ("ratio(l2)", "L2", style.SKY_TEXT),
    ("ratio(miss)", "miss", style.RED_TEXT),
)


def isolate_shares(splits: Sequence[IsolateSplit], *, at: str) -> Figure:
    """Draw the shares of L1, L2 and misses over the number of isolates, with their bands.

    at: the rate, as a text. Raise ValueError with fewer than two numbers.
    """
    if len(splits) < 2:
        raise ValueError("two numbers of isolates or more are needed")
    with style.drawing():
        title = words.wrapped(_finding(splits), 50)
        height = 3.3 + 0.22 * title.count("\n")
        figure = Figure(figsize=(style.PHONE, height))
        axes = figure.add_axes((0.125, 0.48 / height, 0.70, 2.1 / height))
        numbers = [split.isolates for split in splits]
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(numbers))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_xlim(numbers[0] / 1.05, numbers[-1] * 1.02)
        axes.set_ylim(0.0, 1.0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
        axes.set_xlabel("isolates in each process (log scale)")
        axes.set_ylabel("share of all cache reads")
        labels = []
        for name, label, colour in _SERIES:
            known = [(s.isolates, s.shares[name], s.intervals.get(name)) for s in splits
                     if name in s.shares]  # fmt: skip
            if not known:
                continue
            axes.plot(*zip(*((x, y) for x, y, _ in known), strict=True), color=colour,
                      marker="o", ms=4)  # fmt: skip
            banded = [(x, ends) for x, _, ends in known if ends is not None]
            if banded:
                lows, highs = zip(*(ends for _, ends in banded), strict=True)
                axes.fill_between([x for x, _ in banded], lows, highs, color=colour, alpha=0.25,
                                  lw=0)  # fmt: skip
            x, y, _ = known[-1]
            text = f"{label} {100 * y:.1f} %"
            labels.append(style.EndLabel(x=x, y=y, text=text, colour=colour))
        style.end_labels(axes, labels)
        style.headline(figure, title, f"Predicted at {at}: mean of the replications.")
        return figure


def _finding(splits: Sequence[IsolateSplit]) -> str:
    first, last = splits[0], splits[-1]
    l1 = [100 * split.shares.get("ratio(l1)", 0.0) for split in (first, last)]
    miss = [100 * split.shares.get("ratio(miss)", 0.0) for split in (first, last)]
    text = (
        f"L1 answers {l1[0]:.1f} % of the cache reads with {count_of(first.isolates, 'isolate')}, "
        f"{l1[1]:.1f} % with {last.isolates}"
    )
    if abs(miss[0] - miss[1]) < 0.5:
        return f"{text}; {miss[1]:.1f} % reach the origin with any number"
    return f"{text}; {miss[0]:.1f} and {miss[1]:.1f} % reach the origin"


def _is_drawn(report: Report) -> bool:
    helps = None if report.plan is None else report.plan.helps
    return helps is not None and len(helps.splits) > 1


def _draw(report: Report) -> Figure:
    assert report.plan is not None  # it is drawn for plans alone
    assert report.plan.helps is not None
    helps = report.plan.helps
    return isolate_shares(helps.splits, at=words.rate_text(helps.rate))


ISOLATES = ReportFigure(
    name="isolates",
    heading="L1, L2 and misses by isolates",
    how="Each isolate has an L1 of its own, so that more of them share the same traffic and each"
    " finds less. Bands: 95 % confidence intervals of the means.",
    is_drawn=_is_drawn,
    draw=_draw,
)
