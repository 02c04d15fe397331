"""How fast the simulation is in several checkouts, in turns: `python -m bench.versions DIR ...`.

DIR may end in @PATH=VALUE, a field of the scenario. The first one is what the others are compared
with: git worktree add ../before REVISION, then python -m bench.versions ../before .

--pairs N measures at least N pairs (30), in blocks of 3 with fresh processes for each block.
--at-least X makes it a gate: the exit code is 0 if the 95 % interval of every ratio lies above X,
1 if one lies below it, 4 if one is still undecided after --most-pairs (120).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.checkouts import started_in
from bench.halves import Speeds
from bench.paired import FEWEST_BLOCKS, Ratio, paired_ratio

PAIRS = 30
MOST_PAIRS = 120
BLOCK = 3
"""Pairs of one set of processes: what a process's memory and hash seed do to it ends with them."""

# Runs on the checkout's own code, so that only what has been there from the start is used.
_CHILD = """
import gc, sys
from time import process_time
from scenarios.catalogue import shipped
from sim.model import Replication
try:
    from core.scenario.file import load_scenario
    from core.scenario.replay import prepare
    from core.scenario.warm_start import warm_state
    from sim.model import SeededDatabase as Database
except ImportError:  # a version whose core has no rooms
    from core.replay import prepare
    from core.scenario_file import load_scenario
    from core.warm_start import warm_state
    from sim.model import Database
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
    """A checkout, and fields of the scenario that override the file's."""

    folder: Path
    overrides: tuple[str, ...] = ()


def rates(
    versions: Sequence[Version], *, rounds: int, scenario: str = "baseline", turned: bool = False
) -> list[list[float]]:
    """Return simulated requests/s of CPU time of each version, one entry for each round.

    Every version has a process of its own. They take turns, after a warm-up round, and every other
    round in the reverse order. *turned* starts with the reverse order. Raise ValueError
    for less than one round or a version that does not run.
    """
    if rounds < 1:
        raise ValueError(f"{rounds} rounds; at least 1 is needed")
    found: list[list[float]] = [[] for _ in versions]
    with ExitStack() as stack:
        children = [stack.enter_context(_child(version, scenario)) for version in versions]
        order = [*zip(versions, children, found, strict=True)]
        for number in range(rounds + 1):
            is_turned = turned ^ bool(number % 2)
            for version, child, of_version in order[::-1] if is_turned else order:
                rate = _ask(version, child)
                if number:
                    of_version.append(rate)
    return found


@contextmanager
def _child(version: Version, scenario: str) -> Iterator[subprocess.Popen[str]]:
    folder = version.folder.resolve()
    if not (folder / "sim").is_dir():
        raise ValueError(f"{version.folder}: no checkout of edgeproof; it has no folder sim")
    child = started_in(folder, _CHILD, scenario, *version.overrides)
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


def compared(
    versions: Sequence[Version],
    *,
    pairs: int = PAIRS,
    most: int = MOST_PAIRS,
    at_least: float | None = None,
    measure: Callable[..., list[list[float]]] = rates,
    on_block: Callable[[int, Sequence[Ratio]], None] | None = None,
) -> tuple[list[float], list[Ratio]]:
    """Return each version's median rate, and the ratio of each but the first to the first.

    Blocks of BLOCK pairs are measured until there are *pairs*; with *at_least* further ones until
    no ratio's interval contains it, or there are *most* pairs. on_block: called with the pairs so
    far and their ratios.
    """
    all_rates: list[list[float]] = [[] for _ in versions]
    blocks: list[list[list[float]]] = [[] for _ in versions[1:]]
    ratios: list[Ratio] = []
    done, fewest = 0, FEWEST_BLOCKS * BLOCK
    while (
        done < max(pairs, fewest)
        or (at_least is not None and done < most and not _decided(ratios, at_least))
    ):  # fmt: skip
        found = measure(versions, rounds=BLOCK, turned=bool(done // BLOCK % 2))
        done += BLOCK
        for kept, of_version in zip(all_rates, found, strict=True):
            kept += of_version
        for of_ratio, of_version in zip(blocks, found[1:], strict=True):
            of_ratio.append([a / b for a, b in zip(of_version, found[0], strict=True)])
        if done >= fewest:
            ratios = [paired_ratio(of_ratio) for of_ratio in blocks]
        if on_block is not None:
            on_block(done, ratios)
    return [median(of_version) for of_version in all_rates], ratios


def _decided(ratios: Sequence[Ratio], at_least: float) -> bool:
    return all(ratio.low > at_least or ratio.high < at_least for ratio in ratios)


def gate(ratios: Sequence[Ratio], at_least: float) -> int:
    """Return 0 if every interval lies above *at_least*, 1 if one lies below it, else 4."""
    if any(ratio.high < at_least for ratio in ratios):
        return 1
    return 0 if all(ratio.low > at_least for ratio in ratios) else 4


def main(arguments: Sequence[str]) -> int:
    """Print the median rate of each version and its ratio to the first one; return the gate's."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.versions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", metavar="DIR[@PATH=VALUE]")
    parser.add_argument("--pairs", type=int, default=PAIRS, metavar="N")
    parser.add_argument("--most-pairs", type=int, default=MOST_PAIRS, metavar="N")
    parser.add_argument("--at-least", type=float, metavar="X")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # help, or an error line
        return int(end.code or 0)

    machine = Speeds()
    machine.sample()

    def report(done: int, ratios: Sequence[Ratio]) -> None:
        machine.sample()
        print(f"{done} pairs: {', '.join(map(str, ratios)) or '...'}", file=sys.stderr)

    try:
        medians, ratios = compared(
            [version_of(text) for text in options.folders],
            pairs=options.pairs,
            most=options.most_pairs,
            at_least=options.at_least,
            on_block=report,
        )
    except ValueError as error:
        print(f"python -m bench.versions: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("python -m bench.versions: interrupted", file=sys.stderr)
        return 130
    if note := machine.line("rates may differ for that alone; ratios are of pairs in turns"):
        print(note)
    print(f"{options.folders[0]}: {medians[0]:,.0f} requests/s")
    for text, rate, ratio in zip(options.folders[1:], medians[1:], ratios, strict=True):
        print(f"{text}: {rate:,.0f} requests/s, {ratio} times the first, {ratio.pairs} pairs")
    print("baseline, one replication, CPU time; median ratio of pairs in turns, 95 % interval")
    if options.at_least is None or not ratios:
        return 0
    code = gate(ratios, options.at_least)
    word = {0: "above", 1: "below", 4: "undecided, on both sides of"}[code]
    print(f"{word} {options.at_least:g}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
