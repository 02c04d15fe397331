"""Test cases, one for each KPI or scenario, for the test view of a CI system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from core.kpi import Outcome
from core.verdict import Row
from reports import failures, words
from reports.report import Report

_KINDS = {
    Outcome.WARN: "failure",
    Outcome.FAIL: "failure",
    Outcome.INVALID: "error",
    Outcome.NOT_MEASURED: "skipped",
    Outcome.INCONCLUSIVE: "skipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test case; *kind* is failure, error or skipped, and empty where it passed."""

    name: str
    kind: str = ""
    message: str = ""
    type: str = ""
    text: str = ""


def junit(report: Report) -> bytes:
    """Return JUnit XML with one case per KPI, judged by the side that counts."""
    why = failures.text(report.predicted, report.measured)
    cases = []
    for row in report.rows:
        outcome, reason = _reason(report, row)
        kind = _KINDS.get(outcome, "")
        cases.append(
            Case(
                name=row.kpi.name,
                kind=kind,
                message=f"{words.word(outcome)}: {reason}",
                type="" if kind == "skipped" else outcome.value,
                text=why if kind and row.kpi.metric.general == "ratio(error)" else "",
            )
        )
    output = f"Failed requests\n{why}" if why else ""
    return suite(report.title, "edgeproof.kpi", cases, output=output)


def suite(name: str, classname: str, cases: Sequence[Case], *, output: str = "") -> bytes:
    """Return JUnit XML with one suite of *cases*; *output* is what it printed."""
    root = ElementTree.Element("testsuites", name="edgeproof")
    element = ElementTree.SubElement(root, "testsuite", name=_clean(name))
    for case in cases:
        test = ElementTree.SubElement(
            element, "testcase", classname=classname, name=_clean(case.name)
        )
        if case.kind:
            found = ElementTree.SubElement(test, case.kind, message=_clean(case.message))
            if case.type:
                found.set("type", case.type)
            if case.text:
                found.text = _clean(case.text)
    if output:
        ElementTree.SubElement(element, "system-out").text = _clean(output)
    kinds = [case.kind for case in cases]
    for counted in (root, element):
        counted.set("tests", str(len(cases)))
        counted.set("failures", str(kinds.count("failure")))
        counted.set("errors", str(kinds.count("error")))
        counted.set("skipped", str(kinds.count("skipped")))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _reason(report: Report, row: Row) -> tuple[Outcome, str]:
    verdict = words.decisive(row)
    if row.kpi.name in report.missing:
        return Outcome.FAIL, f"{row.kpi.name} is required and could not be measured"
    if verdict is None:
        return Outcome.NOT_MEASURED, words.MEANINGS[Outcome.NOT_MEASURED]
    if verdict.outcome is Outcome.INVALID:
        reasons = "; ".join(report.invalid_reasons)
        return Outcome.INVALID, reasons or words.MEANINGS[Outcome.INVALID]
    distance = words.distance(verdict, is_predicted=row.measured is None)
    reason = f"{distance}, alert {row.kpi.alert_text}"
    if verdict.outcome in (Outcome.INCONCLUSIVE, Outcome.NOT_MEASURED):
        reason = f"{reason}; {words.MEANINGS[verdict.outcome]}"
    return verdict.outcome, reason


def _clean(text: str) -> str:
    """Return *text* without the control characters that no XML document may hold."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", text)
