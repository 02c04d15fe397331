"""The retry storm with real processes and sockets: the overload outlives its trigger there, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.metrics.kpi import parse_metric
from core.metrics.record import RunRecord, read_record
from tests.edgeproof.commands import edgeproof

FAULT = '[{at="5s",for="3s",tier="l3",kind="slow",value=6.0}]'
KPIS = (
    "[{metric='ratio(goodput, 1s..5s)',target='>= 99%',alert='< 95%'},"
    "{metric='ratio(goodput, 16s..24s)',target='>= 99%',alert='< 95%'},"
    "{metric='ratio(attempts, 16s..24s)',target='<= 110%',alert='> 150%'}]"
)


def test_the_measured_overload_outlives_its_trigger_as_predicted(tmp_path: Path) -> None:
    done = edgeproof(
        "prove", "retry-storm", "--no-calibrate", "--out", "storm", "--set", "warm_up=1s",
        "--set", "duration=23s", "--set", f"faults={FAULT}", "--set", f"kpis={KPIS}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # whatever the machine does: the storm decides
    predicted, measured = (
        read_record(tmp_path / "storm" / side / "record.json") for side in ("predicted", "measured")
    )
    assert measured.audit is not None
    assert measured.audit.rendered_hash == predicted.workload_hash

    def figure(record: RunRecord, ratio: str, start: float, end: float) -> float:
        found = record.metric(parse_metric(f"ratio({ratio}, {start:g}s..{end:g}s)"))
        assert found is not None
        return found

    for record in (predicted, measured):
        assert figure(record, "goodput", 1, 5) > 0.9
        # From 8 s after the end of a trigger of 3 s on.
        assert figure(record, "goodput", 16, 24) < 0.5
        assert figure(record, "attempts", 16, 24) > 2
        assert sum(record.windows.attempts[15:]) > 2 * sum(record.windows.requests[15:])
    late = figure(measured, "goodput", 16, 24)
    assert late == pytest.approx(figure(predicted, "goodput", 16, 24), abs=0.15)
    page = (tmp_path / "storm" / "report.html").read_text(encoding="utf-8")
    assert "Attempts that clients send for a request" in page
