"""The end of a command: verdicts, the table, the report and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.metrics.capacity import CapacityPlan
from core.metrics.kpi import Kpi, Outcome
from core.metrics.record import RunRecord
from core.metrics.verdict import ComparisonRow, compare, not_compared, outcome
from edgeproof.kpi_findings import kpi_findings, scenario_source, shipped_place
from edgeproof.options import Judging
from edgeproof.runs import shown_facts
from reports import failures, latencies, money, words
from reports.latencies import latencies_table
from reports.summary import summary
from reports.tables import kpi_table
from reports.words import printable
from scenarios.header_notes import BEGINNING

_STYLES = {
    Outcome.PASS: "green",
    Outcome.WARN: "yellow",
    Outcome.FAIL: "bold red",
    Outcome.INCONCLUSIVE: "magenta",
    Outcome.NOT_MEASURED: "dim",
    Outcome.INVALID: "bold red",
}
_TEXT_WIDTH = 24  # of texts that are longer and can be broken
INFINITE = "∞"  # of a percentile that falls on a failed request: a number, too
_EDGES, _GAP = 2, 3  # blanks at a table's edges, and between its columns


def finish(
    folder: Path,
    options: Judging,
    *,
    title: str,
    kpis: Sequence[Kpi],
    predicted: RunRecord | None = None,
    measured: RunRecord | None = None,
    plan: CapacityPlan | None = None,
    model_verdict: str | None = None,
    model_holds: bool = True,
    facts: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    lines: Sequence[str] = (),
) -> int:
    """Judge, write the report into *folder*, print the verdict, and return the exit code."""
    from reports.document import write_report  # matplotlib is a third of a command's start
    from reports.report import Report

    rows = compare(kpis, predicted, measured) if predicted or measured else []
    verdict = outcome(rows, options.required)
    if measured is None and predicted is not None and predicted.saturated:
        verdict = Outcome.FAIL  # its figures are those of a beginning
    if plan is not None and not rows:
        verdict = Outcome.PASS if plan.highest_rate is not None else Outcome.FAIL
    report = Report(
        title=title,
        rows=rows,
        outcome=verdict,
        predicted=predicted,
        measured=measured,
        plan=plan,
        kpis=tuple(kpis),
        model_verdict=model_verdict,
        facts=shown_facts(facts) if facts else (),
        notes=notes,
        required=options.required,
        seconds=sum(facts["wall_seconds"].values()) if facts else None,
        gate=options.gate,
        strict=options.strict,
        model_holds=model_holds,
    )
    write_report(folder, report)
    say, gated = options.ci.line, outcomes(rows, options.gate)
    if options.as_json:
        data = summary(
            rows, outcome=verdict, out=str(folder), invalid=report.invalid_reasons,
            doubts=report.doubts,
        )  # fmt: skip
        data |= failures.data(predicted, measured) | latencies.data(predicted, measured)
        data |= money.data(predicted, measured)
        if plan is not None:
            data["plan"] = plan.to_json()
        print(json.dumps(data, allow_nan=False))
    else:
        if rows:
            show_table(kpi_table(rows), plain=options.plain)
        if report.basis:
            print(report.basis)
        times = latencies_table(predicted, measured)
        if len(times) > 1:
            show_table(times, plain=options.plain)
        if of_runs := latencies.basis(predicted, measured):
            print(of_runs)
        bill = money.money_table(predicted, measured)
        if len(bill) > 1:
            show_table(bill, plain=options.plain)
        why = failures.failures_table(predicted, measured)
        if len(why) > 1:
            show_table([[*map(say, row)] for row in why], plain=options.plain)
        for line in failures.examples(predicted, measured):
            print(say(printable(f"e.g. {line}")))
        told = failures.lines(predicted, measured)
        for line in (
            *told,
            *_start_lines(measured),
            *_header_lines(measured),
            *not_compared((kpi.metric for kpi in kpis), predicted, measured),
            *(words.servers(predicted) if predicted is not None and measured is None else ()),
            *money.money_lines(predicted, measured),
            *lines,
            *([model_verdict] if model_verdict else ()),
        ):
            print(say(line))
        for reason in report.invalid_reasons:
            print(say(f"INVALID: {reason}"))
        for line in report.doubts:
            print(say(line))
        print(f"{verdict if rows else 'PLAN'}: {report.sentence}")
        print(say(f"Report: {folder / 'report.html'}"))
    sys.stdout.flush()
    source = scenario_source(facts)
    options.ci.tell(
        kpi_findings(report, options, source=source, gated=gated, model_holds=model_holds),
        (folder / "report.md").read_text(encoding="utf-8"),
        otherwise=shipped_place(source),
        as_json=options.as_json,
    )
    return exit_code(verdict, [*gated.values()], options, model_holds=model_holds)


def _start_lines(measured: RunRecord | None) -> list[str]:
    """Return that the measurement began on caches in an unknown state, if it did."""
    beginning = "clean start: not possible: "
    notes = measured.notes if measured is not None else ()
    return [
        "Start not clean: the caches held whatever earlier requests had left, or nothing "
        f"({note.removeprefix(beginning)})."
        for note in notes
        if note.startswith(beginning)
    ]


def _header_lines(measured: RunRecord | None) -> list[str]:
    """Return what could not be read of the answers' headers, or was read in place of another."""
    notes = measured.notes if measured is not None else ()
    told = [note.removeprefix(BEGINNING) for note in notes if note.startswith(BEGINNING)]
    return [f"Headers: {note}." for note in told]


