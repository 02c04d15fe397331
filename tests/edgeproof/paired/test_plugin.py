"""Claims about the commands: exit codes, what is printed where, and what a pytest run pays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeproof.paired.plugin import _leave_imports_alone
from tests.edgeproof.commands import LIMIT_SECONDS, edgeproof, environment, running
from tests.edgeproof.paired.projects import TOTAL, quick, repository, write

SLOW = TOTAL["core/__init__.py"].replace("sum(range(n))", "[sum(range(n)) for _ in 'abc'][0]")
RUN = """
import sys, pytest
code = pytest.main(sys.argv[1:])
open("seen.txt", "w").write(" ".join(sys.modules))
sys.exit(code)
"""
OURS = {"bench", "core", "reports", "scenarios", "sim"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick(monkeypatch, tmp_path / "cache")
    return repository(tmp_path / "p", TOTAL)


def pytest_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {n: v for n, v in environment().items() if n != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", RUN, "-p", "edgeproof.paired.plugin", *arguments],
        cwd=folder, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip


def test_pytest_finds_the_plugin_by_itself() -> None:
    (found,) = entry_points(group="pytest11", name="edgeproof")
    assert found.value == "edgeproof.paired.plugin"


def test_a_run_without_the_option_is_as_it_was(project: Path) -> None:
    write(project, {"test_plain.py": "def test_plain(): pass\n"})
    done = pytest_run(project, "-q", "test_plain.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 passed" in done.stdout
    seen = {*(project / "seen.txt").read_text().split()}
    assert not seen & {*OURS, "numpy", "scipy", "edgeproof.paired.comparison"}
    assert "edgeproof.paired.plugin" in seen


def test_a_slowdown_of_the_working_folder_fails(project: Path) -> None:
    write(project, {"core/__init__.py": SLOW})
    done = pytest_run(project, "--paired", "main", "benchmarks", "--paired-json")
    assert done.returncode == 1, done.stdout + done.stderr
    told = json.loads(done.stdout)
    (row,) = told["benchmarks"]
    assert (row["verdict"], row["is_regression"]) == ("SLOWER", True)
    assert row["name"] == "benchmarks/bench_total.py::test_total"
    assert told["mode"] == "one process"
    assert "measuring again" in done.stderr
    assert not OURS & {*(project / "seen.txt").read_text().split()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--paired", "nope"), "nope: no git revision"),
        (("--paired", "main", "--paired-budget", "soon"), "--paired-budget soon: is no time"),
        (("--paired", "main", "--paired-max-regression", "-1"), "is no share"),
        (("--paired", "main", "benchmarks", "-k", "nothing"), "-k nothing: selects no benchmark"),
        (("--paired-strict",), "--paired-strict: needs --paired BASE"),
    ],
)
def test_bad_input_of_the_plugin_is_one_line(
    project: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = pytest_run(project, *arguments)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_asserts_of_a_project_with_a_core_of_its_own_are_not_rewritten() -> None:
    hook = SimpleNamespace(_must_rewrite={"core", "edgeproof", "conftest"})
    _leave_imports_alone(SimpleNamespace(rewrite_hook=hook))
    assert hook._must_rewrite == {"conftest"}
    _leave_imports_alone(SimpleNamespace())  # a pytest that keeps them elsewhere


def test_the_command_compares_a_suite_and_names_what_is_new(project: Path) -> None:
    write(project, {"benchmarks/test_new.py": "def test_new(benchmark): benchmark(len, '')\n"})
    done = edgeproof("bench", "compare", "main", "--suite", "benchmarks", cwd=project)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "new: only head has it" in done.stdout
    assert "both in one process" in done.stdout
    assert "test_total" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nope", "--suite", "benchmarks"), "nope: no git revision"),
        (("main", "--suite", "nowhere"), "has no nowhere"),
        (("main",), "bench/benchmarks"),
        (("main", "--suite", "benchmarks", "--budget", "0s"), "--budget 0s"),
        (("main", "--suite", "benchmarks", "-k", "nothing_of_the_kind"),
         "-k nothing_of_the_kind: no benchmark's name holds that"),
    ],
)  # fmt: skip
def test_bad_input_of_the_command_is_one_line(
    project: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = edgeproof("bench", "compare", *arguments, cwd=project)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_ctrl_c_shows_what_was_found_and_leaves_no_process(project: Path) -> None:
    arguments = ("bench", "compare", "main", "--suite", "benchmarks", "--max-regression", "0.1%")
    variables = {n: v for n, v in os.environ.items() if n.startswith(("XDG_", "PYTEST_"))}
    with running(*arguments, cwd=project, **variables) as command:
        command.wait_for("1 process,")
        command.interrupt(group=True)
        code, out, said = command.end()
    assert code == 130
    assert "test_total" in out
    assert "interrupted" in out
    assert "Traceback" not in said
