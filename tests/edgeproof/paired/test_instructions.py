"""Claims about instruction counts: they tell calls apart that do different work."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from edgeproof.paired.instructions import counted, require_valgrind
from edgeproof.paired.request import Request, prepared
from edgeproof.paired.versions import Unusable
from tests.conftest import find_program
from tests.edgeproof.paired.projects import LIMIT_SECONDS, TOTAL, quick, repository, write


def test_a_call_of_three_times_the_work_takes_three_times_the_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_program("valgrind", package="valgrind")
    quick(monkeypatch, tmp_path / "cache")
    project = repository(tmp_path / "p", TOTAL)
    slow = TOTAL["core/__init__.py"].replace("sum(range(n))", "[sum(range(n)) for _ in 'abc'][0]")
    write(project, {"core/__init__.py": slow})
    asked = Request(base="main", head=None, project=project, suite=("benchmarks",))
    ready = prepared(asked, lambda _: None)
    name = "benchmarks/bench_total.py::test_total"
    found = counted(ready.task, [name], deadline=monotonic() + LIMIT_SECONDS, say=lambda _: None)
    base, head = found[name]
    assert 2 < head / base < 5
    assert 1_000 < base < 50_000


def test_a_machine_without_valgrind_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unusable, match="apt-get install valgrind"):
        require_valgrind()
