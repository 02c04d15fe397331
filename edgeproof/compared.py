"""What a comparison of two versions says to CI systems: findings, test cases and a summary."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.texts import count_of
from edgeproof.ci import SUMMARY_ROWS, Ci, relative, write
from edgeproof.paired.options import Finished
from edgeproof.paired.result import BenchmarkRow, Missing
from edgeproof.paired.table import duration, sentence
from edgeproof.paired.verdicts import Word
from reports import tables, text_figure
from reports.finding import Finding, Severity
from reports.junit import Case, written

SUITE = "edgeproof bench compare"
_MOST_DRAWN = 60


def findings(finished: Finished, project: Path) -> list[Finding]:
    """Return what fails in a comparison, and what is undecided, at the benchmark's own line."""
    is_here = finished.ready.head.root == project
    found = []
    for subject, check, message, is_error in _faults(finished):
        file, test = _parts(subject)
        path = relative(project / file)
        severity: Severity = "major" if is_error else "minor"
        found.append(
            Finding(
                level="error" if is_error else "warning", severity=severity, check=check,
                subject=subject, title=f"{test or file}: {check}", message=message, path=path,
                line=_line(project / file, test) if path is not None and is_here else None,
            )
        )  # fmt: skip
    found += [
        Finding(
            level="error", severity="critical", check="input", subject=_input(fault),
            title="bench compare: bad input", message=fault,
        )
        for fault in finished.found.faults
    ]  # fmt: skip
    return found


def _input(fault: str) -> str:
    """Return the option and value that a fault of what was asked for begins with."""
    return fault.partition(":")[0]


def _faults(finished: Finished) -> Iterator[tuple[str, str, str, bool]]:
    """Yield benchmark, check, message, and whether it fails."""
    rules = finished.rules
    for row in finished.found.rows:
        if row.is_regression:
            yield row.name, "regression", _slower(row, finished), True
        elif row.verdict.word is Word.UNDECIDED:
            yield row.name, "undecided", _undecided(row), finished.is_strict
        if row.different_counts and not rules.allow_counts:
            yield row.name, "counts", _counts(row), True
    for one in finished.found.missing:
        if _fails(one, finished):
            yield one.name, "missing", f"{one.name}: {one.told}", True


def _fails(one: Missing, finished: Finished) -> bool:
    return one.fault or not finished.rules.allow_missing


def _slower(row: BenchmarkRow, finished: Finished) -> str:
    verdict = row.verdict
    interval = "" if verdict.interval is None else "{:.3f} to {:.3f}".format(*verdict.interval)
    return (
        f"{row.name} takes {verdict.ratio:.3f} times as long as in {finished.ready.base.label} "
        f"(interval {interval}): {duration(verdict.head)}, before {duration(verdict.base)}; a "
        f"slowdown of {100 * finished.rules.limit:g} % fails"
    )


def _undecided(row: BenchmarkRow) -> str:
    return f"{row.name} is undecided: {row.verdict.reason}"


def _counts(row: BenchmarkRow) -> str:
    told = (f"{one.name} was {one.base} and is {one.head}" for one in row.different_counts)
    return f"{row.name}: {', '.join(told)}"


def _parts(name: str) -> tuple[str, str]:
    """Return the file of a benchmark, and the test in it."""
    file, _, test = name.partition("::")
    return file, test


def _line(file: Path, test: str) -> int | None:
    """Return the line of a test in *file*, None where it cannot be told."""
    try:
        body: Sequence[ast.stmt] = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    found: ast.stmt | None = None
    for name in test.partition("[")[0].split("::"):
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = next((one for one in body if isinstance(one, kinds) and one.name == name), None)
        if found is None:
            return None
        body = found.body if isinstance(found, ast.ClassDef) else ()
    return None if found is None else found.lineno


def cases(finished: Finished) -> list[Case]:
    """Return a test case for each benchmark: a failure if it fails the gate, undecided skipped.

    An option that could not be followed and an interruption are errors: what was compared may pass.
    """
    found = [_case(row, finished) for row in finished.found.rows]
    for one in finished.found.missing:
        fails = _fails(one, finished)
        group, name = _names(one.name)
        found.append(
            Case(
                group=group, name=name, kind="failure" if fails else "skipped",
                type="missing" if fails else "", message=one.told,
            )
        )  # fmt: skip
    found += [
        Case(group="edgeproof", name=_input(fault), kind="error", type="input", message=fault)
        for fault in finished.found.faults
    ]
    if finished.found.is_interrupted:
        told = "interrupted: the other cases hold what had been decided by then"
        found.append(
            Case(
                group="edgeproof", name="bench compare", kind="error", type="interrupted",
                message=told,
            )
        )  # fmt: skip
    return found


