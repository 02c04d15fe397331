"""The report as one self-contained HTML page, and as Markdown for a job summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from core.endpoints import EndpointTable
from core.metrics.verdict import ComparisonRow
from core.wire import READ_OUTCOMES
from reports import compared as comparing
from reports import failures, money, style, tables, text_figure, words
from reports.briefing import answers
from reports.capacity_words import points_table
from reports.compared import Compared
from reports.figures import Drawn
from reports.helps_words import helps_notes, helps_table
from reports.latencies import basis as latencies_basis
from reports.latencies import latencies_table
from reports.report import Report

ENVIRONMENT = Environment(
    loader=PackageLoader("reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


SLIM = 5.6
"""Inches: a figure so narrow is read on a phone's screen as it is."""


def html(report: Report, figures: Sequence[Drawn], svgs: Mapping[str, bytes]) -> str:
    """Return *report* as an HTML page that refers to nothing outside itself.

    svgs: what `style.svg` made of each of *figures*, by name.
    """
    drawn = [
        {
            "name": each.figure.name,
            "kicker": each.figure.heading,
            "finding": words.tied(each.finding),
            "how": words.tied(each.how),
            "is_slim": each.picture.get_figwidth() <= SLIM,
            "svg": Markup(
                style.inline(each.picture, svgs[each.figure.name], name=letters(position))
            ),
        }
        for position, each in enumerate(figures)
    ]
    return ENVIRONMENT.get_template("report.html.j2").render(
        report=report,
        answers=answers(report),
        word=report.word,
        symbol=report.symbol,
        state=report.state,
        colours=style.COLOURS,
        kpis=[_kpi(row, report.endpoints) for row in report.rows],
        columns=tables.kpi_table(report.rows)[0] if report.rows else (),
        figures=drawn,
        failures=failures.failures_table(report.predicted, report.measured),
        examples=failures.examples(report.predicted, report.measured),
        latencies=latencies_table(report.predicted, report.measured),
        latencies_basis=latencies_basis(report.predicted, report.measured),
        answered=failures.lines(report.predicted, report.measured),
        reads=_reads(report),
        reads_header=tables.reads_table(report.predicted, report.measured)[0],
        audit=tables.audit_table(report.measured),
        rates=_rates(report),
        changes=_changes(report),
        change_notes=[] if report.plan is None else helps_notes(report.plan),
        money=_money(report),
    )


def letters(position: int) -> str:
    """Return a, b ... z, aa, ab ...: what ids of the figure at *position* start with."""
    before, letter = divmod(position, 26)
    return (letters(before - 1) if before else "") + chr(ord("a") + letter)


def _rates(report: Report) -> tables.Table:
    return points_table(report.plan, report.judged) if report.plan is not None else []


def _changes(report: Report) -> tables.Table:
    return helps_table(report.plan, report.judged) if report.plan is not None else []


def _kpi(row: ComparisonRow, endpoints: EndpointTable) -> dict[str, Any]:
    outcome = words.outcome_of(row)
    return {
        "name": row.kpi.name,
        "meaning": words.describe(row.kpi.metric, endpoints),
        "target": row.kpi.target_text,
        "alert": row.kpi.alert_text,
        "predicted": words.figure_and_interval(row.predicted),
        "measured": words.figure_and_interval(row.measured),
        "error": words.error_text(row),
        "word": words.word(outcome),
        "other": words.differing_prediction(row),
        "symbol": words.SYMBOLS[outcome],
        "state": words.state(outcome),
    }


def _money(report: Report) -> dict[str, Any] | None:
    """Return what the page says of the cost, None where no record tells one."""
    both = (report.predicted, report.measured)
    cost = money.decisive(*both)
    if cost is None:
        return None
    return {
        "finding": money.finding(cost),
        "savings": money.savings_sentence(cost),
        "notes": (
            *money.money_notes(cost),
            *((money.OF_ONE_RUN,) if report.shows_one_run else ()),
        ),
        "refused": [words.tied(line) for line in money.refused_lines(cost)],
        "unknown": cost.unknown,
        "tables": [
            ("Bill", money.money_table(*both)),
            ("Units", money.units_table(cost)),
            ("What each tier saves", money.savings_table(cost)),
        ],
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


def markdown(report: Report, figures: Sequence[Drawn]) -> str:
    """Return *report* as Markdown without images, for the summary of a CI job."""
    say = tables.escape
    parts = [
        f"# {report.symbol} {report.word}: {say(report.title)}\n",
        f"{say(report.sentence)}\n",
    ]
    if found := answers(report):
        rows = [("question", "answer", "more"), *((a.question, a.short, a.more) for a in found)]
        parts.append(tables.markdown(rows, left=3))
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
        parts.append(
            "".join(f"- **{say(each.figure.heading)}:** {say(each.finding)}\n" for each in figures)
        )
    of_one = " (one run)" if report.shows_one_run else ""
    both = (report.predicted, report.measured)
    has_sides = len(failures.sides(*both)) > 1
    sections = (
        ("What helps most", _changes(report), 1),
        ("Rates tried", _rates(report), 0),
        ("Latency by endpoint", latencies_table(*both), 1 + has_sides),
        ("Failed requests", failures.failures_table(*both), 1),
        (f"Cache reads{of_one}", tables.reads_table(report.predicted, report.measured), 2),
        ("Load generator", tables.audit_table(report.measured), 3),
    )
    for title, table, left in sections:
        if len(table) > 1:
            parts += [f"## {title}\n", tables.markdown(table, left=left)]
        if title == "Latency by endpoint" and (told := latencies_basis(*both)):
            parts.append(f"{told}\n")
        if title == "Failed requests" and (kept := failures.examples(*both)):
            parts.append("One request of each:\n")
            parts.append("".join(f"- {say(line)}\n" for line in kept))
    if (bill := _money(report)) is not None:
        parts += [f"## Cost\n\n{say(bill['finding'])}\n"]
        parts += [tables.markdown(table) for _, table in bill["tables"] if len(table) > 1]
        lines = [*(f"Nobody knows {each}." for each in bill["unknown"]), *bill["refused"]]
        if lines:
            parts.append("".join(f"- {say(line)}\n" for line in lines))
    if report.facts:
        parts.append("## Facts\n")
        parts.append(tables.markdown([("what", "value"), *report.facts]))
    if report.all_notes:
        parts.append("## Notes\n")
        parts.append("".join(f"- {say(note)}\n" for note in report.all_notes))
    return "\n".join(parts)


def compared_html(compared: Compared, picture: Figure | None) -> str:
    """Return a comparison of two runs as an HTML page that refers to nothing outside itself."""
    inlined = "" if picture is None else style.inline(picture, style.svg(picture), name="a")
    tones = {"SAME": style.GREEN_TEXT, "WORSE": style.RED_TEXT, "INVALID": style.RED_TEXT}
    sections = []
    for kind, title in comparing.SECTIONS:
        rows = [row for row in compared.found.rows if row.kind == kind]
        if rows:
            cells = comparing.table(rows)[1:]
            sections.append(
                (title, [(c, r.outcome.value) for c, r in zip(cells, rows, strict=True)])
            )
    return ENVIRONMENT.get_template("compared.html.j2").render(
        compared=compared,
        names=compared.names,
        word=compared.outcome.replace("_", " "),
        tone=tones.get(compared.outcome, style.MUTED),
        svg=Markup(inlined),
        how="" if picture is None else style.subtitle(picture),
        basis=comparing.basis(compared.found),
        header=comparing.HEADER,
        sections=sections,
    )
