"""The exact gate: any changed figure is reported, and acceptance keeps its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench import golden
from core.errors import InputError
from edgeproof.main import main
from scenarios.catalogue import shipped

SCENARIO = """
name = "small"
duration = "1s"
warm_up = "0s"
[traffic]
stages = [{{ rate = {rate} }}]
users = 20
conversions = 10
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the one scenario file that the gate knows."""
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO.format(rate=60), encoding="utf-8")
    monkeypatch.setattr(golden, "SCENARIOS", ("small",))
    monkeypatch.setattr(golden, "shipped", lambda: {"small": path})
    return path


@pytest.fixture
def folder(scenario: Path, tmp_path: Path) -> Path:
    """Return a folder whose golden file is accepted."""
    found = tmp_path / "golden"
    assert golden.accept("first figures", folder=found) > 20
    return found


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "small.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def accepted(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "small.json").read_text())["accepted"]
    return found


def test_accepted_figures_are_found_again(folder: Path) -> None:
    told: list[str] = []
    assert golden.check(folder=folder, on_scenario=told.append) == []
    assert told == ["small"]


def test_gate_sees_kpis_counters_reads_and_both_hashes(folder: Path) -> None:
    figures = json.loads((folder / "small.json").read_text())["figures"]
    for name in (
        "scenario_hash", "workload_hash", "requests", "metric p95(track)", "metric ratio(l1)",
        "metric error_ratio", "counter l3_operations", "reads lookup miss",
    ):  # fmt: skip
        assert name in figures or name.replace("p95(track)", "p95_track") in figures


@pytest.mark.parametrize(
    ("name", "before"),
    [("metric p95_track", 0.123456789), ("counter l3_operations", -7), ("workload_hash", "0000")],
)
def test_changed_figure_is_reported_with_both_values(
    folder: Path, name: str, before: object
) -> None:
    now = json.loads((folder / "small.json").read_text())["figures"][name]
    edit(folder, lambda data: data["figures"].update({name: before}))
    assert golden.check(folder=folder) == [f"small: {name} was {before}, is {now}"]


def test_last_bit_of_a_figure_counts(folder: Path) -> None:
    import math

    def nudge(data: dict[str, Any]) -> None:
        figures = data["figures"]
        figures["metric p95_track"] = math.nextafter(figures["metric p95_track"], math.inf)

    edit(folder, nudge)
    assert len(golden.check(folder=folder)) == 1


def test_figure_that_came_or_went_is_reported(folder: Path) -> None:
    def swap(data: dict[str, Any]) -> None:
        data["figures"]["counter gone"] = 3
        del data["figures"]["requests"]

    edit(folder, swap)
    lines = golden.check(folder=folder)
    assert lines[0] == "small: counter gone was 3, is None"
    assert lines[1].startswith("small: requests was None, is ")
    assert len(lines) == 2


def test_acceptance_writes_what_changed_and_keeps_every_reason(
    folder: Path, scenario: Path
) -> None:
    assert golden.accept("nothing changed", folder=folder) == 0
    assert [entry["reason"] for entry in accepted(folder)] == ["first figures"]
    scenario.write_text(SCENARIO.format(rate=90), encoding="utf-8")
    differences = golden.check(folder=folder)
    assert any(line.startswith("small: requests was ") for line in differences)
    assert golden.accept("  more\n traffic ", folder=folder) == len(differences)
    assert accepted(folder)[-1] == {"reason": "more traffic", "figures": len(differences)}
    assert [entry["reason"] for entry in accepted(folder)] == ["first figures", "more traffic"]
    assert golden.check(folder=folder) == []


def test_history_keeps_the_last_50_reasons(folder: Path) -> None:
    def fill(data: dict[str, Any]) -> None:
        data["accepted"] = [{"reason": f"number {n}", "figures": 1} for n in range(50)]
        data["figures"]["requests"] = -1

    edit(folder, fill)
    assert golden.accept("number 50", folder=folder) == 1
    reasons = [entry["reason"] for entry in accepted(folder)]
    assert reasons == [f"number {n}" for n in range(1, 51)]


@pytest.mark.parametrize("reason", ["", "  \n "])
def test_acceptance_needs_a_reason_and_writes_nothing_without_one(
    folder: Path, scenario: Path, reason: str
) -> None:
    before = (folder / "small.json").read_bytes()
    scenario.write_text(SCENARIO.format(rate=90), encoding="utf-8")
    with pytest.raises(InputError, match="--reason is empty"):
        golden.accept(reason, folder=folder)
    assert (folder / "small.json").read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"figures": []}',
        '{"figures": 3, "accepted": []}',
        '"figures"',
        "[" * 2_000,
        "9" * 5_000,
    ],
)
def test_broken_golden_file_is_one_clear_line(folder: Path, text: str) -> None:
    path = folder / "small.json"
    path.write_text(text, encoding="utf-8")
    for run in (partial(golden.check, folder=folder), partial(golden.accept, "x", folder=folder)):
        with pytest.raises(InputError) as caught:
            run()
        message = str(caught.value)
        assert message.startswith(f"{path}: not a golden file")
        assert "restore it from git" in message
        assert "\n" not in message


@pytest.mark.parametrize("text", ['{"figures": {}}', '{"figures": {}, "accepted": {}}'])
def test_golden_file_without_its_history_is_not_written_over(folder: Path, text: str) -> None:
    path = folder / "small.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="not a golden file"):
        golden.accept("a reason", folder=folder)
    assert path.read_text(encoding="utf-8") == text


def test_missing_golden_file_says_how_it_is_made(scenario: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bench accept --reason TEXT"):
        golden.check(folder=tmp_path)


def test_command_exits_1_for_a_difference_and_0_without_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgeproof.bench.check_golden", partial(golden.check, folder=folder))
    assert main(["bench", "check"]) == 0
    assert "Every simulated figure equals its golden file." in capsys.readouterr().out
    edit(folder, lambda data: data["figures"].update(requests=-1))
    assert main(["bench", "check"]) == 1
    out = capsys.readouterr().out
    assert "small: requests was -1, is " in out
    assert "edgeproof bench accept --reason TEXT" in out
    (folder / "small.json").write_text("{", encoding="utf-8")
    assert main(["bench", "check"]) == 2
    assert "not a golden file" in capsys.readouterr().err


def test_shipped_scenarios_of_the_gate_exist() -> None:
    assert set(golden.SCENARIOS) <= set(shipped())
