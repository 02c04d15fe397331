"""Claims about the action and the workflow in docs/ci/github, on a player of GitHub's runner."""

from __future__ import annotations

import json
import shlex
import stat
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.github import Job, commands
from tests.ci.projects import SCENARIO, checkout, recorded, recorder
from tests.edgeproof.commands import ROOT

FOLDER = ROOT / "docs" / "ci" / "github"
ACTION = FOLDER / "action.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load((FOLDER / "workflow.yml").read_text(encoding="utf-8"))
OURS = "OWNER/edgeproof/docs/ci/github@REVISION"
BIN = str(Path(sys.executable).parent)


def job(workspace: Path, *, path: str = BIN, **contexts: Any) -> Job:
    return Job(workspace, workspace.parent / "temp", path=path, contexts=contexts)


def test_a_missed_kpi_is_annotated_at_its_line_and_summed_up(tmp_path: Path) -> None:
    workspace = checkout(tmp_path / "w", {"load/scenario.toml": SCENARIO})
    played = job(workspace)
    command = "simulate scenario.toml --out 'a run' --set 'kpis[0].target=< 1.5ms'"
    played.action(ACTION, {"command": command, "install": "none", "working-directory": "load"})
    found = played.played
    assert (found.code, found.outputs) == (1, {"exit-code": "1"}), found.err
    (issue,) = found.issues
    assert issue.name == "error"
    line = SCENARIO.splitlines().index('metric = "p95(track)"') + 1
    assert issue.properties == {
        "file": "load/scenario.toml", "line": str(line),
        "title": "p95_track: FAIL (mine: predicted, mean of 10 replications)",
    }  # fmt: skip
    assert "target < 1.5ms, alert > 2ms" in issue.message
    (summary,) = found.summaries
    assert summary == (workspace / "load" / "a run" / "report.md").read_text(encoding="utf-8")
    assert summary.startswith("# ✗ FAIL: mine")
    assert "| p95_track | &lt; 1.5ms |" in summary
    assert "█│" in summary
    assert (workspace / "load" / "a run" / "junit.xml").is_file()


def test_what_the_command_holds_is_an_argument_and_no_script(tmp_path: Path) -> None:
    workspace = checkout(tmp_path / "w", {})
    stub = recorder(tmp_path / "bin")
    played = job(workspace, path=str(stub))
    command = "simulate \"$(touch made)\" ';' touch made; `touch made` 'a  b'\n$HOME * --x='y z'"
    played.action(ACTION, {"command": command, "install": "none"})
    assert played.played.code == 0, played.played.err
    assert recorded(stub) == [
        ["simulate", "$(touch made)", ";", "touch", "made;", "`touch", "made`", "a  b",
         "$HOME", "*", "--x=y z"]
    ]  # fmt: skip
    assert [*workspace.iterdir()] == []


def test_a_quote_that_is_left_open_fails_and_runs_nothing(tmp_path: Path) -> None:
    stub = recorder(tmp_path / "bin")
    played = job(checkout(tmp_path / "w", {}), path=str(stub))
    played.action(ACTION, {"command": "simulate 'a b", "install": "none"})
    assert played.played.code != 0
    assert recorded(stub) == []


@pytest.mark.parametrize("code", [3, 4])
def test_the_exit_code_is_that_of_the_command(code: int, tmp_path: Path) -> None:
    played = job(checkout(tmp_path / "w", {}), path=str(recorder(tmp_path / "bin", code=code)))
    played.action(ACTION, {"command": "simulate x", "install": "none"})
    assert (played.played.code, played.played.outputs) == (code, {"exit-code": str(code)})


def python_that_shares_pip(folder: Path) -> Path:
    """Return a Python whose virtual environments have our pip: making one takes 20 s."""
    pip = find_spec("pip")
    assert pip is not None
    assert pip.origin is not None
    program = folder / "python3"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, subprocess, sys\n"
        "assert sys.argv[1:3] == ['-m', 'venv']\n"
        "make = [sys.executable, '-m', 'venv', '--without-pip', sys.argv[3]]\n"
        "subprocess.run(make, check=True)\n"
        "(site,) = pathlib.Path(sys.argv[3]).glob('lib/python*/site-packages')\n"
        f"(site / 'shared.pth').write_text({str(Path(pip.origin).parents[1])!r})\n",
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_the_action_installs_once_what_it_is_told_to(tmp_path: Path) -> None:
    wheel = tmp_path / "a place" / "standin-1-py3-none-any.whl"
    wheel.parent.mkdir()
    parts = {
        "standin.py": "def run():\n    print('installed')\n",
        "standin-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: standin\nVersion: 1\n",
        "standin-1.dist-info/WHEEL":
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "standin-1.dist-info/entry_points.txt": "[console_scripts]\nedgeproof = standin:run\n",
        "standin-1.dist-info/RECORD": "",
    }  # fmt: skip
    with zipfile.ZipFile(wheel, "w") as file:
        for name, text in parts.items():
            file.writestr(name, text)
    workspace = checkout(tmp_path / "w", {})
    played = job(workspace, path="")
    given = {
        "command": "x", "install": f"--no-index {shlex.quote(str(wheel))}",
        "python": str(python_that_shares_pip(tmp_path)),
    }  # fmt: skip
    played.action(ACTION, given)
    assert (played.played.code, played.played.out) == (0, "installed\n"), played.played.err
    stamp = (tmp_path / "temp" / "edgeproof" / ".installed").stat().st_mtime_ns
    played.action(ACTION, given)
    assert played.played.out == "installed\n" * 2
    assert (tmp_path / "temp" / "edgeproof" / ".installed").stat().st_mtime_ns == stamp


