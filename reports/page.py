"""The report as one self-contained HTML page, and as Markdown for a job summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from core.metrics.verdict import ComparisonRow
from core.wire import READ_OUTCOMES
from reports import failures, style, tables, text_figure, words
from reports.capacity_words import points_table
from reports.report import Report

_HOW = {
    "scorecard": (
        "Scorecard",
        "100 % is each KPI's own target, the red line its alert. For"
        " hit_ratio the scale counts the reads that missed against those that may miss. An"
        " arrow points to what lies beyond the scale.",
    ),
    "spectrum": (
        "Percentiles",
        "p99 is the time that 99 of 100 stay below. A line ends where fewer than 10 requests"
        " are slower, except that it always reaches the percentile that is judged.",
    ),
    "timeline": (
        "Over time",
        "Yellow: between the target and the alert line. Red: beyond the alert line. The dashed line"
        " over the cache reads is the target of hit_ratio. Times count from the intended start of a"
        " request, so a stalled service cannot hide behind a waiting client.",
    ),
    "capacity": (
        "Capacity",
        "Green line: the highest rate tried at which every KPI holds. Yellow: the gap to the first"
        " rate at which one does not. Red: from that rate on. On the right, 100 % is each KPI's"
        " own target.",
    ),
}
_ENVIRONMENT = Environment(
    loader=PackageLoader("reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def html(report: Report, figures: Mapping[str, Figure], svgs: Mapping[str, bytes]) -> str:
    """Return *report* as an HTML page that refers to nothing outside itself.

    svgs: what `style.svg` made of each of *figures*.
    """
    drawn = [
        {
            "name": name,
            "kicker": _HOW[name][0],
            "finding": words.tied(style.finding(figure)),
            "how": words.tied(f"{style.subtitle(figure)} {_how(name, report)}"),
            "svg": Markup(style.inline(figure, svgs[name], name=letter)),
        }
        for letter, (name, figure) in zip("abcdefgh", figures.items(), strict=False)
    ]
    return _ENVIRONMENT.get_template("report.html.j2").render(
        report=report,
        word=report.word,
        symbol=report.symbol,
        state=report.state,
        colours=style.COLOURS,
        kpis=[_kpi(row) for row in report.rows],
        columns=tables.kpi_table(report.rows)[0] if report.rows else (),
        figures=drawn,
        failures=failures.failures_table(report.predicted, report.measured),
        answered=failures.lines(report.predicted, report.measured),
        reads=_reads(report),
        reads_header=tables.reads_table(report.predicted, report.measured)[0],
        audit=tables.audit_table(report.measured),
        rates=_rates(report),
    )


def _how(name: str, report: Report) -> str:
    """Return how the figure of that name is read."""
    has_interval = any(row.predicted and row.predicted.interval for row in report.rows)
    if name != "scorecard" or not has_interval:
        return _HOW[name][1]
    of_interval = "A thick line behind a diamond is the 95 % confidence interval of the mean."
    return f"{_HOW[name][1]} {of_interval}"


def _rates(report: Report) -> tables.Table:
    return points_table(report.plan, report.judged) if report.plan is not None else []


def _kpi(row: ComparisonRow) -> dict[str, Any]:
    outcome = words.outcome_of(row)
    return {
        "name": row.kpi.name,
        "meaning": words.describe(row.kpi.metric),
        "target": row.kpi.target_text,
        "alert": row.kpi.alert_text,
        "predicted": words.figure_and_interval(row.predicted),
        "measured": words.figure_and_interval(row.measured),
        "error": words.signed(row.error, row.kpi.metric),
        "word": words.word(outcome),
        "other": words.differing_prediction(row),
        "symbol": words.SYMBOLS[outcome],
        "state": words.state(outcome),
    }


def _reads(report: Report) -> list[dict[str, Any]]:
    found = []
    counted = tables.reads(report.predicted, report.measured)
    table = tables.reads_table(report.predicted, report.measured)
    for (_, _, outcomes), cells in zip(counted, table[1:], strict=True):
        total = sum(outcomes.get(outcome, 0) for outcome in READ_OUTCOMES[1:])
        l1, l2 = outcomes.get("l1", 0), outcomes.get("l2", 0)
        widths = [round(100 * part / max(1, total), 2) for part in (l1, l2, total - l1 - l2)]
        found.append({"cells": cells, "widths": widths})
    return found


def markdown(report: Report, figures: Mapping[str, Figure]) -> str:
    """Return *report* as Markdown without images, for the summary of a CI job."""
    say = tables.escape
    parts = [
        f"# {report.symbol} {report.word}: {say(report.title)}\n",
        f"{say(report.sentence)}\n",
    ]
    if report.invalid_reasons:
        parts.append("**Why the run is invalid**\n")
        parts.append("".join(f"- {say(reason)}\n" for reason in report.invalid_reasons))
    if report.doubts:
        parts.append("**What is in doubt**\n")
        parts.append("".join(f"- {say(line)}\n" for line in report.doubts))
    if report.model_verdict:
        parts.append(f"**{say(report.model_verdict).replace(':', ':**', 1)}\n")
    if report.rows:
        parts.append(tables.markdown(tables.kpi_table(report.rows), left=2))
        parts.append(text_figure.fenced(text_figure.kpi_bars(report.rows)))
    if report.is_plan and report.plan is not None and report.plan.points:
        parts.append(text_figure.fenced(text_figure.plan_bars(report.plan, report.judged)))
    if report.basis:
        parts.append(f"{say(report.basis)}\n")
    if figures:
        parts.append("## Findings\n")
        parts.append("".join(f"- {say(style.finding(figure))}\n" for figure in figures.values()))
    of_one = " (one run)" if report.shows_one_run else ""
    sections = (
        ("Rates tried", _rates(report), 0),
        ("Failed requests", failures.failures_table(report.predicted, report.measured), 1),
        (f"Cache reads{of_one}", tables.reads_table(report.predicted, report.measured), 2),
        ("Load generator", tables.audit_table(report.measured), 3),
    )
    for title, table, left in sections:
        if len(table) > 1:
            parts += [f"## {title}\n", tables.markdown(table, left=left)]
    if report.facts:
        parts.append("## Facts\n")
        parts.append(tables.markdown([("what", "value"), *report.facts]))
    if report.all_notes:
        parts.append("## Notes\n")
        parts.append("".join(f"- {say(note)}\n" for note in report.all_notes))
    return "\n".join(parts)
