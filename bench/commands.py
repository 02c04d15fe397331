"""The CPU time of whole commands of two checkouts, in turns: `python -m bench.commands OLD NEW`.

Each command is a process tree of its own, run by the checkout's own .venv: user and system time of
all its processes. The cache of compiled code is kept between them; the runs of interrupted plans
are removed before each. Every other round has the reverse order, and the first one is not counted:
it compiles. So `plan`, for which the compiled engine is worth compiling, comes first.

`python -m bench.commands OLD NEW [--rounds N] [--command TEXT ...]` (3 rounds; plan baseline,
simulate baseline).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROUNDS = 3
COMMANDS = ("plan baseline", "simulate baseline")


def cpu_seconds(folder: Path, command: Sequence[str], cache: Path) -> float:
    """Return the CPU seconds of `edgeproof` of the checkout at *folder*, and of its children.

    Raise ValueError if it does not run; a KPI that it misses is no failure.
    """
    shutil.rmtree(cache / "edgeproof" / "plans", ignore_errors=True)
    program = folder.resolve() / ".venv" / "bin" / "edgeproof"
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment.pop("PYTHONPATH", None)
    # Container images set it: every command would compile the changed modules of a checkout.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [program, *command, "--out", f"{place}/run"],
                cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=said,
            )  # fmt: skip
        except OSError as error:
            raise ValueError(f"{program}: {error.strerror}; make the checkout's .venv") from None
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if code not in (0, 1):
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines() or ["it said nothing"]
            raise ValueError(f"{folder}: {' '.join(command)} ended with {code}: {lines[-1]}")
    return usage.ru_utime + usage.ru_stime


def in_turns(
    folders: Sequence[Path], command: Sequence[str], rounds: int, cache: Path
) -> list[list[float]]:
    """Return the CPU seconds of *command* in each of *folders*, one entry for each round."""
    found: list[list[float]] = [[] for _ in folders]
    for number in range(rounds + 1):
        turn = [*zip(folders, found, strict=True)]
        for folder, of_folder in turn[::-1] if number % 2 else turn:
            seconds = cpu_seconds(folder, command, cache)
            if number:
                of_folder.append(seconds)
    return found


def main(arguments: Sequence[str]) -> int:
    """Print the median CPU seconds of each command in both checkouts, and their ratio."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.commands",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs=2, type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--command", action="append", metavar="TEXT", dest="commands")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # help, or an error line
        return int(end.code or 0)
    if options.rounds < 1:
        print(
            f"python -m bench.commands: {options.rounds} rounds; give at least 1", file=sys.stderr
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="edgeproof-commands-") as cache:
        for command in options.commands or COMMANDS:
            try:
                old, new = in_turns(options.folders, command.split(), options.rounds, Path(cache))
            except ValueError as error:
                print(f"python -m bench.commands: {error}", file=sys.stderr)
                return 2
            ratios = [b / a for a, b in zip(old, new, strict=True)]
            print(
                f"edgeproof {command}: {median(old):.2f} s and {median(new):.2f} s of CPU time; "
                f"ratios {', '.join(f'{ratio:.3f}' for ratio in ratios)}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
