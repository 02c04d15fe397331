"""Claims about percentiles by endpoint and examples of failures in reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from core.metrics.failures import Example
from core.metrics.record import RunRecord
from core.metrics.verdict import compare, outcome
from reports import failures, latencies
from reports.document import Report, write_report
from tests.reports import records


def failing(text: str) -> RunRecord:
    record = records.run("load", failed=0.1)
    first, *rest = record.failures
    example = Example(request="POST /track", status=500, text=text)
    return replace(record, failures=(replace(first, example=example), *rest))


def test_percentiles_are_those_of_the_record() -> None:
    record = records.run("load")
    header, first, *_ = latencies.latencies_table(None, record)
    assert header == ("endpoint", "requests", "failed", "p50", "p95", "p99", "max")
    assert first[0] == "track"
    data = latencies.data(None, record)["latencies"]["measured"]["track"]
    histogram = record.latencies["track"]
    assert data["requests"] == histogram.count == int(first[1].replace(",", ""))
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert data[name] == histogram.quantile(q)


def test_percentile_on_a_failed_request_is_infinite() -> None:
    record = failing("no")
    cells = dict(zip(*latencies.latencies_table(None, record)[:2], strict=True))
    assert cells["max"] == "∞"
    assert latencies.data(None, record)["latencies"]["measured"]["track"]["max"] == "Infinity"


def test_prediction_stands_beside_its_measurement_and_not_alone() -> None:
    predicted, measured = records.run(), records.run("load", slow=1.1)
    table = latencies.latencies_table(predicted, measured)
    assert [row[1] for row in table[:3]] == ["side", "predicted", "measured"]
    assert len(latencies.latencies_table(predicted, None)) == 1
    assert latencies.data(predicted, None) == {"latencies": {}}


def test_example_stands_in_every_document_and_runs_in_none(tmp_path: Path) -> None:
    record = failing("<script>alert(1)</script> | `x`")
    rows = compare(records.KPIS, None, record)
    report = Report(title="t", rows=rows, outcome=outcome(rows), measured=record)
    write_report(tmp_path, report)
    (line,) = failures.examples(None, record)
    assert "POST /track -> 500 <script>" in line
    page = (tmp_path / "report.html").read_text()
    assert "POST /track -&gt; 500 &lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "How long each endpoint took" in page
    text = (tmp_path / "report.md").read_text()
    assert "POST /track -&gt; 500 &lt;script&gt;" in text
    assert "## Latency by endpoint" in text
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["failures"][0]["example"] == {
        "request": "POST /track", "status": 500, "text": "<script>alert(1)</script> | `x`",
    }  # fmt: skip
    assert data["latencies"]["measured"].keys() == record.latencies.keys()


def test_narrow_screen_shows_every_figure_under_its_name(tmp_path: Path) -> None:
    """A table that scrolls sideways hides its percentiles beyond the edge."""
    record = records.run("load")
    rows = compare(records.KPIS, None, record)
    write_report(tmp_path, Report(title="t", rows=rows, outcome=outcome(rows), measured=record))
    page = (tmp_path / "report.html").read_text()
    header, first, *_ = latencies.latencies_table(None, record)
    for name, cell in zip(header[1:], first[1:], strict=True):
        assert f'data-label="{name}" class="num">{cell}</td>' in page
    assert ".cards td::before { content: attr(data-label)" in page
