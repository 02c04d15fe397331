"""Checkouts of users' projects, and a stand-in for edgeproof that records how it is called."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.edgeproof.paired.projects import git, write

SCENARIO = """\
name = "mine"
duration = "1s"
warm_up = "1s"

# metric = "p95(track)" is what counts
[traffic]
users = 30
conversions = 10

[[traffic.stages]]
rate = 40
duration = "2s"

[[kpis]]
metric = "p95(track)"
target = "< 1ms"
alert = "> 2ms"

[[kpis]]
metric = "hit_ratio"
target = ">= 1%"
alert = "< 0.5%"
"""


def checkout(folder: Path, files: Mapping[str, str], *, is_repository: bool = False) -> Path:
    """Return *folder* with *files*, as a repository with an old commit and one of now."""
    folder.mkdir()
    write(folder, files)
    if is_repository:
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "first", when="2020-01-01T00:00:00Z")
        git(folder, "commit", "-q", "--allow-empty", "-m", "second")
        commits = git(folder, "rev-list", "--reverse", "HEAD")
        (folder / "commits").write_text(commits, encoding="utf-8")
    return folder


def recorder(folder: Path, *, code: int = 0) -> Path:
    """Return a folder for the PATH whose edgeproof writes down its arguments and does nothing."""
    folder.mkdir()
    program = folder / "edgeproof"
    program.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\n"
        "with open(pathlib.Path(__file__).with_name('calls'), 'a') as file:\n"
        "    print(json.dumps(sys.argv[1:]), file=file)\n"
        f"sys.exit({code})\n",
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def recorded(folder: Path) -> list[list[str]]:
    """Return the arguments of each call of a `recorder`."""
    calls = folder / "calls"
    return [*map(json.loads, calls.read_text().splitlines())] if calls.is_file() else []
