"""Claims about what a comparison says to CI systems, on a made-up machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from edgeproof import compare as command
from edgeproof.compared import SUITE, cases, findings, summary
from edgeproof.main import main
from edgeproof.paired.comparison import Untrusted
from edgeproof.paired.options import Finished
from edgeproof.paired.request import Prepared
from edgeproof.paired.result import Rules
from edgeproof.paired.versions import Version
from reports.junit import written
from tests.ci.github import commands
from tests.edgeproof.paired.made_up_machine import TASK, Machine
from tests.reports.junit_schema import checked

BENCHMARKS = """\
import pytest

def test_same(benchmark): ...

@pytest.mark.parametrize("n", [1])
def test_slow(benchmark, n): ...

class TestMore:
    def test_new(self, benchmark): ...
"""
NAME = "benchmarks/test_a.py"
TESTS = ("test_same", "test_slow[a|`b` <i>]", "TestMore::test_new", "test_gone")
SAME, SLOW, NEW, GONE = (f"{NAME}::{test}" for test in TESTS)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "p" / "benchmarks").mkdir(parents=True)
    (tmp_path / "p" / NAME).write_text(BENCHMARKS)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    return tmp_path / "p"


def finished(
    project: Path, machine: Machine, *, strict: bool = False, root: Path | None = None, **rules: Any
) -> Finished:
    def version(label: str, place: Path) -> Version:
        return Version(label=label, root=place, identity=label, kind="folder")

    ready = Prepared(
        task=TASK, base=version("main (1234)", Path("/b")), head=version("here", root or project),
        mode="in turns", notes=(),
    )  # fmt: skip
    known = Rules(**rules)
    return Finished(found=machine.compared(**rules), rules=known, ready=ready, is_strict=strict)


def machine(**more: float) -> Machine:
    made = Machine(**{SAME: 1.0, SLOW: 1.3, NEW: 1.0, GONE: 1.0, **more})
    made.base.remove(NEW)
    made.head.remove(GONE)
    return made


def test_a_regression_stands_at_the_line_of_its_benchmark(project: Path) -> None:
    found = {one.subject: one for one in findings(finished(project, machine()), project)}
    assert found.keys() == {SLOW, NEW, GONE}
    assert {one.level for one in found.values()} == {"error"}
    slow = found[SLOW]
    assert (slow.path, slow.line, slow.check) == (f"p/{NAME}", 6, "regression")
    assert f"{SLOW} takes 1.3" in slow.message
    assert "main (1234)" in slow.message
    assert (found[NEW].line, found[GONE].line) == (9, None)


def test_a_head_that_is_not_the_folder_has_no_lines(project: Path) -> None:
    found = findings(finished(project, machine(), root=Path("/h")), project)
    assert {(one.path, one.line) for one in found} == {(f"p/{NAME}", None)}


def test_what_is_allowed_is_no_finding_and_undecided_warns_unless_strict(project: Path) -> None:
    slow = machine()
    slow.seconds = 10.0
    for strict, level in ((False, "warning"), (True, "error")):
        done = finished(project, slow, strict=strict, allow_missing=True, budget=45.0)
        assert {(one.level, one.check) for one in findings(done, project)} == {(level, "undecided")}
        kinds = {case.name: case.kind for case in cases(done)}
        assert kinds["test_same"] == ("failure" if strict else "skipped")
        assert kinds["test_gone"] == "skipped"
    assert summary(done, 0).startswith("# ? UNDECIDED: bench compare\n")


def test_counts_that_differ_fail_unless_they_are_allowed(project: Path) -> None:
    made = Machine(**{SAME: 1.0})
    made.counts = {"base": {"rows_count": 1}, "head": {"rows_count": 2}}
    (found,) = findings(finished(project, made), project)
    assert (found.check, found.message) == ("counts", f"{SAME}: rows_count was 1 and is 2")
    (case,) = cases(finished(project, made))
    assert (case.kind, case.type) == ("failure", "other counts")
    allowed = finished(project, made, allow_counts=True)
    assert findings(allowed, project) == []
    assert [case.kind for case in cases(allowed)] == [None]


def test_a_count_that_could_not_be_compared_is_an_error_beside_what_passes(project: Path) -> None:
    done = finished(project, Machine(**{SAME: 1.0}), counts=("rows",))
    (found,) = findings(done, project)
    assert (found.level, found.subject) == ("error", "--count rows")
    assert [(case.name, case.kind) for case in cases(done)] == [
        ("test_same", None), ("--count rows", "error"),
    ]  # fmt: skip
    assert "no benchmark's extra" in summary(done, 2)


def test_an_interrupted_comparison_is_no_suite_that_passes(project: Path) -> None:
    done = finished(project, Machine(**{SAME: 1.0}))
    stopped = replace(done, found=replace(done.found, is_interrupted=True))
    assert [case.kind for case in cases(stopped)] == [None, "error"]


def test_each_benchmark_is_a_test_case(project: Path) -> None:
    done = finished(project, machine())
    root = checked(written(cases(done), name=SUITE, seconds=done.found.seconds))
    kinds = {
        (case.get("classname"), case.get("name")): [child.tag for child in case]
        for case in root.iter("testcase")
    }
    assert kinds == {
        ("benchmarks.test_a", "test_same"): [],
        ("benchmarks.test_a", "test_slow[a|`b` <i>]"): ["failure"],
        ("benchmarks.test_a", "TestMore::test_new"): ["failure"],
        ("benchmarks.test_a", "test_gone"): ["failure"],
    }


def test_the_summary_has_a_row_and_a_span_for_each(project: Path) -> None:
    done = finished(project, machine())
    text = summary(done, 1)
    assert text.startswith("# ✗ FAIL: bench compare\n")
    assert "1 slower by about 5 % or more" in text
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = [token.type for token in tokens]
    assert (kinds.count("tr_open"), kinds.count("td_open")) == (3, 12)
    (figure,) = (token.content for token in tokens if token.type == "fence")
    assert "SLOWER, regression" in figure
    assert "<i>" not in text.replace(figure, "")
    words = {0: "✓ PASS", 4: "? UNDECIDED", 130: "∅ INTERRUPTED"}
    for code, word in words.items():
        assert summary(done, code).startswith(f"# {word}: bench compare\n")


def test_of_too_many_benchmarks_those_that_fail_come_first(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeproof.compared.SUMMARY_ROWS", 3)
    made = machine(**{f"{NAME}::a{n}": 1.0 for n in range(5)})
    made.ratios = {name: made.ratios[name] for name in sorted(made.ratios)}
    text = summary(finished(project, made), 1)
    assert "4 more benchmarks left out" in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert "test_slow" in table[2]


def test_a_comparison_that_cannot_be_trusted_is_one_error(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> int:
        raise Untrusted("a file was changed\n::error::x")

    monkeypatch.setattr(command, "run", run)
    monkeypatch.chdir(project)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary"))
    line = "bench compare main --suite benchmarks --github --junit j.xml --code-quality q.json"
    assert main(line.split()) == 3
    shown = capsys.readouterr()
    (found,) = commands(shown.out)
    assert found.message == "a file was changed\n::error::x"
    assert "edgeproof: bench compare: a file was changed" in shown.err
    assert (project / "summary").read_text().startswith("# ∅ INVALID: bench compare")
    root = checked((project / "j.xml").read_bytes())
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    (entry,) = json.loads((project / "q.json").read_text())
    assert (entry["severity"], entry["location"]["path"]) == ("blocker", "benchmarks")