def outcomes(rows: Sequence[ComparisonRow], gate: str) -> dict[str, Outcome]:
    """Return the outcome of each KPI by name; at the gate on targets a sure miss counts as one.

    An interval that straddles the alert line alone is INCONCLUSIVE, and misses the target.
    """
    found = {}
    for row in rows:
        verdict = row.measured or row.predicted
        if verdict is None:
            continue
        is_miss = verdict.outcome is Outcome.INCONCLUSIVE and verdict.misses
        found[row.kpi.name] = Outcome.WARN if is_miss and gate != "alert" else verdict.outcome
    return found


def exit_code(
    verdict: Outcome, outcomes: Sequence[Outcome], options: Judging, *, model_holds: bool = True
) -> int:
    """Return 0, 1, 3 or 4 as the verdict and the gate say; 3 before 1 before 4."""
    if verdict is Outcome.INVALID:
        return 3
    misses = {Outcome.FAIL} if options.gate == "alert" else {Outcome.FAIL, Outcome.WARN}
    if verdict in misses or misses & set(outcomes):
        return 1
    if options.gate == "model" and not model_holds:
        return 1
    if options.strict and Outcome.INCONCLUSIVE in (verdict, *outcomes):
        return 4
    return 0


def show_table(rows: Sequence[Sequence[str]], *, plain: bool) -> None:
    """Print a table whose first row is its header, with colour only on a terminal."""
    rows = [[printable(cell) for cell in row] for row in rows]
    if plain or not sys.stdout.isatty():
        widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (set_cell_size(text, width) for text, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip())
        return
    console = Console()
    for columns in _side_by_side(rows, console.width):
        console.print(_table([[row[column] for column in columns] for row in rows], console.width))


def _side_by_side(rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Return the columns of each table that it takes to show *rows* on *width* columns.

    The first column stands in all of them.
    """
    needed = [_narrowest(rows, column) for column in range(len(rows[0]))]
    found: list[list[int]] = []
    left = 0
    for column in range(1, len(needed)):
        if not found or needed[column] + _GAP > left:
            found.append([0])
            left = width - needed[0] - _EDGES
        found[-1].append(column)
        left -= needed[column] + _GAP
    return found or [[0]]


def _narrowest(rows: Sequence[Sequence[str]], column: int) -> int:
    """Return the width of the column with a line for each word; texts may be broken further."""
    width = max(cell_len(word) for row in rows for word in row[column].split(" "))
    return min(width, _TEXT_WIDTH) if _is_text(rows, column) else width


def _widest(rows: Sequence[Sequence[str]], column: int) -> int:
    return max(cell_len(row[column]) for row in rows)


def _is_text(rows: Sequence[Sequence[str]], column: int) -> bool:
    if column == 0:
        return True
    is_last = column == len(rows[0]) - 1
    cells = [row[column] for row in rows[1:] if row[column] not in ("", INFINITE)]
    return is_last and any(not cell[0].isdigit() for cell in cells)


def _table(rows: Sequence[Sequence[str]], width: int) -> Table:
    columns = range(len(rows[0]))
    widths = [_widest(rows, column) for column in columns]
    spare = [widths[column] - _narrowest(rows, column) for column in columns]
    while sum(widths) + _GAP * (len(widths) - 1) + _EDGES > width and any(spare):
        at = max((column for column in columns if spare[column]), key=widths.__getitem__)
        widths[at] -= 1
        spare[at] -= 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        # A str would be read as markup, and names may hold brackets. Nothing is ever cut off.
        table.add_column(
            Text(rows[0][column]),
            justify="left" if _is_text(rows, column) else "right",
            width=widths[column],
            overflow="fold",
        )
    for row in rows[1:]:
        word = row[-1].split(" ")[0]
        style = _STYLES.get(Outcome(word), "") if word in Outcome.__members__ else ""
        table.add_row(*map(Text, row[:-1]), Text(row[-1], style=style))
    return table
