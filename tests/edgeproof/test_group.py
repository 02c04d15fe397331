"""The root of the command line: its table, its version, its completion, and what it imports."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import shellingham

from edgeproof.bench import BenchGroup
from edgeproof.commands import BENCH, COMMANDS
from edgeproof.group import ListedGroup, RootGroup
from edgeproof.main import main
from tests.edgeproof.commands import ROOT, edgeproof, environment

HEAVY = (
    "apsw", "fakeredis", "gevent", "httpx", "jinja2", "locust", "matplotlib", "numba", "numpy",
    "pydantic", "redis", "rich", "scipy", "simpy", "starlette", "uvicorn",
)  # fmt: skip


@pytest.mark.parametrize(
    ("group", "name"),
    [*((RootGroup, name) for name in COMMANDS), *((BenchGroup, name) for name in BENCH)],
)
def test_table_has_the_summary_of_each_command(group: type[ListedGroup], name: str) -> None:
    command, listed = group.load(name), group(name="group").commands[name]
    assert command.name == name
    for limit in (45, 60, 10_000):
        assert listed.get_short_help_str(limit) == command.get_short_help_str(limit)


def test_help_has_every_command_once_in_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "\nCommands:" not in shown
    named = re.findall(r"^  ([a-z][a-z-]*)  ", shown, re.MULTILINE)
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--version"], ["bench"], ["bench", "--help"]]
)
def test_help_imports_no_heavy_package(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from edgeproof.main import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"print(sorted({{*{HEAVY!r}}} & {{*sys.modules}}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == "[]\n"


def test_bare_command_prints_its_help_on_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    asked = capsys.readouterr()
    assert main([]) == 0
    assert capsys.readouterr() == asked
    assert asked.err == ""


@pytest.mark.parametrize("name", ["bench", "scenario", "queue", "outbox"])
def test_bare_group_prints_its_help_on_standard_output(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"Usage: edgeproof {name} ")
    assert shown.err == ""


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"edgeproof {version('edgeproof')}\n", "")


def test_module_runs_in_a_folder_that_has_a_core(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("raise SystemExit('the wrong core')")
    done = edgeproof("scenario", "list", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "baseline" in done.stdout


# Completion.


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o default -F _edgeproof_completion edgeproof"),
        ("zsh", "#compdef edgeproof"),
        ("fish", "complete --command edgeproof"),
    ],
)
def test_script_of_each_shell_asks_edgeproof(
    shell: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shellingham, "detect_shell", lambda: (shell, ""))
    assert main(["--show-completion"]) == 0
    shown = capsys.readouterr()
    assert words in shown.out
    assert f"_EDGEPROOF_COMPLETE=complete_{shell}" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize(
    ("variables", "line", "words"),
    [
        ({"COMP_WORDS": "edgeproof s", "COMP_CWORD": "1"}, "bash", ["simulate", "serve"]),
        ({"COMP_WORDS": "edgeproof queue st", "COMP_CWORD": "2"}, "bash", ["status"]),
        ({"COMP_WORDS": "edgeproof plan --st", "COMP_CWORD": "2"}, "bash", []),
        ({"_TYPER_COMPLETE_ARGS": "edgeproof load --max"}, "zsh", ["--max-rate"]),
        (
            {"_TYPER_COMPLETE_ARGS": "edgeproof out", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
            "fish",
            ["outbox", "Show and mend what is"],
        ),
    ],
)
def test_shell_is_given_what_may_follow(
    variables: dict[str, str], line: str, words: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, value in {**variables, "_EDGEPROOF_COMPLETE": f"complete_{line}"}.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert [word for word in words if word not in shown.out] == []
    assert bool(words) == bool(shown.out.strip())


def test_script_completes_in_bash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("bash", ""))
    assert main(["--show-completion"]) == 0
    command = tmp_path / "edgeproof"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgeproof "$@"\n')
    command.chmod(0o755)
    script = capsys.readouterr().out + (
        f"COMP_WORDS=(edgeproof scenario ch) COMP_CWORD=2\n_edgeproof_completion {command}\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("check\n", "")


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_unknown_shell_is_named(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("tcsh", ""))
    assert main([option]) == 2
    line = f"edgeproof: {option}: called from tcsh; call it from bash, zsh or fish\n"
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".bash_completions/edgeproof.sh"),
        ("zsh", ".zfunc/_edgeproof"),
        ("fish", ".config/fish/completions/edgeproof.fish"),
    ],
)
def test_completion_is_installed_in_the_home_folder(
    shell: str, place: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shellingham, "detect_shell", lambda: (shell, ""))
    assert main(["--install-completion"]) == 0
    assert "_EDGEPROOF_COMPLETE" in Path(tmp_path, place).read_text()
    assert place in capsys.readouterr().out
