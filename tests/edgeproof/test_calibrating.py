"""`edgeproof calibrate` with a real service, and what takes its file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from core.metrics.record import read_record
from core.scenario.calibration import Calibration
from core.scenario.calibration_file import read_calibration, to_toml
from edgeproof.main import main
from tests.edgeproof.commands import edgeproof
from tests.edgeproof.other_cdp import TRIP_SECONDS, WRITE_SECONDS, serving
from tests.edgeproof.other_scenario import SCENARIO


def test_calibration_of_a_service_is_read_again_and_predicts_it(tmp_path: Path) -> None:
    Path(tmp_path, "other.toml").write_text(SCENARIO, encoding="utf-8")
    with serving() as url:
        done = edgeproof(
            "calibrate", "other.toml", "--host", url, "--calibration-rate", "60",
            "--calibration-time", "3s", "--out", "taught", cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Written: taught/calibration.toml" in done.stdout.splitlines()
    assert "cache reads that the service never told: track.config, track.lookup" in done.stdout
    file = tmp_path / "taught" / "calibration.toml"
    known = read_calibration(file)
    assert 0 < known.requests <= 180
    query = known.tiers["l3.round_trip"].times.mean + known.tiers["l3.write_execution"].times.mean
    assert TRIP_SECONDS + WRITE_SECONDS <= query < 5 * (TRIP_SECONDS + WRITE_SECONDS)
    assert known.tiers["l3.round_trip"].samples > 50
    assert any("of 1,000 samples" in note for note in known.notes)

    # The folder is one of a measured run: it teaches the same again, and sends nothing.
    again = edgeproof("calibrate", "taught", "--out", "again", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["requests"] == known.requests
    assert read_calibration(tmp_path / "again" / "calibration.toml") == known

    predicted = edgeproof(
        "simulate", "other.toml", "--calibration", str(file), "--out", "sim", cwd=tmp_path
    )
    assert predicted.returncode in (0, 1), predicted.stderr
    record = read_record(tmp_path / "sim" / "record.json")
    p50 = record.latencies["track"].quantiles((0.5,))[0]
    assert query * 0.8 < p50 < query + 0.02
    assert not {"config", "lookup"} & set(record.reads)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("calibrate baseline", "--host is missing"),
        ("calibrate . --host http://127.0.0.1:1", "--host: . is the folder of a run"),
        ("calibrate . --rate 5", "--rate: . is the folder of a run; leave --rate out"),
        ("calibrate . --insecure", "--insecure: . is the folder of a run; leave --insecure out"),
        ("calibrate .", ".: no measured run: there is no load/rows.npz"),
        (
            "calibrate baseline --host http://127.0.0.1:1 --calibration-time 0s",
            "--calibration-time 0s: give more than 0s",
        ),
        (
            "prove baseline --no-calibrate --calibration a.toml",
            "--no-calibrate and --calibration contradict each other",
        ),
        ("simulate baseline --calibration a.toml", "a.toml: between.items: the scenario has no"),
        ("plan baseline --calibration none.toml", "none.toml: no such calibration"),
    ],
)
def test_what_cannot_be_learned_or_read_is_said_in_one_line(
    arguments: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = to_toml(Calibration(requests=30)) + "\n[between.items.l1]\nsamples = 5\ntimes = '1ms'\n"
    assert tomllib.loads(text)
    Path("a.toml").write_text(text, encoding="utf-8")
    assert main(arguments.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert words in said.err