def _case(row: BenchmarkRow, finished: Finished) -> Case:
    group, name = _names(row.name)
    has_other_counts = bool(row.different_counts) and not finished.rules.allow_counts
    faults = [_slower(row, finished)] if row.is_regression else []
    faults += [_counts(row)] if has_other_counts else []
    is_undecided = row.verdict.word is Word.UNDECIDED
    if is_undecided and finished.is_strict:
        faults.append(_undecided(row))
    if faults:
        word = "other counts" if has_other_counts and len(faults) == 1 else str(row.verdict.word)
        return Case(group=group, name=name, kind="failure", type=word, message="; ".join(faults))
    if is_undecided:
        return Case(group=group, name=name, kind="skipped", message=_undecided(row))
    return Case(group=group, name=name)


def _names(benchmark: str) -> tuple[str, str]:
    """Return the group and name of a benchmark's case; a dot ends a package for Jenkins."""
    file, test = _parts(benchmark)
    group = file.removesuffix(".py").replace("/", ".").strip(".")
    return group or "edgeproof.bench", test or benchmark


def summary(finished: Finished, code: int) -> str:
    """Return the comparison as Markdown: the sentence, a table and a figure."""
    say = tables.escape
    words_of = {0: "✓ PASS", 4: "? UNDECIDED", 130: "∅ INTERRUPTED"}
    base, head = finished.ready.base.label, finished.ready.head.label
    is_open = any(row.verdict.word is Word.UNDECIDED for row in finished.found.rows)
    # What was not decided did not pass, though the exit code is 0 without --strict.
    state = words_of.get(4 if code == 0 and is_open else code, "✗ FAIL")
    parts = [
        f"# {state}: bench compare\n",
        f"Base: {say(base)}. Head: {say(head)}. Mode: {say(finished.ready.mode)}.\n",
        f"{say(sentence(finished.found, finished.rules))}\n",
    ]
    rows, left = _shown(finished.found.rows)
    if rows:
        parts.append(_table(rows))
        if left:
            told = count_of(left, "more benchmark")
            parts.append(f"{told} left out: the log and the JUnit file have all of them.\n")
        drawn = [
            text_figure.Extent(
                name=_parts(row.name)[1] or row.name,
                value=row.verdict.ratio - 1,
                interval=_difference(row),
                said=_word(row),
            )
            for row in rows[:_MOST_DRAWN]
        ]
        figure = text_figure.drawn_spans(drawn, limit=finished.rules.limit, what="benchmark")
        parts.append(text_figure.fenced(figure))
    lines = [_counts(row) for row in finished.found.rows if row.different_counts]
    lines += [_undecided(row) for row in rows if row.verdict.word is Word.UNDECIDED]
    lines += [f"{one.name}: {one.told}" for one in finished.found.missing]
    lines += [*finished.found.notes, *finished.found.faults]
    if lines:
        parts += ["## Notes\n", "".join(f"- {say(line)}\n" for line in lines[:SUMMARY_ROWS])]
    return "\n".join(parts)


def tell_untrusted(ci: Ci, reason: str, *, otherwise: str, as_json: bool) -> None:
    """Say that a comparison cannot be trusted, and why."""
    title = "INVALID: bench compare"
    if ci.junit is not None:
        case = Case(
            group="edgeproof", name="bench compare", kind="error", type="INVALID", message=reason
        )
        write(ci.junit, written([case], name=SUITE))
    found = Finding(
        level="error", severity="blocker", check="invalid", subject="bench compare", title=title,
        message=reason,
    )  # fmt: skip
    text = f"# ∅ INVALID: bench compare\n\n{tables.escape(reason)}\n"
    ci.tell([found], text, otherwise=otherwise, as_json=as_json)


def _shown(rows: Sequence[BenchmarkRow]) -> tuple[list[BenchmarkRow], int]:
    """Return the rows of a summary, those that are not the same first where not all fit."""
    if len(rows) <= SUMMARY_ROWS:
        return [*rows], 0
    order = sorted(rows, key=lambda row: (not row.is_regression, row.verdict.word is Word.SAME))
    return order[:SUMMARY_ROWS], len(rows) - SUMMARY_ROWS


def _difference(row: BenchmarkRow) -> tuple[float, float] | None:
    interval = row.verdict.interval
    if interval is None or not all(map(math.isfinite, interval)):
        return None
    return interval[0] - 1, interval[1] - 1


def _word(row: BenchmarkRow) -> str:
    text = str(row.verdict.word)
    if row.verdict.word is Word.SLOWER:
        text += ", regression" if row.is_regression else ", within the limit"
    return f"{text}, counts differ" if row.different_counts else text


def _table(rows: Sequence[BenchmarkRow]) -> str:
    lines = ["| benchmark | base median | head median | head/base | interval | verdict |",
             "| :-- | --: | --: | --: | --: | :-- |"]  # fmt: skip
    for row in rows:
        verdict = row.verdict
        interval = "" if verdict.interval is None else "{:.3f} to {:.3f}".format(*verdict.interval)
        ratio = "" if math.isnan(verdict.ratio) else f"{verdict.ratio:.3f}"
        cells = (duration(verdict.base), duration(verdict.head), ratio, interval, _word(row))
        lines.append(f"| {text_figure.code(row.name)} | {' | '.join(map(tables.escape, cells))} |")
    return "".join(f"{line}\n" for line in lines)
