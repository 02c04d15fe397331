"""The exact gate: any changed figure is reported, and acceptance keeps its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import golden
from core.errors import InputError
from edgeproof.main import main
from scenarios.catalogue import shipped
from sim.simulate import simulate

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


def checked(folder: Path, told: Callable[[str], None] | None = None) -> list[str]:
    """Return the lines of what differs from the golden files in *folder*."""
    subjects = golden.of_package(("small",), folder)
    return [str(d) for one in golden.check(subjects, on_scenario=told) for d in one.differences]


def accept(reason: str, folder: Path) -> int:
    """Accept into *folder*; return how many figures changed."""
    return sum(golden.accept(golden.of_package(("small",), folder), reason).values())


@pytest.fixture
def folder(scenario: Path, tmp_path: Path) -> Path:
    """Return a folder whose golden file is accepted."""
    found = tmp_path / "golden"
    assert accept("first figures", found) > 20
    return found


def edit(folder: Path, change: Callable[[dict[str, Any]], object], name: str = "small") -> None:
    path = folder / f"{name}.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def accepted(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "small.json").read_text())["accepted"]
    return found


def test_accepted_figures_are_found_again(folder: Path) -> None:
    told: list[str] = []
    assert checked(folder, told.append) == []
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
    assert checked(folder) == [f"small: {name} was {before}, is {now}"]


def test_last_bit_of_a_figure_counts(folder: Path) -> None:
    import math

    def nudge(data: dict[str, Any]) -> None:
        figures = data["figures"]
        figures["metric p95_track"] = math.nextafter(figures["metric p95_track"], math.inf)

    edit(folder, nudge)
    assert len(checked(folder)) == 1


def test_figure_that_came_or_went_is_reported(folder: Path) -> None:
    def swap(data: dict[str, Any]) -> None:
        data["figures"]["counter gone"] = 3
        del data["figures"]["requests"]

    edit(folder, swap)
    lines = checked(folder)
    assert lines[0] == "small: counter gone was 3, is gone"
    assert lines[1].startswith("small: requests is new: ")
    assert len(lines) == 2


def test_acceptance_writes_what_changed_and_keeps_every_reason(
    folder: Path, scenario: Path
) -> None:
    assert accept("nothing changed", folder) == 0
    assert [entry["reason"] for entry in accepted(folder)] == ["first figures"]
    scenario.write_text(SCENARIO.format(rate=90), encoding="utf-8")
    differences = checked(folder)
    assert any(line.startswith("small: requests was ") for line in differences)
    assert accept("  more\n traffic ", folder) == len(differences)
    assert accepted(folder)[-1] == {"reason": "more traffic", "figures": len(differences)}
    assert [entry["reason"] for entry in accepted(folder)] == ["first figures", "more traffic"]
    assert checked(folder) == []


def test_history_keeps_the_last_50_reasons(folder: Path) -> None:
    def fill(data: dict[str, Any]) -> None:
        data["accepted"] = [{"reason": f"number {n}", "figures": 1} for n in range(50)]
        data["figures"]["requests"] = -1

    edit(folder, fill)
    assert accept("number 50", folder) == 1
    reasons = [entry["reason"] for entry in accepted(folder)]
    assert reasons == [f"number {n}" for n in range(1, 51)]


@pytest.mark.parametrize("reason", ["", "  \n "])
def test_acceptance_needs_a_reason_and_writes_nothing_without_one(
    folder: Path, scenario: Path, reason: str
) -> None:
    before = (folder / "small.json").read_bytes()
    scenario.write_text(SCENARIO.format(rate=90), encoding="utf-8")
    with pytest.raises(InputError, match="--reason is empty"):
        accept(reason, folder)
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
        '{"figures": {"requests": 60, "requests": 60}, "accepted": []}',  # two sides of a merge
        '{"figures": {"requests": true}, "accepted": []}',  # which equals 1 in Python
        '{"figures": {"made up": null}, "accepted": []}',  # which equals what is not there
        "[" * 2_000,
        "9" * 5_000,
    ],
)
def test_broken_golden_file_is_one_clear_line(folder: Path, text: str) -> None:
    path = folder / "small.json"
    path.write_text(text, encoding="utf-8")
    (one,) = golden.check(golden.of_package(("small",), folder))
    with pytest.raises(InputError) as caught:
        accept("x", folder)
    for message in (one.error, str(caught.value)):
        assert message.startswith(f"{path}: not a golden file")
        assert "restore it from git" in message
        assert "\n" not in message


@pytest.mark.parametrize("text", ['{"figures": {}}', '{"figures": {}, "accepted": {}}'])
def test_golden_file_without_its_history_is_not_written_over(folder: Path, text: str) -> None:
    path = folder / "small.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="not a golden file"):
        accept("a reason", folder)
    assert path.read_text(encoding="utf-8") == text


def test_missing_golden_file_says_how_it_is_made(scenario: Path, tmp_path: Path) -> None:
    (one,) = golden.check(golden.of_package(("small",), tmp_path))
    assert one.error.endswith(
        f"make it with edgeproof bench accept small --golden {tmp_path} --reason TEXT"
    )
    assert not one.differences


def test_traced_scenario_has_the_same_figures_wherever_its_trace_lies(tmp_path: Path) -> None:
    from core.scenario.file import load_scenario

    path = tmp_path / "small.toml"
    path.write_text(SCENARIO.format(rate=60), encoding="utf-8")
    found = []
    for name, last in (("a", "a"), ("b", "a"), ("c", "z")):
        trace = tmp_path / name / "keys.csv"
        trace.parent.mkdir()
        trace.write_text(f"time,key\n0,a\n0.1,b\n0.5,c\n0.9,{last}\n", encoding="utf-8")
        found.append(golden.figures(load_scenario(path, trace={"file": str(trace)})))
    assert found[0] == found[1]
    assert found[0]["scenario_hash"] == found[2]["scenario_hash"]
    assert found[0]["workload_hash"] != found[2]["workload_hash"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two scenarios, a.toml and b.toml, accepted in `golden`, as the cwd."""
    for name, rate in (("a", 60), ("b", 70)):
        (tmp_path / f"{name}.toml").write_text(SCENARIO.format(rate=rate), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(given("accept a.toml b.toml --golden golden --reason", "first ones")) == 0
    return tmp_path


def given(line: str, *more: str) -> list[str]:
    return ["bench", *line.split(), *more]


CHECK = given("check a.toml b.toml --golden golden")


def test_own_scenarios_are_checked_and_only_what_changed_is_told(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([*CHECK, "--junit", "out.xml"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "Every simulated figure equals its golden file.\n"
    assert shown.err == "simulating a\nsimulating b\n"
    assert cases(own / "out.xml") == {"a": ("", ""), "b": ("", "")}

    (own / "a.toml").write_text(SCENARIO.format(rate=90), encoding="utf-8")
    assert main([*CHECK, "--junit", "out.xml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a: the scenario is another one than was accepted: scenario_hash ")
    assert lines[1].startswith("a: workload_hash was ")
    assert lines[-1].endswith("edgeproof bench accept a.toml b.toml --golden golden --reason TEXT")
    assert not [line for line in lines if line.startswith("b: ")]
    found = cases(own / "out.xml")
    assert found["b"] == ("", "")
    assert found["a"] == ("failure", "\n".join(lines[:-1]) + "\n")

    assert main([*CHECK, "--json"]) == 1
    shown_json = json.loads(capsys.readouterr().out)
    first, second = shown_json["scenarios"]
    assert (shown_json["outcome"], first["outcome"], second["outcome"]) == ("FAIL", "FAIL", "PASS")
    assert len(first["differences"]) == len(lines) - 1
    (requests,) = [d for d in first["differences"] if d["figure"] == "requests"]
    assert f"a: requests was {requests['before']}, is {requests['after']}" in lines
    assert second["differences"] == []


def test_golden_file_without_its_scenario_fails_and_is_named(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "golden" / "notes.json").write_text("[1]")  # no golden file
    capsys.readouterr()
    command = given("check a.toml --golden golden")
    assert main([*command, "--junit", "out.xml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("b: its scenario is gone: ")
    assert len(lines) == 2
    assert cases(own / "out.xml") == {"a": ("", ""), "b": ("failure", "")}
    assert main([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["gone"] == ["golden/b.json"]


def test_unusable_golden_file_ends_with_2_after_the_others_are_checked(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "golden" / "a.json").write_text("{", encoding="utf-8")
    edit(own / "golden", lambda data: data["figures"].update(requests=float("nan")), "b")
    capsys.readouterr()
    assert main([*CHECK, "--junit", "out.xml"]) == 2
    shown = capsys.readouterr()
    assert "edgeproof: golden/a.json: not a golden file" in shown.err
    assert shown.out.startswith("b: requests was nan, is ")
    assert {name: kind for name, (kind, _) in cases(own / "out.xml").items()} == {
        "a": "error", "b": "failure",
    }  # fmt: skip
    assert main([*CHECK, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["scenarios"][1]["differences"][0]["before"] == "nan"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("check a.toml", "a.toml: edgeproof's own golden files are those of baseline, "),
        ("check a.toml ./a.toml --golden golden", "a.toml and ./a.toml would share the golden"),
        ("check a.toml sub/a.toml --golden golden", "a.toml and sub/a.toml would share the golden"),
        ("check a.toml --golden none", "--golden none: no such folder; make it with edgeproof"),
        ("check a.toml --golden a.toml", "--golden a.toml: no such folder"),
        ("check nothing.toml --golden golden", "nothing.toml: no such scenario file"),
        ("check a.toml --golden golden --junit no/x", "--junit no/x: there is no folder no"),
        ("check a.toml --golden golden --junit golden", "--junit golden: is a folder"),
        ("check --golden golden --trace a.toml", "--trace needs the SCENARIO"),
        ("accept a.toml --golden b.toml --reason x", "--golden b.toml: not a folder that can be"),
        ("accept a.toml --golden b.toml/x --reason x", "b.toml/x/a.json: cannot be written"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    arguments: str, words: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "sub").mkdir()
    (own / "sub" / "a.toml").write_text(SCENARIO.format(rate=60), encoding="utf-8")
    before = sorted(own.rglob("*"))
    capsys.readouterr()
    assert main(["bench", *arguments.split()]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    line = shown.err.splitlines()[-1]
    assert line.startswith(f"edgeproof: {words}")
    assert sorted(own.rglob("*")) == before


def test_accept_keeps_what_it_does_not_name_and_says_so(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "a.toml").write_text(SCENARIO.format(rate=90), encoding="utf-8")
    before = (own / "golden" / "b.json").read_bytes()
    capsys.readouterr()
    assert main(given("accept a.toml --golden golden --reason", "faster")) == 0
    out = capsys.readouterr().out
    assert out.startswith("golden/b.json: its scenario is not among those named")
    assert (own / "golden" / "b.json").read_bytes() == before
    assert main(CHECK) == 0
    capsys.readouterr()
    command = given("accept a.toml b.toml --golden golden --json --reason", "again")
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == {"a": 0, "b": 0}


def test_ctrl_c_while_accepting_writes_nothing(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (own / f"{name}.toml").write_text(SCENARIO.format(rate=90), encoding="utf-8")
    before = {path: path.read_bytes() for path in (own / "golden").iterdir()}
    done: list[int] = []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return simulate(*arguments, **options)

    monkeypatch.setattr(golden, "simulate", interrupted)
    capsys.readouterr()
    command = given("accept a.toml b.toml --golden golden --reason", "x")
    assert main(command) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (own / "golden").iterdir()} == before


def cases(path: Path) -> dict[str, tuple[str, str]]:
    """Return what stands in a JUnit file: by case, the kind of its fault and the fault's text."""
    root = ElementTree.parse(path).getroot()
    found = {}
    for case in root.iter("testcase"):
        fault = next(iter(case), None)
        name = str(case.get("name"))
        found[name] = ("", "") if fault is None else (fault.tag, fault.text or "")
    kinds = [kind for kind, _ in found.values()]
    assert root.get("tests") == str(len(found))
    assert root.get("failures") == str(kinds.count("failure"))
    assert root.get("errors") == str(kinds.count("error"))
    return found


def test_shipped_scenarios_of_the_gate_exist() -> None:
    assert set(golden.SCENARIOS) <= set(shipped())


def test_broken_file_without_a_scenario_counts_as_gone_and_another_json_file_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "broken.json").write_text('<<<<<<< HEAD\n{"figures": {}}')
    (tmp_path / "golden.json").write_text('{"figures": {}}')
    (tmp_path / "other.json").write_text('{"name": "package"}')
    (tmp_path / "list.json").write_text("[]")
    assert [path.stem for path in golden.gone(tmp_path, {"kept"})] == ["broken", "golden"]
