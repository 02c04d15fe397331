"""`edgeproof prove` with real processes: what it leaves behind, whole and interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.metrics.kpi import parse_metric
from core.metrics.record import read_record
from core.scenario.calibration_file import read_calibration
from core.scenario.file import parse_scenario
from core.scenario.replay import prepare
from edgeproof.prove import model_verdict
from tests.edgeproof.commands import SMALL, Watched, descendants, running

RUN = ("prove", "baseline", *SMALL, "--out", "proof")


def test_prove_predicts_and_measures_the_same_requests(tmp_path: Path) -> None:
    with running(
        "6", *RUN, "--set", "duration=4s", cwd=tmp_path, module="tests.edgeproof.quick"
    ) as command:
        code, out, said = command.end()
    assert code in (0, 1, 3), said
    proof = tmp_path / "proof"
    predicted = read_record(proof / "predicted" / "record.json")
    measured = read_record(proof / "measured" / "record.json")
    # The same requests: as planned by each side, as rendered, and as the scenario says.
    workload = prepare(parse_scenario(predicted.scenario, source="record")).workload
    assert measured.audit is not None
    assert (
        predicted.workload_hash
        == measured.workload_hash
        == measured.audit.rendered_hash
        == workload.identity()
    )
    assert (predicted.engine, measured.engine) == ("simulate", "load")
    assert predicted.scenario_hash == measured.scenario_hash
    assert measured.audit.sent == measured.planned == len(workload)
    assert len(predicted.replications) == 0
    assert "clean start: clean" not in predicted.notes
    # Measured from inside: every series that the simulation has.
    for series in ("query", "queue", "cpu", "l1", "l3", "total"):
        assert measured.stages[series].count > 0
    for metric in ("hit_ratio", "p95_track", "p95_query", "peak_memory"):
        assert measured.metric(parse_metric(metric)) is not None
    calibration = read_calibration(proof / "calibration.toml")
    assert calibration.cpu != parse_scenario(predicted.scenario, source="x").topology.cpu
    verdict, _ = model_verdict(predicted, measured)
    page = (proof / "report.html").read_text(encoding="utf-8")
    assert verdict.split(":")[0] in page
    assert verdict in out
    assert f"hash of those rendered is equal to the plan's ({workload.identity()[:12]})" in out
    facts = json.loads((proof / "run.json").read_text())
    assert list(facts["wall_seconds"]) == ["calibrate", "predict", "measure"]
    phases = list(dict.fromkeys(line.split(":")[0] for line in said.splitlines()))
    assert phases == ["calibrating", "predicting", "measuring"]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("calibrating: 0 %", {"calibration"}),
        ("predicting: 0 %", {"calibration"}),
        ("measuring: 0 %", {"calibration", "predicted", "run.json", "report.html"}),
        (
            r"measuring: [1-9]\d* % .* answered",
            {"calibration", "predicted", "measured", "run.json", "report.html"},
        ),
    ],
    ids=["calibrating", "predicting", "begins to measure", "measuring"],
)
def test_ctrl_c_exits_130_ends_every_process_and_keeps_what_is_done(
    line: str, kept: set[str], tmp_path: Path
) -> None:
    longer = ("--set", "duration=20s") if "answered" in line else ()
    with running("1", *RUN, *longer, cwd=tmp_path, module="tests.edgeproof.quick") as command:
        command.wait_for(line)
        children = Watched(descendants(command.process.pid))
        command.interrupt(group=True)
        code, out, said = command.end()
        assert children.left() == []
        if not line.startswith("predicting"):
            assert children.pids  # the service, at least
    assert code == 130, said
    assert "Traceback" not in said
    proof = tmp_path / "proof"
    is_empty = not proof.exists() or not any(path.is_file() for path in proof.rglob("*"))
    if line.startswith("calibrating") and is_empty:  # it struck before the first file
        assert said.splitlines()[-1] == "edgeproof: interrupted; nothing was written"
        return
    assert said.splitlines()[-1] == "edgeproof: interrupted; what was written is kept in proof"
    assert kept <= {path.name for path in proof.iterdir()}
    if "predicted" in kept:
        assert len(read_record(proof / "predicted" / "record.json").replications) == 0
        assert "Report: proof/report.html" in out
    if "measured" in kept:
        measured = read_record(proof / "measured" / "record.json")
        assert measured.audit is not None
        assert 0 < measured.audit.sent < measured.planned
        assert measured.audit.invalid[0].startswith("interrupted after ")
