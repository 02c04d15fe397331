"""What a report says of a run whose verdict holds in spite of a flaw, and of one it does not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Outcome, parse_kpi
from core.metrics.verdict import compare, outcome
from reports import tables
from reports.document import write_report
from reports.report import Report
from tests.reports import records

KPIS = (parse_kpi("error_ratio", "< 0.1%", "> 1%"), parse_kpi("p95_track", "< 100ms", "> 200ms"))
FLAW = "69 of 228 arrivals found no free connection"


def report(latencies: list[float], *, excused: int) -> Report:
    base = records.measured(invalid=(FLAW,))
    found = replace(
        base,
        latencies={"track": LatencyHistogram.of(np.array(latencies))},
        doubt=Doubt(excused={"track": excused}),
    )
    rows = compare(KPIS, None, found)
    return Report(title="slow", rows=rows, outcome=outcome(rows), measured=found)


def test_every_file_tells_of_the_doubt_and_that_the_verdict_holds(tmp_path: Path) -> None:
    told = report([0.01] * 90 + [math.inf] * 10, excused=6)
    assert told.outcome is Outcome.FAIL
    assert told.invalid_reasons == []
    write_report(tmp_path, told)
    for name in ("report.html", "report.md", "report.json", "junit.xml"):
        text = (tmp_path / name).read_text(encoding="utf-8").replace("\\_", "_")
        assert FLAW in text, name
        assert "holds in spite of this" in text, name
        assert "p95_track lies between" in text, name
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (data["outcome"], data["invalid"]) == ("FAIL", [])
    assert [kpi["measured_outcome"] for kpi in data["kpis"]] == ["FAIL", "INVALID"]
    assert data["kpis"][0]["measured_possible"] == [0.04, 0.1]
    assert data["kpis"][1]["measured_possible"][1] == "Infinity"
    cases = ElementTree.parse(tmp_path / "junit.xml").iter("testcase")
    assert [[child.tag for child in case] for case in cases] == [["failure"], ["error"]]


def test_an_invalid_run_names_the_figures_that_its_flaw_decides() -> None:
    told = report([0.01] * 95 + [math.inf] * 5, excused=5)
    assert told.outcome is Outcome.INVALID
    assert told.invalid_reasons == [FLAW]
    assert "could change the verdict on error_ratio" in told.sentence
    assert told.doubts == [
        "error_ratio lies between 0.00 % and 5.00 %: PASS with the requests in doubt at their "
        "best, FAIL at their worst."
    ]


def test_a_run_without_flaws_has_nothing_in_doubt() -> None:
    rows = compare(KPIS, None, records.measured())
    assert Report(title="x", rows=rows, outcome=Outcome.PASS).doubts == []


def test_the_audit_counts_late_requests_and_says_whether_they_are_too_many() -> None:
    found = records.measured()
    assert found.audit is not None
    for late, kept in ((1, "✓ kept"), (3, "✗ broken")):
        audit = replace(found.audit, late=late, judged=60)
        lines = {line[0]: line[1:] for line in tables.audit_table(replace(found, audit=audit))}
        assert lines["sent more than 5.00 ms late"][-1] == kept
        assert lines["sent more than 5.00 ms late"][0].startswith(f"{late} of 60")
