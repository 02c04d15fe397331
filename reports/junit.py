"""Test cases for the test view of a CI system, and the KPIs of a report as such.

The XML is what GitLab reads and what the schema of Jenkins' xUnit plugin (junit-10) allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from core.metrics.capacity import CapacityPlan
from core.metrics.kpi import Outcome
from core.metrics.verdict import ComparisonRow
from reports import failures, words
from reports.report import Report

Kind = Literal["failure", "error", "skipped"]
_KINDS: dict[Outcome, Kind] = {
    Outcome.WARN: "failure",
    Outcome.FAIL: "failure",
    Outcome.INVALID: "error",
    Outcome.NOT_MEASURED: "skipped",
    Outcome.INCONCLUSIVE: "skipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test case; *kind* is None where it passes. *type* names a failure's class."""

    group: str
    name: str
    kind: Kind | None = None
    type: str = ""
    message: str = ""
    text: str = ""


def written(
    cases: Sequence[Case], *, name: str, seconds: float | None = None, output: str = ""
) -> bytes:
    """Return *cases* as one JUnit document with one suite called *name*.

    seconds: what the suite took; output: what stands below its cases. Equal arguments give equal
    bytes. Control characters are shown as Python escapes them. GitLab ignores the second case of a
    group and name, so that it gets a number.
    """
    root = ElementTree.Element("testsuites", name="edgeproof")
    suite = ElementTree.SubElement(root, "testsuite", name=words.printable(name))
    taken: set[tuple[str, str]] = set()
    for case in cases:
        group, title = words.printable(case.group), words.printable(case.name)
        number = 2
        while (group, title) in taken:
            title = f"{words.printable(case.name)} ({number})"
            number += 1
        taken.add((group, title))
        element = ElementTree.SubElement(suite, "testcase", classname=group, name=title)
        if case.kind is None:
            continue
        child = ElementTree.SubElement(element, case.kind, message=words.printable(case.message))
        if case.type:
            child.set("type", words.printable(case.type))
        if case.text:
            child.text = _lines(case.text)
    if output:
        ElementTree.SubElement(suite, "system-out").text = _lines(output)
    kinds = [case.kind for case in cases]
    for element in (root, suite):
        element.set("tests", str(len(cases)))
        element.set("failures", str(kinds.count("failure")))
        element.set("errors", str(kinds.count("error")))
        if seconds is not None:
            element.set("time", f"{seconds:.3f}")
    suite.set("skipped", str(kinds.count("skipped")))  # the schema has it on a suite only
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _lines(text: str) -> str:
    return "".join(f"{words.printable(line)}\n" for line in text.split("\n")).rstrip("\n") + "\n"


def junit(report: Report) -> bytes:
    """Return JUnit XML with one case per KPI, judged by the side that counts.

    A case fails as the gate makes the command fail: with "alert" a missed target alone passes, with
    strict what is inconclusive fails, and with "model" a prediction that is off has a case. A plan
    has a case for "some rate meets every KPI" before those of its KPIs.
    """
    why = failures.text(report.predicted, report.measured)
    cases = [_case(report, row, why) for row in report.rows]
    if report.is_plan and report.plan is not None:
        cases = [*_planned(report.plan, report.sentence)]
    if report.gate == "model" and not report.model_holds and report.outcome is not Outcome.INVALID:
        told = report.model_verdict or "the prediction is off"
        cases.append(
            Case(
                group="edgeproof.model", name="the prediction holds", kind="failure", type="model",
                message=told,
            )
        )  # fmt: skip
    return written(
        cases,
        name=report.title,
        seconds=report.seconds,
        output="\n".join(
            [
                *(["In doubt", *report.doubts] if report.doubts else []),
                *([f"Failed requests\n{why}"] if why else []),
            ]
        ),
    )


def _case(report: Report, row: ComparisonRow, why: str) -> Case:
    outcome, reason = report.reason(row)
    kind = _KINDS.get(outcome)
    verdict = words.decisive(row)
    is_alert = report.gate == "alert"
    if outcome is Outcome.WARN and is_alert:
        kind = None
    if outcome is Outcome.INCONCLUSIVE and verdict is not None:
        # A target that is missed for sure, with the alert line open, ends the command with 1.
        is_failure = report.strict or (verdict.misses and not is_alert)
        kind = "failure" if is_failure else "skipped"
    return Case(
        group="edgeproof.kpi",
        name=row.kpi.name,
        kind=kind,
        type="" if kind == "skipped" else outcome.value,
        message=f"{words.word(outcome)}: {reason}",
        text=why if row.kpi.metric.general == "ratio(error)" else "",
    )


def _planned(plan: CapacityPlan, sentence: str) -> Iterator[Case]:
    """Yield the cases of a plan: a KPI fails if no rate tried meets it."""
    is_held = plan.highest_rate is not None
    yield Case(
        group="edgeproof.plan",
        name="some rate meets every KPI",
        kind=None if is_held else "failure",
        type=Outcome.FAIL.value,
        message=sentence,
    )
    for kpi in plan.kpis:
        outcomes = {point.outcomes.get(kpi.name) for point in plan.points}
        kind: Kind | None = None
        message = ""
        if Outcome.PASS not in outcomes:
            is_judged = bool(outcomes - {None, Outcome.NOT_MEASURED})
            kind = "failure" if is_judged else "skipped"
            message = f"{kpi.name} was not measured at any rate"
            if is_judged:
                message = f"{kpi.name} misses its target {kpi.target_text} at every rate tried"
            if kpi.name in plan.unmeasured:
                message = f"{kpi.name} was not measured: {plan.unmeasured[kpi.name]}"
        yield Case(
            group="edgeproof.plan.kpi",
            name=kpi.name,
            kind=kind,
            type=Outcome.FAIL.value if kind == "failure" else "",
            message=message,
        )
