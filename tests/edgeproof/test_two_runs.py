"""`edgeproof compare A B`: what it says, writes and ends with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.metrics.record import RunRecord, write_record
from core.scenario.file import scenario_data
from tests.edgeproof.commands import called
from tests.reports.records import SCENARIO, run


def kept(folder: Path, name: str, record: RunRecord) -> str:
    place = folder / name
    place.mkdir(parents=True)
    write_record(replace(record, scenario=scenario_data(SCENARIO)), place / "record.json")
    return str(place)


@pytest.mark.parametrize(
    ("second", "options", "code", "word"),
    [
        (run("load"), (), 0, "SAME: "),
        (run("load", slow=0.5), (), 0, "BETTER: None of "),
        (run("load", slow=1.5), (), 1, "WORSE: "),
        (run("load", failed=0.04), ("--max-regression", "900%"), 1, "crosses its alert in B"),
        (run("load", slow=1.04), ("--max-regression", "0.1"), 0, "SAME: "),
        (run("load", slow=1.5, invalid=("late",)), (), 3, "INVALID: B: late"),
    ],
)
def test_the_exit_code_says_whether_b_is_worse(
    second: RunRecord, options: tuple[str, ...], code: int, word: str, tmp_path: Path
) -> None:
    a, b = kept(tmp_path, "a", run("load")), kept(tmp_path, "b", second)
    ended = called("compare", a, b, "--plain", *options, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert word in ended.stdout
    assert "No intervals: at least one side is a single run" in ended.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_undecided_ends_with_4_under_strict_only(tmp_path: Path) -> None:
    others = tuple({"p95_track": value} for value in (0.05, 0.2, 0.02))
    a = kept(tmp_path, "a", replace(run("load"), replications=others))
    b = kept(tmp_path, "b", replace(run("load"), replications=others[::-1]))
    codes = [called("compare", a, b, *o, cwd=tmp_path).returncode for o in ((), ("--strict",))]
    assert codes == [0, 4]


def test_settings_that_differ_are_shown_without_secrets(tmp_path: Path) -> None:
    target = {
        "path": "/t?key=hunter2&u={user_id}", "method": "PUT",
        "body": '{"password": "hunter2", "id": "{user_id}"}',
    }  # fmt: skip
    sides: tuple[dict[str, Any], ...] = ({}, {"track": {"path": "/t?key=hunter2"}})
    a = kept(tmp_path, "a", run("load"))
    for before, name in zip(sides, "bc", strict=True):
        b = kept(tmp_path, name, replace(run("load"), scenario_hash=name * 64))
        for folder, targets in ((a, before), (b, {"track": target})):
            place = Path(folder) / "record.json"
            data = json.loads(place.read_text())
            data["scenario"]["targets"] = targets
            place.write_text(json.dumps(data))
        told = called("compare", a, b, "--plain", cwd=tmp_path)
        assert "the scenarios differ: targets.track" in told.stdout, told.stderr
        assert "hunter2" not in told.stdout + told.stderr
    assert 'targets.track.path "/t?key=***" → "/t?key=***&u={user_id}"' in told.stdout
    assert 'targets.track.method null → "PUT"' in told.stdout


def test_a_folder_of_its_own_holds_page_markdown_json_and_figure(tmp_path: Path) -> None:
    a, b = kept(tmp_path, "a", run("load")), kept(tmp_path, "b", run("load", slow=2, seed=5))
    other = replace(run("load", slow=2), seed=7, scenario=scenario_data(SCENARIO))
    write_record(replace(other, scenario_hash="0" * 64), Path(b) / "record.json")
    ended = called("compare", a, f"{b}/record.json", "--json", "--out", "out", cwd=tmp_path)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["outcome"]) == (1, "WORSE")
    assert told == json.loads((tmp_path / "out" / "compare.json").read_text())
    row = next(row for row in told["rows"] if row["figure"] == "p95_track")
    assert row["change"] == pytest.approx(row["b"] / row["a"] - 1)
    assert "the seeds differ" in " ".join(told["notes"])
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "p95_track" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (tmp_path / "out" / "compare.md").read_text().startswith("# WORSE")
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} == {
        "change.svg", "change.png",
    }  # fmt: skip
    again = called("compare", a, b, "--out", "out", cwd=tmp_path)
    assert (again.returncode, "is not empty" in again.stderr) == (2, True)


def test_fields_in_which_the_scenarios_differ_are_named(tmp_path: Path) -> None:
    a = kept(tmp_path, "a", run("load"))
    b = kept(tmp_path, "b", run("load"))
    slower = SCENARIO.model_copy(update={"timeout": 3.0})
    changed = replace(run("load"), scenario=scenario_data(slower), scenario_hash="1")
    write_record(changed, Path(b) / "record.json")
    said = called("compare", a, b, cwd=tmp_path).stdout
    assert 'the scenarios differ: timeout "10.0s" → "3.0s".' in said


def test_of_a_proof_the_measured_side_is_compared(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    kept(proof, "predicted", run(slow=9))
    kept(proof, "measured", run("load"))
    a = kept(tmp_path, "a", run("load"))
    ended = called("compare", a, "proof", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("a nowhere", "nowhere: no such run"),
        ("a empty", "no such record"),
        ("a plan", "is a plan"),
        ("a a --max-regression x", "is no share"),
        ("a a --markdown --json", "leave one out"),
        ("a", "Missing argument 'B'"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: str, told: str, tmp_path: Path) -> None:
    kept(tmp_path, "a", run("load"))
    for name in ("empty", "plan"):
        (tmp_path / name).mkdir()
    (tmp_path / "plan" / "plan.json").write_text("{}")
    ended = called("compare", *arguments.split(), cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_github_gets_a_summary_and_annotations(tmp_path: Path) -> None:
    a, b = kept(tmp_path, "a", run("load")), kept(tmp_path, "b", run("load", slow=2))
    summary = tmp_path / "summary.md"
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    ended = called("compare", a, b, cwd=tmp_path, variables=variables)
    assert "::error title=p95_track" in ended.stdout
    assert summary.read_text().startswith("# WORSE")
