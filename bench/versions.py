"""How fast the simulation is in several checkouts, in turns: `python -m bench.versions DIR ...`.

DIR may end in @PATH=VALUE, a field of the scenario. The first one is what the others are compared
with: git worktree add ../before REVISION, then python -m bench.versions ../before .
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROUNDS = 15

# Runs on the checkout's own code, so that only what has been there from the start is used.
_CHILD = """
import gc, sys
from time import process_time
from core.replay import prepare
from core.scenario_file import load_scenario
from core.warm_start import warm_state
from scenarios.catalogue import shipped
from sim.model import Database, Replication
scenario = load_scenario(shipped()[sys.argv[1]], overrides=sys.argv[2:])
prepared = prepare(scenario)
state, seeded = warm_state(scenario, prepared), Database(scenario, prepared)
for _ in sys.stdin:
    replication = Replication(scenario, prepared, state, seeded)
    gc.collect()
    started = process_time()
    replication.run()
    seconds = process_time() - started
    replication.loop.close()
    print(len(prepared.workload) / seconds, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Version:
    """A checkout, and fields of the scenario that it runs with in place of the file's."""

    folder: Path
    overrides: tuple[str, ...] = ()


def rates(
    versions: Sequence[Version], *, rounds: int = ROUNDS, scenario: str = "baseline"
) -> list[list[float]]:
    """Return simulated requests/s of CPU time of each version, one entry for each round.

    Every version has a process of its own; they take turns, after a round that does not count.
    Raise ValueError for less than one round or a version that does not run.
    """
    if rounds < 1:
        raise ValueError(f"{rounds} rounds; at least 1 is needed")
    found: list[list[float]] = [[] for _ in versions]
    with ExitStack() as stack:
        children = [stack.enter_context(_child(version, scenario)) for version in versions]
        for number in range(rounds + 1):
            for version, child, of_version in zip(versions, children, found, strict=True):
                rate = _ask(version, child)
                if number:
                    of_version.append(rate)
    return found


@contextmanager
def _child(version: Version, scenario: str) -> Iterator[subprocess.Popen[str]]:
    folder = version.folder.resolve()
    if not (folder / "sim").is_dir():
        raise ValueError(f"{version.folder}: no checkout of edgeproof; it has no folder sim")
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD, scenario, *version.overrides],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def _ask(version: Version, child: subprocess.Popen[str]) -> float:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write("\n")
        child.stdin.flush()
        answer = child.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        raise ValueError(f"{version.folder}: its simulation does not run; see above")
    return float(answer)


def version_of(text: str) -> Version:
    """Return the version that an argument names: DIR, DIR@PATH=VALUE or more of these."""
    folder, *overrides = text.split("@")
    return Version(Path(folder), tuple(overrides))


def main(arguments: Sequence[str]) -> int:
    """Print the median rate of each version, and its ratio to the first one."""
    if {"-h", "--help"} & {*arguments}:
        print(__doc__)
        return 0
    if not arguments:
        print("python -m bench.versions DIR[@PATH=VALUE] ...: give a checkout", file=sys.stderr)
        return 2
    try:
        found = rates([version_of(text) for text in arguments])
    except ValueError as error:
        print(f"python -m bench.versions: {error}", file=sys.stderr)
        return 2
    for text, of_version in zip(arguments, found, strict=True):
        ratio = median(a / b for a, b in zip(of_version, found[0], strict=True))
        print(f"{text}: {median(of_version):,.0f} requests/s, {ratio:.3f} times the first")
    print(f"baseline, one replication, medians of {ROUNDS} rounds in turns, CPU time")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
