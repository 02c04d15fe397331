"""What imports and commands cost at their start, as ratios in one run: `python -m bench.startup`.

User and system CPU of fresh processes that take turns, each over its yardstick of the same round:
median ratio with its 95 % interval. The byte code of all modules is written before the first
round. `python -m bench.startup [ROUNDS]` (24; at least 8). The exit code is 1 if an interval lies
above its bound as a whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.paired import FEWEST_BLOCKS, Ratio, paired_ratio

ROUNDS = 24

_HERE = Path(__file__).resolve().parent.parent
# The smallest typer program: completion and rich help would make it slower.
_TYPER = """
import typer
app = typer.Typer(add_completion=False, rich_markup_mode=None)
@app.command()
def greet(name: str = "you") -> None:
    "Greet NAME."
app()
"""
_LIBRARIES = ("-c", "import asyncio, json, dataclasses")
_PROGRAM = ("-c", _TYPER, "--help")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start, the yardstick that it is measured by (arguments of python), and its bound."""

    name: str
    arguments: tuple[str, ...]
    yardstick: tuple[str, ...]
    beside: str
    at_most: float


STARTS = (
    Start(
        name="from core.caching import TieredCache",
        arguments=("-c", "from core.caching import TieredCache"),
        yardstick=_LIBRARIES, beside="import asyncio, json, dataclasses", at_most=1.4,
    ),
    Start(
        name="edgeproof --help", arguments=("-m", "edgeproof", "--help"),
        yardstick=_PROGRAM, beside="--help of a typer program with one command", at_most=1.5,
    ),
    Start(
        name="edgeproof --version", arguments=("-m", "edgeproof", "--version"),
        yardstick=_PROGRAM, beside="--help of a typer program with one command", at_most=1.5,
    ),
    Start(
        name="edgeproof bench --help", arguments=("-m", "edgeproof", "bench", "--help"),
        yardstick=_PROGRAM, beside="--help of a typer program with one command", at_most=1.5,
    ),
)  # fmt: skip


def start_ratios(starts: Sequence[Start] = STARTS, rounds: int = ROUNDS) -> list[Ratio]:
    """Return the ratio of each of *starts* to its yardstick.

    Raise ValueError for too few rounds, and if a process fails.
    """
    if rounds < FEWEST_BLOCKS:
        raise ValueError(f"{rounds} rounds; at least {FEWEST_BLOCKS} are needed")
    commands = list(
        dict.fromkeys(c for start in starts for c in (start.yardstick, start.arguments))
    )
    with tempfile.TemporaryDirectory(prefix="edgeproof-startup-") as folder:
        environment = {**os.environ, "PYTHONPATH": str(_HERE), "PYTHONPYCACHEPREFIX": folder}
        for name in ("PYTHONDONTWRITEBYTECODE", "_EDGEPROOF_COMPLETE"):
            environment.pop(name, None)
        for command in commands:
            _cpu_seconds(command, environment)
        found = []
        for number in range(rounds):
            turn = commands if number % 2 else commands[::-1]
            found.append({command: _cpu_seconds(command, environment) for command in turn})
    return [
        paired_ratio([[taken[start.arguments] / taken[start.yardstick]] for taken in found])
        for start in starts
    ]


def _cpu_seconds(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines() or ["it said nothing"]
            raise ValueError(f"a process ended with {process.returncode}: {lines[-1]}")
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str]) -> int:
    """Print each start's ratio and bound; 1 if one lies above its bound."""
    if {"-h", "--help"} & {*arguments}:
        print(__doc__)
        return 0
    try:
        rounds = int(arguments[0]) if arguments else ROUNDS
        ratios = start_ratios(rounds=rounds)
    except ValueError as error:
        print(f"python -m bench.startup [ROUNDS]: {error}", file=sys.stderr)
        return 2
    code = 0
    for start, ratio in zip(STARTS, ratios, strict=True):
        word = "undecided"
        if ratio.high <= start.at_most:
            word = "kept"
        elif ratio.low > start.at_most:
            word, code = "MISSED", 1
        print(f"{start.name}: {ratio} times {start.beside}; at most {start.at_most}: {word}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