def test_the_action_without_install_takes_the_edgeproof_that_it_lies_in(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, shutil, sys\n"
        "with open(pathlib.Path(__file__).with_name('calls'), 'a') as file:\n"
        "    print(json.dumps(sys.argv[1:]), file=file)\n"
        "if sys.argv[1:3] == ['-m', 'venv']:\n"
        "    target = pathlib.Path(sys.argv[3], 'bin')\n"
        "    target.mkdir(parents=True)\n"
        "    shutil.copy(__file__, target / 'python')\n"
        "    pathlib.Path(target, 'edgeproof').symlink_to('/bin/true')\n",
        encoding="utf-8",
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    played = job(checkout(tmp_path / "w", {}), path="")
    played.action(ACTION, {"command": "x", "python": str(python), "packages": "-r 'my needs.txt'"})
    assert played.played.code == 0, played.played.err
    calls = (tmp_path / "temp" / "edgeproof" / "bin" / "calls").read_text().splitlines()
    (call,) = map(json.loads, calls)
    assert call[:3] == ["-m", "pip", "install"]
    assert call[-5:] == ["-c", f"{ROOT}/constraints.txt", f"{ROOT}[bench]", "-r", "my needs.txt"]
    assert (ROOT / "constraints.txt").is_file()


def jobs(event: str, workspace: Path, stub: Path) -> dict[str, Job]:
    """Play the jobs of the workflow that *event* starts, with a recorder as edgeproof."""
    played = {}
    for name, told in WORKFLOW["jobs"].items():
        current = job(
            workspace, path=str(stub),
            github={"event_name": event, "sha": "0" * 40},
            vars={"STAGING_HOST": "staging.example.com",
                  "STAGING_URL": "https://staging.example.com"},
            secrets={"EDGEPROOF_TOKEN": "t"},
        )  # fmt: skip
        if not current.holds(told["if"]):
            continue
        for value in told.get("env", {}).values():
            assert current.resolved(value)
        for step in told["steps"]:
            if "run" in step:
                current.step(step)
            elif step["uses"] == OURS and current.is_due(step):
                given = {key: current.resolved(text) for key, text in step["with"].items()}
                current.action(ACTION, {**given, "install": "none"})
            else:
                assert step["uses"].startswith(("actions/", OURS)), step
        played[name] = current
    return played


def test_every_change_is_simulated_and_every_night_is_loaded_and_compared(tmp_path: Path) -> None:
    workspace = checkout(tmp_path / "w", {"scenario.toml": SCENARIO}, is_repository=True)
    stub = recorder(tmp_path / "bin")
    assert [*jobs("pull_request", workspace, stub)] == ["simulate"]
    assert recorded(stub) == [["simulate", "scenario.toml", "--gate", "alert"]]
    assert [*jobs("schedule", workspace, stub)] == ["load", "compare"]
    _, load, compare = recorded(stub)
    assert load == [
        "load", "scenario.toml", "--host", "https://staging.example.com", "--gate", "alert",
    ]  # fmt: skip
    (first, _) = (workspace / "commits").read_text().split()
    assert compare == [
        "bench", "compare", "--suite", "benchmarks/", first, "--budget", "10m", "--junit",
        "compare.xml",
    ]  # fmt: skip


def test_the_history_that_the_comparison_needs_is_fetched() -> None:
    (fetch,) = (
        step for step in WORKFLOW["jobs"]["compare"]["steps"]
        if step.get("uses", "").startswith("actions/checkout")
    )  # fmt: skip
    assert fetch["with"]["fetch-depth"] == 0


def test_the_player_reads_commands_as_the_runner_does() -> None:
    text = "::error file=a%2Cb,line=3,title=x%3A y::1%25%0A2\nplain\n  ::warning::w\na ##[debug]z"
    first, second, third = commands(text)
    assert (first.name, first.message) == ("error", "1%\n2")
    assert first.properties == {"file": "a,b", "line": "3", "title": "x: y"}
    assert (second.name, third.name) == ("warning", "debug")
