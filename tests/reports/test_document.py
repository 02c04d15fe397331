"""A report on disk: complete, self-contained, escaped, the same bytes for the same run."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from core.metrics.kpi import Outcome
from core.metrics.record import RunRecord
from core.metrics.verdict import compare, outcome
from reports.document import Report, write_report
from reports.junit import junit
from tests.reports import records

VOID = {"meta", "br", "img", "link", "input", "hr"}
EVIL = "<script>alert('x')</script> & \"quotes\" | pipe"


class Page(HTMLParser):
    """Collect tags, ids and text, and refuse tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _report(predicted: RunRecord | None, measured: RunRecord | None, **changes: Any) -> Report:
    rows = compare(records.KPIS, predicted, measured)
    return Report(
        **(
            {
                "title": "prove steady-240",
                "rows": rows,
                "outcome": outcome(rows),
                "predicted": predicted,
                "measured": measured,
                "facts": [("host", "4 CPUs"), ("versions", "Python 3.11.2")],
                "notes": ["Routing behind a single URL is unknown."],
            }
            | changes
        )
    )


def _both(**changes: Any) -> Report:
    return _report(records.predicted(), records.measured(), plan=records.plan(), **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the report of a prediction, its measurement and a plan."""
    path = tmp_path_factory.mktemp("both")
    write_report(path, _both())
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    """Return its HTML page."""
    return Page((folder / "report.html").read_text())


def test_every_file_is_written_and_nothing_else(folder: Path) -> None:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).as_posix() for path in found} == {
        "report.html",
        "report.md",
        "report.json",
        "junit.xml",
        *(
            f"figures/{name}.{kind}"
            for name in ("scorecard", "spectrum", "timeline", "capacity")
            for kind in ("svg", "png")
        ),
    }


def test_equal_reports_give_equal_bytes_in_any_folder(tmp_path: Path, folder: Path) -> None:
    for path in write_report(tmp_path / "a" / "b", _both()):
        other = folder / path.relative_to(tmp_path / "a" / "b")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_a_second_report_replaces_the_first(tmp_path: Path) -> None:
    one = _report(None, None, rows=[], outcome=Outcome.PASS, plan=records.plan(), kpis=records.KPIS)
    written = write_report(tmp_path, one)
    assert write_report(tmp_path, replace(one, title="another")) == written
    assert "another" in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.rglob("*.part"))


def _worst() -> Report:
    faults = [{"at": "30s", "for": "10s", "tier": "l3", "kind": "dead", "value": 1.0}]
    shape = {"duration": 1200.0, "rate": 40.0, "faults": faults}
    return _report(
        records.predicted(slow=3.2, failed=0.03, **shape),
        records.measured(slow=3.3, failed=0.08, peak=2.0, **shape),
        plan=records.plan(),
    )


def test_the_page_parses_stands_alone_and_is_small(tmp_path: Path) -> None:
    for report in (_both(), _worst()):
        write_report(tmp_path, report)
        raw = (tmp_path / "report.html").read_bytes()
        assert len(raw) < 1_000_000
        page = Page(raw.decode())
        assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
        for tag, name, value in page.attributes:
            if name in ("href", "xlink:href", "src"):
                assert value.startswith("#"), (tag, value)
        without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", raw.decode())
        assert not re.search(r"https?://|@import|url\((?!#)", without_namespaces)


def test_ids_of_figures_never_collide_and_every_reference_is_met(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.tags["svg"] == 4
    assert len(page.ids) == len(set(page.ids))
    references = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    assert {a or b for a, b in references} <= set(page.ids)
    labelled = [v for _, name, v in page.attributes if name == "aria-labelledby"]
    assert set(labelled) <= set(page.ids)


def test_tables_and_figures_can_be_heard(page: Page) -> None:
    scopes = [value for tag, name, value in page.attributes if tag == "th" and name == "scope"]
    assert len(scopes) == page.tags["th"]
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == 4
    assert "All 8 KPIs meet their targets, as measured" in labels


def test_hostile_text_is_shown_and_never_run(tmp_path: Path) -> None:
    measured = records.measured(invalid=(EVIL,), notes=(EVIL,))
    report = _report(
        records.predicted(name="<script>"),
        measured,
        title=EVIL,
        notes=[EVIL],
        facts=[(EVIL, EVIL)],
        model_verdict=EVIL,
    )
    write_report(tmp_path, report)
    page = Page((tmp_path / "report.html").read_text())
    assert page.tags["script"] == 0
    assert page.text.count(EVIL) >= 6
    assert "<script>" not in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["title"] == EVIL
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()[0]
    assert suite.get("name") == EVIL


def test_an_invalid_run_says_why_before_anything_else(tmp_path: Path) -> None:
    reason = "p99 lag 12.1 ms exceeds 5.00 ms"
    report = _report(records.predicted(), records.measured(invalid=(reason,)))
    assert report.outcome is Outcome.INVALID
    write_report(tmp_path, report)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert 0 < text.index(reason) < text.index("p95_track")
    assert json.loads((tmp_path / "report.json").read_text())["invalid"] == [reason]


@pytest.mark.parametrize(
    ("outcome_", "measured", "kinds"),
    [
        (Outcome.PASS, records.measured(), {}),
        (Outcome.INVALID, records.measured(invalid=("late",)), {"error": 8}),
        (Outcome.PASS, records.measured(hidden=("memory", "queue")), {"skipped": 2}),
        (Outcome.WARN, records.measured(slow=2.0), {"failure": 1}),
        (Outcome.FAIL, records.measured(slow=50.0), {"failure": 4}),
    ],
)
def test_junit_has_one_case_per_kpi_of_the_right_kind(
    outcome_: Outcome, measured: RunRecord, kinds: dict[str, int]
) -> None:
    report = _report(None, measured)
    assert report.outcome is outcome_
    root = ElementTree.fromstring(junit(report))
    cases = list(root.iter("testcase"))
    assert [case.get("name") for case in cases] == [kpi.name for kpi in records.KPIS]
    assert Counter(child.tag for case in cases for child in case) == kinds
    suite = root[0]
    assert suite.get("tests") == "8"
    for kind, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert suite.get(plural) == str(kinds.get(kind, 0))
    for child in root.iter("failure"):
        assert child.get("type") in ("WARN", "FAIL")
        assert "target <" in (child.get("message") or "")


def test_an_inconclusive_kpi_is_skipped_with_its_reason() -> None:
    predicted = records.predicted()
    values = [
        {**run, "p95_track": 0.09 + 0.002 * i} for i, run in enumerate(predicted.replications)
    ]
    report = _report(replace(predicted, replications=tuple(values)), None)
    assert report.outcome is Outcome.INCONCLUSIVE
    (skipped,) = ElementTree.fromstring(junit(report)).iter("skipped")
    assert (skipped.get("message") or "").startswith("INCONCLUSIVE: p95_track is ")


def test_a_required_kpi_that_nobody_saw_fails() -> None:
    measured = records.measured(hidden=("memory",))
    rows = compare(records.KPIS, None, measured)
    report = _report(
        None,
        measured,
        required=("peak_memory",),
        outcome=outcome(rows, required=("peak_memory",)),
    )
    (failure,) = ElementTree.fromstring(junit(report)).iter("failure")
    assert failure.get("message") == "FAIL: peak_memory is required and could not be measured"
    assert "peak_memory is required" in report.sentence


def test_one_side_alone_makes_a_whole_report(tmp_path: Path) -> None:
    for folder, report in (
        ("simulate", _report(records.predicted(), None)),
        ("load", _report(None, records.measured())),
        ("silent", _report(None, records.silent())),
        (
            "plan",
            _report(
                None, None, rows=[], outcome=Outcome.PASS, plan=records.plan(), kpis=records.KPIS
            ),
        ),
    ):
        write_report(tmp_path / folder, report)
        page = Page((tmp_path / folder / "report.html").read_text())
        assert report.sentence in page.text, folder
        # Only a simulation has intervals to explain.
        explained = "A thick line behind a mark is" in " ".join(page.text.split())
        assert explained == (folder == "simulate")
    plan = (tmp_path / "plan" / "report.md").read_text()
    assert "Every KPI is predicted to hold up to 1,200 requests/s" in plan
    assert plan.startswith("# → 1,200 requests/s: ")  # a plan is no verdict on a run
    assert "## Rates tried" in plan
    assert "(target &lt; 50ms)" in plan
    written = (tmp_path / "plan" / "report.html").read_text()
    assert "What holds at each rate" in written
    assert "</span> 1,200 requests/s</p>" in written


def test_markdown_fits_a_job_summary(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    assert len(text.encode()) < 2**20
    assert "data:" not in text
    assert text.startswith("# ✓ PASS: prove steady-240\n")
    assert text.count("\n| p95") == 5
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_notes_of_both_records_are_told_once(tmp_path: Path) -> None:
    report = _report(
        records.predicted(notes=("CPU as committed", "calibration: learned already")),
        records.measured(notes=("one URL", "told already")),
        notes=["told already", "learned already"],
    )
    assert report.all_notes == [
        "told already",
        "learned already",
        "Prediction: CPU as committed",
        "Measurement: one URL",
    ]


def test_reasons_of_failures_stand_in_every_document(tmp_path: Path) -> None:
    report = _report(records.predicted(failed=0.02), records.measured(failed=0.1))
    write_report(tmp_path, report)
    assert report.measured is not None
    failure = report.measured.failures[0]
    assert failure.first is not None
    cells = [failure.endpoint, "measured", f"{failure.count:,}", f"{failure.first:.2f} s"]
    reason = {"status": "status 429 (too many requests)", "timeout": "timed out after 10 s"}
    cells.append(reason[failure.cause])
    page = (tmp_path / "report.html").read_text()
    assert f'data-label="failed">{cells[2]}</td>' in page
    assert f'data-label="reason">{cells[4]}</td>' in page
    assert f"| {' | '.join(cells)} |" in (tmp_path / "report.md").read_text()
    data = json.loads((tmp_path / "report.json").read_text())
    (found,) = (
        each
        for each in data["failures"]
        if (each["side"], each["endpoint"], each["cause"]) == ("measured", "track", failure.cause)
    )
    assert (found["count"], found["reason"]) == (failure.count, cells[4])
    assert found["first_seconds"] == failure.first
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()[0]
    output = suite.find("system-out")
    assert output is not None
    assert suite[-1] is output
    assert output.text is not None
    assert any(line.split() == " ".join(cells).split() for line in output.text.splitlines())
    (case,) = (case for case in suite.findall("testcase") if case.get("name") == "error_ratio")
    assert cells[4] in (case[0].text or "")


def test_a_report_without_failures_has_no_table_of_them(tmp_path: Path) -> None:
    write_report(tmp_path, _both())
    assert "Failed requests" not in (tmp_path / "report.html").read_text()
    assert "Failed requests" not in (tmp_path / "report.md").read_text()
    assert ElementTree.parse(tmp_path / "junit.xml").getroot()[0].find("system-out") is None
    assert json.loads((tmp_path / "report.json").read_text())["failures"] == []
