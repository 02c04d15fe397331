"""Claims about what a verdict says to CI systems: which stream, which file, which level."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.golden import Checked, Difference, Subject
from core.errors import InputError
from core.metrics.kpi import Kpi
from core.metrics.record import RunRecord
from core.scenario.scenario import Scenario
from edgeproof.ci import chosen_ci, fitting, relative
from edgeproof.finish import finish
from edgeproof.golden_findings import findings, summary
from edgeproof.main import main
from edgeproof.options import judging
from reports.finding import inert
from tests.ci.github import Command, commands
from tests.reports import records

SCENARIO = '[[kpis]]\nmetric = "p95_query"\n\n[[kpis]]\nmetric = "p95(track)"\n'
EVIL = "a\n::add-mask::b ##[error]c | `d` <script>"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout on GitHub, with a scenario, that is where we are."""
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "my.toml").write_text(SCENARIO)
    (tmp_path / "summary").touch()
    monkeypatch.chdir(folder)
    for name, value in {
        "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(folder),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return folder


def facts(scenario: str) -> dict[str, Any]:
    return {
        "command": "load", "ended": "", "versions": {}, "wall_seconds": {"load": 2.5},
        "host": {"system": "", "machine": "", "processors": 1}, "asked": {
            "command": "", "scenario": scenario, "scenario_hash": "", "changes": [], "seed": 1,
            "highest_stage_rate": None, "requests": None, "seconds": 1.0, "hosts": [],
            "trace": None,
        },
    }  # fmt: skip


def judged(
    checkout: Path,
    measured: RunRecord,
    *,
    scenario: str = "my.toml",
    gate: str = "target",
    kpis: tuple[Kpi, ...] = records.KPIS,
    **asked: Any,
) -> int:
    options = judging(
        gate, asked.pop("require", None), strict=False, plain=False,
        as_json=asked.pop("as_json", False), github=asked.pop("github", None),
        has_model=True, **asked,
    )  # fmt: skip
    return finish(
        checkout / "run", options, title="t: measured", kpis=kpis, measured=measured,
        facts=facts(scenario), notes=(EVIL,),
    )  # fmt: skip


def by_subject(found: list[Command]) -> dict[str, Command]:
    return {one.properties["title"].partition(":")[0]: one for one in found}


def test_failures_stand_at_their_lines_and_the_summary_is_the_report(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout.parent / "summary").write_text("before\n")
    assert judged(checkout, records.measured(slow=50.0, failed=0.1)) == 1
    out = capsys.readouterr().out
    found = by_subject(commands(out))
    assert {one.name for one in found.values()} == {"error"}
    assert found["p95_query"].properties["file"] == "my.toml"
    assert found["p95_query"].properties["line"] == "2"
    assert found["p95_track"].properties["line"] == "5"
    assert "line" not in found["error_ratio"].properties  # a KPI that the file does not list
    assert "timed out" in found["error_ratio"].message
    summary = (checkout.parent / "summary").read_text(encoding="utf-8")
    assert summary == f"before\n\n{(checkout / 'run' / 'report.md').read_text(encoding='utf-8')}"
    assert 'time="2.500"' in (checkout / "run" / "junit.xml").read_text()


def test_with_json_commands_go_to_the_other_stream(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(checkout, records.measured(slow=50.0), as_json=True) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["outcome"] == "FAIL"
    assert "p95_track" in by_subject(commands(shown.err))


def test_what_the_gate_lets_pass_is_a_warning(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warned = records.measured(slow=2.0)
    assert judged(checkout, warned, gate="alert") == 0
    assert [one.name for one in commands(capsys.readouterr().out)] == ["warning"]
    assert judged(checkout, warned) == 1
    assert [one.name for one in commands(capsys.readouterr().out)] == ["error"]


def test_an_invalid_run_is_one_error_with_its_reasons(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(checkout, records.measured(invalid=("late", EVIL), slow=50.0)) == 3
    (found,) = commands(capsys.readouterr().out)
    assert found.properties["title"] == "INVALID: t: measured"
    assert found.message == f"late\n{EVIL}"


def test_a_run_that_holds_annotates_nothing(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(checkout, records.measured(), code_quality=Path("q.json")) == 0
    assert commands(capsys.readouterr().out) == []
    assert (checkout.parent / "summary").read_text().startswith("# ✓ PASS")
    assert json.loads((checkout / "q.json").read_text()) == []


def test_a_required_kpi_that_was_not_seen_is_an_error(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = records.measured(hidden=("memory", "queue"))
    assert judged(checkout, hidden, require=["peak_memory"]) == 1
    (found,) = commands(capsys.readouterr().out)
    assert found.message == "peak_memory is required and could not be measured"


def test_a_shipped_scenario_has_no_line_and_its_own_place_on_gitlab(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = judged(
        checkout, records.measured(slow=50.0), scenario="baseline.toml, shipped with edgeproof",
        code_quality=Path("q.json"),
    )  # fmt: skip
    assert code == 1
    for found in commands(capsys.readouterr().out):
        assert found.properties.keys() == {"title"}
    for entry in json.loads((checkout / "q.json").read_text()):
        assert entry["location"] == {"path": "scenarios/baseline.toml", "lines": {"begin": 1}}


def test_annotating_can_be_turned_off_and_on(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judged(checkout, records.measured(slow=50.0), github=False) == 1
    assert commands(capsys.readouterr().out) == []
    assert (checkout.parent / "summary").read_text() == ""
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert judged(checkout, records.measured(slow=50.0)) == 1
    assert commands(capsys.readouterr().out) == []
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert judged(checkout, records.measured(slow=50.0), github=True) == 1
    shown = capsys.readouterr()
    assert len(commands(shown.out)) > 1
    assert shown.err == (
        "edgeproof: no job summary is written: GITHUB_STEP_SUMMARY, which names its file, is not "
        "set\n"
    )


def test_a_summary_that_cannot_be_written_is_said_and_changes_no_verdict(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(checkout / "nowhere" / "s"))
    assert judged(checkout, records.measured()) == 0
    assert "cannot be written (No such file or directory); no summary" in capsys.readouterr().err


def test_what_others_wrote_is_no_command_and_no_markdown(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "##[debug]a").mkdir()
    measured = replace(records.measured(), notes=(f"clean start: not possible: {EVIL}",))
    judged(checkout / "##[debug]a", measured)
    shown = capsys.readouterr().out
    assert commands(shown) == []
    assert "Start not clean" in shown
    assert "## [debug]a/run/report.html" in shown
    assert "<script>" not in (checkout.parent / "summary").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quality": Path("no/q.json")}, "--code-quality no/q.json: there is no folder no"),
        ({"junit": Path("no/j.xml")}, "--junit no/j.xml: there is no folder no"),
        ({"quality": Path()}, "--code-quality .: is a folder"),
        (
            {"quality": Path("a"), "junit": Path("./a")},
            "--junit a: is the file of --code-quality, too",
        ),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_the_run(
    options: dict[str, Path], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        chosen_ci(False, **options)


def test_a_summary_keeps_its_first_sections_within_the_limit() -> None:
    text = "# a\n\nfirst\n\n## b\n\n" + "x" * 500 + "\n\n## c\n\n" + "y" * 500 + "\n"
    assert fitting(text, 2000) == text.encode()
    cut = fitting(text, 700).decode()
    assert "x" * 500 in cut
    assert "y" not in cut.replace("summary", "")
    assert cut.endswith("The rest is left out: a step's summary holds at most 1 MiB.\n")
    assert fitting(text, 10) == b""


def test_only_files_of_the_checkout_have_a_path(checkout: Path) -> None:
    (checkout / "site-packages").mkdir()
    (checkout / "site-packages" / "a.toml").touch()
    (checkout.parent / "other.toml").touch()
    assert relative(checkout / "my.toml") == "my.toml"
    assert relative(Path("my.toml")) == "my.toml"
    for name in ("site-packages/a.toml", "../other.toml", "gone.toml", "."):
        assert relative(Path(name)) is None


def test_a_golden_figure_that_differs_is_annotated_at_its_line(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"figures": {"requests": 3, "metric p95_track": 0.1}}
    (checkout / "small.json").write_text(json.dumps(data, indent=1))
    pairs: list[tuple[str, Any, Any]] = [("metric p95_track", 0.1, 0.2)]
    pairs += [("scenario_hash", "a" * 64, "b" * 64)]
    pairs += [(f"counter c{n}", 1, None) for n in range(299)]
    subject = Subject(
        name="small",
        source="small.toml",
        scenario=Scenario(name="small"),
        golden=checkout / "small.json",
    )
    differences = tuple(
        Difference(scenario="small", figure=figure, before=before, after=after)
        for figure, before, after in pairs
    )
    checked = [Checked(subject=subject, differences=differences)]
    gone = [checkout / "old.json"]
    chosen_ci(None, Path("q.json")).tell(
        [*findings(checked, gone)], summary(checked, gone, "accept"), otherwise="golden",
        as_json=False,
    )  # fmt: skip
    first, *_, last = commands(capsys.readouterr().out)
    assert first.properties == {
        "file": "small.json", "line": "4", "title": "small: metric p95_track differs",
    }  # fmt: skip
    assert first.message == str(differences[0])
    assert last.properties["title"] == "293 more errors"
    written = (checkout.parent / "summary").read_text()
    assert "| small | metric p95_track | 0.1 | 0.2 |" in written
    assert "| small | scenario_hash | aaaaaaaaaaaa… | bbbbbbbbbbbb… |" in written
    assert "101 more figures left out" in written
    assert "old: its scenario is gone" in written
    assert len(json.loads((checkout / "q.json").read_text())) == 302


@pytest.mark.parametrize(
    ("line", "text", "properties"),
    [
        ("simulate my.toml", "[[kpis]]\nmetric = 3\n", {"file": "my.toml"}),
        ("simulate my.toml", "name = 'x'\nkpis = [\n= 3\n", {"file": "my.toml", "line": "3"}),
        ("simulate gone.toml", "", {}),
        ("simulate ##[add-mask]gone.toml", "", {}),
        ("simulate", "", {}),
        ("bench compare main --suite nowhere", "", {}),
    ],
)
def test_bad_input_is_annotated_once(
    line: str,
    text: str,
    properties: dict[str, str],
    checkout: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (checkout / "my.toml").write_text(text)
    monkeypatch.setenv("XDG_CACHE_HOME", str(checkout / "cache"))
    assert main(line.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (found,) = commands(shown.err)
    assert (found.name, found.properties) == ("error", {**properties, "title": "edgeproof"})
    first = inert(found.message.splitlines()[0])
    assert f"edgeproof: {first}" in shown.err
    assert main([*line.split(), "--no-github"]) == 2
    if line != "simulate":  # refused before its options are known
        assert "error" not in [one.name for one in commands(capsys.readouterr().err)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("bench", "check", "none.toml"), "none.toml: no such scenario file"),
        (("bench", "check", "--nosuch"), "No such option: --nosuch"),
        (("bench", "compare", "none"), "bench compare: none: no such folder"),
    ],
)
def test_what_has_no_verdict_replaces_the_files_of_an_earlier_run(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("j.xml").write_text("earlier")
    Path("q.json").write_text("earlier")
    assert main([*arguments, "--junit", "j.xml", "--code-quality=q.json"]) == 2
    (case,) = ElementTree.parse("j.xml").iter("testcase")
    (fault,) = case.findall("error")
    assert fault.get("message", "").startswith(told)
    (found,) = json.loads(Path("q.json").read_bytes())
    assert (found["description"].startswith(told), found["severity"]) == (True, "blocker")


def test_an_interrupted_run_replaces_the_files_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.golden.check", interrupt)
    file = tmp_path / "j.xml"
    file.write_text("earlier")
    assert main(["bench", "check", "--junit", str(file)]) == 130
    (fault,) = ElementTree.parse(file).iter("error")
    assert fault.get("type") == "interrupted"


@pytest.mark.parametrize(
    "command",
    [
        ("bench", "history"), ("bench", "history", "--out"), ("bench", "run", "--json"),
        ("bench", "check", "--golden"), ("bench", "check", "--junit"), ("simulate",),
        ("attribute", "--paths"), ("report",), ("bench", "compare"), ("bench", "run", "--save"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_path_that_cannot_be_used_is_one_line(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").touch()
    Path("loop").symlink_to("loop")
    for name in ("f/x.svg", f"{'a' * 5000}.svg", "loop/x.svg"):
        assert main([*command, name]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("edgeproof: ")
