"""Claims about the folder where commands keep their runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.scenario.scenario import Scenario
from edgeproof import known_runs
from edgeproof.known_runs import tell_interrupted
from sim.kept_runs import KeptRuns
from sim.replications import Found
from tests.sim.runs import small_scenario


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return small_scenario(rate=40.0)


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> KeptRuns:
    monkeypatch.setenv(known_runs.VARIABLE, str(folder))
    return known_runs.known_runs(None, "auto")


def test_what_others_keep_in_the_folder_stays(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mine.jsonl").write_text("{}")
    outdated = tmp_path / ("0" * 16)
    outdated.mkdir()
    (outdated / f"{'a' * 32}.jsonl").write_text("")
    (outdated / "mine.jsonl").write_text("")
    monkeypatch.setattr(known_runs, "MOST_FILES", 1)
    for _ in range(2):
        opened(tmp_path, monkeypatch).keep(scenario, {0: Found(metrics={}, loads={})})
    opened(tmp_path, monkeypatch)
    assert (tmp_path / "empty").is_dir()
    assert (tmp_path / "logs" / "mine.jsonl").is_file()
    assert [path.name for path in outdated.iterdir()] == ["mine.jsonl"]
    assert len([*tmp_path.glob("*/*.jsonl")]) == 3


def test_folder_that_is_none_is_named_and_no_run_is_said_to_be_kept(
    scenario: Scenario,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    tell_interrupted(opened(tmp_path / "folder", monkeypatch), [scenario])
    assert "the runs are kept: the same command goes on" in capsys.readouterr().err
    tell_interrupted(opened(file, monkeypatch), [scenario])
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"edgeproof: EDGEPROOF_RUNS={file}: no runs are kept there (")
    assert said[1:] == ["edgeproof: the runs are not kept: the same command begins anew"]
