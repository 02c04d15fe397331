"""Small projects with benchmarks, as git repositories, and one process that compares two."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from edgeproof.paired.processes import Turn, repetition
from edgeproof.paired.request import Request, prepared

LIMIT_SECONDS = 120.0
"""A guard, not a claim."""

TOTAL = {
    "core/__init__.py": "def total(n):\n    return sum(range(n))\n\ndef rows():\n    return 1\n",
    "sim/__init__.py": "NAME = 'sim of the project'\n",
    "reports.py": "NAME = 'reports of the project'\n",
    "tests/__init__.py": "",
    "benchmarks/conftest.py": """
        import pytest

        @pytest.fixture(scope="module")
        def size():
            return 100
    """,
    "benchmarks/bench_total.py": """
        import core, reports, sim

        def test_total(benchmark, size):
            assert benchmark(core.total, size) == 4950
            assert (sim.NAME, reports.NAME) == ("sim of the project", "reports of the project")
            benchmark.extra_info["rows_count"] = core.rows()
    """,
}
"""A project whose packages have the names of ours."""


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write *files* below *folder*, which is made."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def git(folder: Path, *arguments: str, when: str = "") -> str:
    """Run git in *folder* with nobody's settings, and return what it prints.

    when: the time of a commit, if not now.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    named = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "a"), ("EMAIL", "a@example.com"))
    }
    if when:
        named |= {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**kept, **nobody, **named},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def repository(folder: Path, files: Mapping[str, str]) -> Path:
    """Return a new repository with *files* committed on main."""
    write(folder, files)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    return folder


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=x")
    return git(folder, "rev-parse", "HEAD")


def quick(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let measuring processes load no plugin but pytest-benchmark, and keep things in *cache*."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_benchmark.plugin")


class Outcome:
    """What one repetition said."""

    def __init__(self, events: Iterable[dict[str, Any]]) -> None:
        self.pairs: dict[str, list[list[float]]] = {}
        self.sides: dict[str, dict[str, Any]] = {}
        self.files: dict[str, list[str]] = {}
        for event in events:
            if event["event"] == "measured":
                self.pairs[event["benchmark"].rpartition("::")[2]] = event["pairs"]
            elif event["event"] == "side":
                self.sides[event["name"]] = event
            elif event["event"] == "files":
                self.files[event["name"]] = sorted(event["files"])

    def told(self, side: str, kind: str) -> dict[str, str]:
        """Return what was broken or skipped on a side, by the test's name."""
        return {n.rpartition("::")[2]: why for n, why in self.sides[side][kind].items()}

    def number(self, side: str, test: str, figure: str) -> int:
        """Return a whole number that a test left in its extra_info."""
        (of_test,) = (
            parts for name, parts in self.sides[side]["extra"].items() if name.endswith(test)
        )
        return int({**of_test["plain"], **of_test["counts"]}[figure])

    def ratio(self, test: str) -> float:
        """Return the median of head/base."""
        ratios = sorted(head / base for base, head in self.pairs[test])
        return ratios[len(ratios) // 2]


def repeated(project: Path, base: str = "main", *, number: int = 0, **asked: Any) -> Outcome:
    """Compare once: one process, or one for each version."""
    request = Request(
        base=base, head=asked.pop("head", None), project=project,
        suite=asked.pop("suite", ("benchmarks",)), **asked,
    )  # fmt: skip
    ready = prepared(request, lambda _: None)
    turn = Turn(number=number, only=None, deadline=monotonic() + LIMIT_SECONDS)
    return Outcome(repetition(ready.task, turn))
