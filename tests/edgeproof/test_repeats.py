"""Claims about repeated loads: each counts once, what is flawed is named, what is done is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import EdgeproofError, InputError
from core.metrics.kpi import Outcome, parse_metric
from core.metrics.record import RunRecord, read_record
from core.metrics.verdict import compare, outcome
from edgeproof.loading import Bounds
from edgeproof.repeats import Repeats, RunFailed, check_repeats, combined, repeated
from reports import failures, latencies, words
from reports.document import write_report
from reports.report import Report
from scenarios.hosts import HostUnreachable
from tests.edgeproof.commands import called, running
from tests.reports.records import KPIS, SCENARIO, run
from tests.scenarios.conftest import StartService, inspect, start_service
from tests.scenarios.fake_service import TOKEN

__all__ = ["start_service"]

SMALL = (
    "--rate", "80", "--set", "duration=1s", "--set", "warm_up=250ms", "--set", "traffic.users=50",
    "--set", "topology.isolates=1", "--set", "topology.processes=1",
)  # fmt: skip


def loads(*slow: float, invalid: tuple[str, ...] = ()) -> Repeats:
    """Return loads as slow as *slow* says, the last one flawed as *invalid* says."""
    records = [
        run("load", seed=position, slow=factor, invalid=invalid if factor == slow[-1] else ())
        for position, factor in enumerate(slow)
    ]
    return Repeats(records=tuple(records))


def test_kpis_are_judged_on_the_mean_of_the_loads_with_its_interval() -> None:
    repeats = loads(1.0, 1.1, 1.3)
    record = combined(SCENARIO, repeats, number=3)
    values = [each.metric(parse_metric("p95_track")) for each in repeats.records]
    (row,) = [row for row in compare(KPIS, None, record) if row.kpi.name == "p95_track"]
    verdict = row.measured
    assert verdict is not None
    assert verdict.value is not None
    assert verdict.value == pytest.approx(sum(v or 0.0 for v in values) / 3)
    assert verdict.interval is not None
    assert verdict.interval[0] < verdict.value < verdict.interval[1]
    assert verdict.runs == 3
    assert words.basis([row]).startswith("Measured: mean of 3 runs")
    again = RunRecord.from_json(json.loads(json.dumps(record.to_json())))
    assert again.estimate(parse_metric("p95_track")) == record.estimate(parse_metric("p95_track"))


def test_an_invalid_load_is_named_and_no_verdict_is_built_on_it() -> None:
    record = combined(SCENARIO, loads(1.0, 1.1, 1.3, invalid=("late",)), number=3)
    assert record.audit is not None
    assert record.audit.invalid == ("run 3 of 3: late",)
    assert {row.measured.outcome for row in compare(KPIS, None, record) if row.measured} == {
        Outcome.INVALID
    }


def test_failures_and_latencies_by_endpoint_are_those_of_all_loads(tmp_path: Path) -> None:
    records = (run("load"), run("load", seed=2, failed=0.5, slow=3.0))
    for order in (records, records[::-1]):
        record = combined(SCENARIO, Repeats(records=order), number=2)
        position = 1 + order.index(records[1])
        assert any(n.startswith(f"run {position} of 2: ") and "failed" in n for n in record.notes)
        read = RunRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))
        told = latencies.data(None, read)["latencies"]["measured"]["track"]
        both = [each.latencies["track"] for each in order]
        assert told["requests"] == sum(histogram.count for histogram in both)
        assert told["failed"] == sum(histogram.failed for histogram in both) > 0
        assert told["runs"] == 2
        cells = dict(zip(*latencies.latencies_table(None, read)[:2], strict=True))
        assert cells["requests"] == f"{told['requests']:,}"
        assert sum(f.count for f in read.failures) == sum(
            failure.count for each in order for failure in each.failures
        )
        (line,) = failures.lines(None, read)
        assert line.startswith("Requests after the warm-up, measured in 2 runs: ")
        # Judged is still the mean of the runs.
        values = [each.metric(parse_metric("p95_track")) for each in order]
        found = read.estimate(parse_metric("p95_track"))
        assert found is not None
        assert found.value == pytest.approx(sum(v or 0.0 for v in values) / 2)
    rows = compare(KPIS, None, record)
    report = Report(title="t", rows=rows, outcome=outcome(rows), measured=record)
    write_report(tmp_path, report, figures=())
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "of all requests of the 2 runs together" in text, name


def test_a_load_that_is_interrupted_does_not_count_beside_finished_ones(tmp_path: Path) -> None:
    def load(position: int) -> tuple[RunRecord, bool]:
        return run("load", seed=position), position == 2

    found = repeated(5, load, folder=tmp_path)
    assert (len(found.records), found.interrupted) == (2, 3)
    notes = combined(SCENARIO, found, number=5).notes
    assert "interrupted in run 3 of 5, which does not count" in notes
    alone = repeated(5, lambda _: (run("load"), True), folder=tmp_path)
    assert (len(alone.records), alone.interrupted) == (1, 1)


def test_a_load_without_a_result_is_named_with_what_is_kept(tmp_path: Path) -> None:
    def load(position: int) -> tuple[RunRecord, bool]:
        if position == 1:
            raise HostUnreachable("http://x takes no connection")
        return run("load"), False

    with pytest.raises(RunFailed, match=r"run 2 of 3: http://x .* kept in"):
        repeated(3, load, folder=tmp_path)

    def fail(_: int) -> tuple[RunRecord, bool]:
        raise EdgeproofError("nothing")

    with pytest.raises(EdgeproofError, match=r"^nothing$"):
        repeated(3, fail, folder=tmp_path)


def test_all_loads_together_keep_the_bound() -> None:
    limits = Bounds(allowed=(), max_rate=2000, max_duration=110.0)
    check_repeats(SCENARIO, 2, limits)
    with pytest.raises(InputError, match="3 loads of 55 s last 165 s, above the bound of 110 s"):
        check_repeats(SCENARIO, 3, limits)


def test_repeated_loads_differ_in_their_arrivals_and_ctrl_c_keeps_those_that_are_done(
    start_service: StartService, tmp_path: Path
) -> None:
    url = start_service("good")
    asked = ("load", "baseline", *SMALL, "--host", url, "--repeat", "3", "--out", "out")
    with running(*asked, cwd=tmp_path, EDGEPROOF_TOKEN=TOKEN) as command:
        command.wait_for("run 3 of 3: 0 %")
        command.interrupt()
        code, _, said = command.end()
    assert code == 130, said
    record = read_record(tmp_path / "out" / "record.json")
    own = [read_record(tmp_path / "out" / f"run-{n}" / "record.json") for n in (1, 2)]
    assert record.runs == 2
    assert own[0].workload_hash != own[1].workload_hash
    assert [each.audit is not None and each.audit.rendered_hash for each in own] == [
        each.workload_hash for each in own
    ]
    assert len(inspect(url)["runs"]) >= 2  # a clean start for each
    assert "interrupted in run 3 of 3, which does not count" in record.notes
    metric = parse_metric("p95_track")
    values = [each.metric(metric) for each in own]
    found = record.estimate(metric)
    assert found is not None
    assert found.value == pytest.approx(sum(v or 0.0 for v in values) / 2)
    again = called("report", "out", "--plain", cwd=tmp_path)
    assert "Measured: mean of 2 runs" in again.stdout
