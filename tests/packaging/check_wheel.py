"""Check that a release works away from its source tree, in an environment with nothing else.

The examples of docs/library.md run there, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.docs.examples import EXAMPLES, Example

ROOT = Path(__file__).resolve().parents[2]


class StepFailed(Exception):
    """A step of the check did not do what it should; the message holds what it printed."""


def run(command: Sequence[str | Path], *, cwd: Path) -> str:
    """Run *command* in *cwd* and return its standard output; raise StepFailed unless it exits 0."""
    # PYTHONPATH would let the source tree stand in for a file that the wheel lacks.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        line = " ".join(str(word) for word in command)
        raise StepFailed(f"{line}\nexited {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def build_release(folder: Path) -> Path:
    """Let `make wheel` write a release into *folder*; return the path of its wheel."""
    run(["make", "--no-print-directory", "wheel", f"DIST={folder}"], cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> int:
    """Return the number of files in the packages; raise StepFailed if the wheel lacks one."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        build = tomllib.load(file)["tool"]["hatch"]["build"]
    packages = build["targets"]["wheel"]["only-include"]
    listed = run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *packages],
        cwd=ROOT,
    )
    # The index still lists a file that was removed and not yet committed.
    expected = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        missing = sorted(expected - set(archive.namelist()))
    if missing:
        raise StepFailed(f"the wheel lacks {', '.join(missing)}")
    return len(expected)


def install(wheel: Path, environment: Path) -> Path:
    """Install *wheel* with the constraints beside it into a new virtual environment.

    Return the folder of its commands.
    """
    # Our pip fills it: a pip of its own, and byte code of modules that nobody imports, cost more
    # than all the rest of this check.
    run([sys.executable, "-m", "venv", "--without-pip", environment], cwd=ROOT)
    commands = environment / "bin"
    run(
        [
            *(sys.executable, "-m", "pip", "--python", commands / "python"),
            *("install", "--quiet", "--no-compile"),
            *("--constraint", wheel.with_name("constraints.txt"), wheel),
        ],
        cwd=environment,
    )
    return commands


def simulate(commands: Path, folder: Path) -> Path:
    """Simulate a short packaged baseline in *folder* and return the path of its record."""
    folder.mkdir()
    short = ("--rate", "60", "--set", "duration=2s", "--set", "warm_up=1s")
    run(
        [commands / "edgeproof", "simulate", "baseline", *short, "--plain", "--out", "out"],
        cwd=folder,
    )
    record = folder / "out" / "record.json"
    if not record.is_file():
        raise StepFailed(f"edgeproof simulate exited 0 but wrote no {record.relative_to(folder)}")
    return record


def check_example(commands: Path, folder: Path, example: Example) -> None:
    """Run *example* in *folder*; raise StepFailed unless it prints what the page says."""
    folder.mkdir()
    (folder / "example.py").write_text(example.source, encoding="utf-8")
    printed = run([commands / "python", "-W", "error", "example.py"], cwd=folder)
    if printed != example.printed:
        raise StepFailed(
            f"docs/library.md, {example.title}: the page says\n{example.printed}"
            f"but the example prints\n{printed}"
        )


def check(folder: Path) -> None:
    """Run every step in *folder*, one printed line each; raise StepFailed at the first fault."""
    print("wheel: building it", flush=True)
    wheel = build_release(folder / "dist")
    count = check_contents(wheel)
    print(f"wheel: {wheel.name} holds all {count} files of the packages", flush=True)
    print("wheel: installing it into a new virtual environment", flush=True)
    commands = install(wheel, folder / "venv")
    print("wheel: edgeproof simulate baseline, in an empty folder", flush=True)
    record = simulate(commands, folder / "empty")
    print(f"wheel: it wrote {record.name} ({record.stat().st_size} bytes)", flush=True)
    for number, example in enumerate(EXAMPLES):
        print(f"wheel: docs/library.md, {example.title}", flush=True)
        check_example(commands, folder / f"example-{number}", example)


def main() -> int:
    """Return 0 if the wheel works, else 1 with the failed step's output on standard error."""
    with tempfile.TemporaryDirectory(prefix="edgeproof-wheel-") as folder:
        try:
            check(Path(folder))
        except StepFailed as fault:
            print(f"wheel: FAILED: {fault}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
