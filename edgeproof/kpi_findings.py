"""What of a run's verdict fails or warns, at the lines of the user's scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.metrics.kpi import Outcome
from core.texts import count_of
from edgeproof.ci import place
from edgeproof.options import Judging
from reports import failures, words
from reports.finding import Finding, Severity
from reports.report import Report

_SEVERITIES: dict[Outcome, Severity] = {
    Outcome.FAIL: "critical",
    Outcome.WARN: "major",
    Outcome.INCONCLUSIVE: "minor",
    Outcome.INVALID: "minor",
}
_MOST_REASONS = 6


def kpi_findings(
    report: Report,
    options: Judging,
    *,
    source: str,
    gated: Mapping[str, Outcome],
    model_holds: bool = True,
) -> list[Finding]:
    """Return what fails as the exit code has it, and what only warns.

    source: the scenario as the command line named it. gated: the outcome of each KPI as the gate
    counts it.
    """
    path, lines = place(source)
    found = []
    if report.is_plan and report.plan is not None:
        found = [*_of_plan(report, path, lines)]
    elif report.outcome is Outcome.INVALID:
        told = [*report.invalid_reasons, *report.doubts] or [words.MEANINGS[Outcome.INVALID]]
        found = [
            Finding(
                level="error", severity="blocker", check="invalid", subject=report.title,
                title=f"INVALID: {report.title}", message="\n".join(told), path=path,
            )
        ]  # fmt: skip
    else:
        found = [*_of_rows(report, options, gated, path, lines)]
    if report.outcome is not Outcome.INVALID and options.gate == "model" and not model_holds:
        found.append(
            Finding(
                level="error", severity="major", check="model", subject=report.title,
                title=f"The prediction is off: {report.title}", message=report.model_verdict or "",
                path=path,
            )
        )  # fmt: skip
    return found


def _of_rows(
    report: Report,
    options: Judging,
    gated: Mapping[str, Outcome],
    path: str | None,
    lines: Mapping[str, int],
) -> Iterator[Finding]:
    misses = {Outcome.FAIL} if options.gate == "alert" else {Outcome.FAIL, Outcome.WARN}
    why = failures.text(report.predicted, report.measured).splitlines()
    for row in report.rows:
        name = row.kpi.name
        outcome, reason = report.reason(row)
        is_missing = name in report.missing
        if outcome in (Outcome.PASS, Outcome.NOT_MEASURED):
            continue
        is_error = is_missing or gated.get(name, outcome) in misses
        is_error |= options.strict and outcome is Outcome.INCONCLUSIVE
        if row.kpi.metric.general == "ratio(error)" and why:
            reason = "\n".join([f"{reason}.", *why[:_MOST_REASONS]])
            if len(why) > _MOST_REASONS:
                reason += f"\n{count_of(len(why) - _MOST_REASONS, 'more line')}"
        yield Finding(
            level="error" if is_error else "warning", severity=_SEVERITIES[outcome], check="kpi",
            subject=name, title=f"{name}: {words.word(outcome)} ({report.title})", message=reason,
            path=path, line=lines.get(name),
        )  # fmt: skip


def _of_plan(report: Report, path: str | None, lines: Mapping[str, int]) -> Iterator[Finding]:
    plan = report.plan
    if plan is None or plan.highest_rate is not None:
        return
    names: list[str | None] = [name for name in plan.never_met if name in lines]
    for name in names or [None]:
        yield Finding(
            level="error", severity="critical", check="plan", subject=name or plan.scenario,
            title=f"No rate holds: {report.title}", message=report.sentence, path=path,
            line=None if name is None else lines[name],
        )  # fmt: skip


def scenario_source(facts: Mapping[str, Any] | None) -> str:
    """Return the scenario as the command that *facts* are of named it, "" if that is not known."""
    asked = (facts or {}).get("asked")
    source = asked.get("scenario") if isinstance(asked, Mapping) else None
    return source if isinstance(source, str) else ""


def shipped_place(source: str) -> str:
    """Return where a scenario that is no file of the user's stands in edgeproof's own source."""
    name = Path(source.partition(",")[0]).name
    return f"scenarios/{name}" if name else "scenarios"
