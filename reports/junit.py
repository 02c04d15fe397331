"""The KPIs as test cases, for the test view of a CI system."""

from __future__ import annotations

import re
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


def junit(report: Report) -> bytes:
    """Return JUnit XML with one case per KPI, judged by the side that counts."""
    root = ElementTree.Element("testsuites", name="edgeproof")
    suite = ElementTree.SubElement(root, "testsuite", name=_clean(report.title))
    kinds = []
    why = failures.text(report.predicted, report.measured)
    for row in report.rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname="edgeproof.kpi", name=_clean(row.kpi.name)
        )
        outcome, reason = _reason(report, row)
        kind = _KINDS.get(outcome)
        if kind is not None:
            kinds.append(kind)
            text = f"{words.word(outcome)}: {reason}"
            element = ElementTree.SubElement(case, kind, message=_clean(text))
            if kind != "skipped":
                element.set("type", outcome.value)
            if row.kpi.metric.general == "ratio(error)":
                element.text = why
    if why:
        ElementTree.SubElement(suite, "system-out").text = _clean(f"Failed requests\n{why}")
    for element in (root, suite):
        element.set("tests", str(len(report.rows)))
        element.set("failures", str(kinds.count("failure")))
        element.set("errors", str(kinds.count("error")))
        element.set("skipped", str(kinds.count("skipped")))
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
