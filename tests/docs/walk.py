"""Walks of pages: commands in `sh` blocks, and below each, in a `text` block, what it prints.

`python -m tests.docs.walk docs/capacity-planning.md` runs a page's walk and writes what its
commands print into the page. The steps of a walk run in one folder, one after another, as if it
were 20 November 2026. A `toml` block whose first line names a file changes the lines of that file
which set the same fields.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from io import StringIO
from pathlib import Path
from typing import Self
from unittest import mock

from bench import logs
from tests.edgeproof.commands import called

_BLOCK = re.compile(r"```(sh|toml)\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


class _Day(datetime):
    """A clock that stands: the month of a forecast depends on the day."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(2026, 11, 20, tzinfo=tz or UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command of a walk: what the page says that it prints, what it printed, its exit code."""

    command: str
    told: str
    printed: str
    code: int


def walk_of(text: str) -> str:
    """Return the section of a page whose title begins with "A walk"."""
    (walk,) = re.findall(r"^## A walk.*?\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return str(walk)


def steps_of(text: str, folder: Path) -> list[Step]:
    """Run the walk of the page *text* in *folder*; return its commands that print something.

    Raise AssertionError where a command ends otherwise than with exit code 0 or 1.
    """
    found = []
    for kind, block, told in _BLOCK.findall(walk_of(text)):
        if kind == "toml":
            _change(block, folder)
        elif block.startswith("python -m bench.logs "):
            with chdir(folder), redirect_stdout(StringIO()):
                assert logs.main(shlex.split(block)[3:]) == 0
        else:
            found.append(_run(block.strip(), told, folder))
    return found


def _run(command: str, told: str, folder: Path) -> Step:
    """Run `edgeproof ...`, its output filtered by what stands behind the first " | "."""
    own, _, filters = command.partition(" | ")
    name, *arguments = shlex.split(own)
    assert name == "edgeproof", command
    with mock.patch("edgeproof.plan.datetime", _Day):
        done = called(*arguments, cwd=folder, variables={"EDGEPROOF_RUNS": str(folder / "kept")})
    assert done.returncode in (0, 1), done.stderr
    printed = done.stdout
    if filters:
        printed = subprocess.run(
            ["sh", "-c", filters], input=printed, capture_output=True, text=True, check=True
        ).stdout
    return Step(command=command, told=told, printed=printed, code=done.returncode)


def _change(block: str, folder: Path) -> None:
    """Put the lines of a `toml` block in place of those of the file that it names."""
    first, *lines = block.splitlines()
    file = folder / first.removeprefix("# ")
    text = file.read_text(encoding="utf-8")
    for line in lines:
        text, count = re.subn(rf"(?m)^{re.escape(line.split('=')[0])}=.*$", line, text)
        assert count == 1, f"{file.name} has {count} lines like {line!r}"
    file.write_text(text, encoding="utf-8")


def main(page: Path) -> None:
    """Write what the commands of the walk of *page* print into it."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for step in steps_of(text, Path(folder)):
            before = f"```sh\n{step.command}\n```\n\n```text\n"
            text = text.replace(f"{before}{step.told}```", f"{before}{step.printed}```")
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
