"""False alarms and finds of gates on speed, in one run: `python -m bench.gates --save FILE`.

A made-up package is compared with itself and with a slowed version (--slowdown, 5 %) by edgeproof,
pytest-benchmark, asv, pyperf and pytest-codspeed, in turns, --rounds times each. The tools are
installed by pip into an environment of their own that is kept in the cache folder; --peers PYTHON
names another one. Nothing is sent anywhere. --save FILE keeps what is done, line by line; with the
same FILE the run goes on where it was left. A round takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from bench.gate_peers import GATES, Failed, Gate, Verdicts, python_of_peers, versions, write

ROUNDS = 20
SLOWDOWN = 0.05
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One comparison by one gate."""

    gate: str
    planted: float
    verdicts: Verdicts
    seconds: float


def bounds(found: int, tried: int) -> tuple[float, float]:
    """Return the one-sided bounds of a share, below and above, after Clopper and Pearson."""
    from scipy.stats import binomtest

    lower = binomtest(found, tried, alternative="greater").proportion_ci(CONFIDENCE)
    upper = binomtest(found, tried, alternative="less").proportion_ci(CONFIDENCE)
    return float(lower.low), float(upper.high)


def measure(
    folder: Path,
    gates: Sequence[Gate],
    python: str,
    done: Sequence[Done],
    *,
    rounds: int,
    slowdown: float,
    keep: Callable[[Done], None],
    clock: Callable[[], float] = monotonic,
) -> None:
    """Let each gate compare *rounds* times both ways, in turns, less what is *done*.

    Raise Failed if one cannot.
    """
    sides = {planted: folder / name for planted, name in ((0.0, "same"), (slowdown, "slowed"))}
    for planted, place in sides.items():
        write(place, planted)
    kept = Counter((one.gate, one.planted) for one in done)
    left = {
        (gate.name, share): rounds - kept[gate.name, share] for gate in gates for share in sides
    }
    for number in range(rounds):
        first = number % len(gates)
        for gate in (*gates[first:], *gates[:first]):
            for planted in sorted(sides, reverse=bool(number % 2)):
                # A resumed run makes only the missing rounds, which are the last ones.
                if left[gate.name, planted] < rounds - number:
                    continue
                started = clock()
                verdicts = gate.compare(sides[planted], python)
                keep(
                    Done(
                        gate=gate.name, planted=planted, verdicts=verdicts,
                        seconds=round(clock() - started, 2),
                    )
                )  # fmt: skip


def table(done: Sequence[Done], gates: Sequence[Gate]) -> Iterator[str]:
    """Yield a Markdown table: for each gate and setting its alarms, finds and time."""
    yield "| gate | setting | false alarms | at most | found | at least | s a comparison |"
    yield "|---|---|---|---|---|---|---|"
    for gate in gates:
        of_gate = [one for one in done if one.gate == gate.name]
        for setting in gate.settings:
            cells = []
            for is_planted, bound in ((False, 1), (True, 0)):
                said = [one.verdicts[setting] for one in of_gate if bool(one.planted) == is_planted]
                if said:
                    cells += [
                        f"{sum(said)} of {len(said)}",
                        f"{bounds(sum(said), len(said))[bound]:.0%}",
                    ]
                else:
                    cells += ["-", "-"]
            seconds = f"{median(one.seconds for one in of_gate):.0f}" if of_gate else "-"
            yield f"| {gate.name} | `{setting}` | {' | '.join(cells)} | {seconds} |"


def read(file: Path, facts: dict[str, Any]) -> list[Done]:
    """Return the records in *file*. Raise ValueError if its tools differ from those in *facts*."""
    if not file.exists():
        return []
    first, *lines = file.read_text(encoding="utf-8").splitlines() or ["{}"]
    try:
        if json.loads(first) != facts:
            raise ValueError("is of another run, with other versions or another slowdown")
        # An interrupt may have cut off the last line.
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        return [Done(**one) for one in whole]
    except (json.JSONDecodeError, TypeError):
        raise ValueError("is no file of this command") from None


def _facts(python: str, slowdown: float) -> dict[str, Any]:
    return {
        "slowdown": slowdown,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "versions": versions(python),
    }


def main(arguments: Sequence[str]) -> int:
    """Print the table of the comparisons; an interrupt keeps the finished ones."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--slowdown", type=float, default=SLOWDOWN, metavar="SHARE")
    parser.add_argument("--gate", action="append", metavar="NAME", help="only these; repeatable")
    parser.add_argument("--peers", metavar="PYTHON")
    parser.add_argument("--save", type=Path, metavar="FILE")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # help, or an error line
        return int(end.code or 0)
    try:
        return _main(options)
    except (Failed, ValueError, OSError) as error:
        print(f"python -m bench.gates: {error}", file=sys.stderr)
        return 2


def _main(options: argparse.Namespace) -> int:
    if options.rounds < 1:
        raise ValueError(f"--rounds {options.rounds}: at least 1 is needed")
    if not 0.001 <= options.slowdown <= 10:
        raise ValueError(f"--slowdown {options.slowdown:g}: is no share from 0.001 to 10")
    chosen = _chosen(options.gate)
    python = options.peers or python_of_peers(_note)
    facts = _facts(python, options.slowdown)
    absent = {gate: [n for n in gate.needs if n not in facts["versions"]] for gate in chosen}
    for gate, names in absent.items():
        if names:
            _note(f"{gate.name}: not measured: {python} has no {', '.join(names)}")
    gates = [gate for gate in chosen if not absent[gate]]
    done: list[Done] = []
    is_interrupted = False
    with ExitStack() as stack:
        file = None
        if options.save is not None:
            try:
                done = read(options.save, facts)
            except ValueError as error:
                raise ValueError(f"--save {options.save}: {error}; name another file") from None
            file = stack.enter_context(options.save.open("w", encoding="utf-8"))
            for kept in (facts, *map(_as_line, done)):
                print(json.dumps(kept), file=file, flush=True)

        def keep(one: Done) -> None:
            done.append(one)
            if file is not None:
                print(json.dumps(_as_line(one)), file=file, flush=True)
            said = ", ".join(name for name, is_slower in one.verdicts.items() if is_slower)
            _note(f"{one.gate}, {100 * one.planted:g} %: {said or 'nothing'}; {one.seconds:.0f} s")

        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeproof-gates-"))
        try:
            measure(
                Path(folder), gates, python, list(done), rounds=options.rounds,
                slowdown=options.slowdown, keep=keep,
            )  # fmt: skip
        except KeyboardInterrupt:
            is_interrupted = True
    for line in table(done, gates):
        print(line)
    told = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    print(
        f"\nUnchanged code, and {100 * options.slowdown:g} % slower; one-sided bounds at "
        f"{CONFIDENCE:.0%}. Python {facts['python']}, {facts['processors']} processors; {told}."
    )
    if is_interrupted:
        print("Interrupted: what was finished by then.")
    return 130 if is_interrupted else 0


def _as_line(one: Done) -> dict[str, Any]:
    return {
        "gate": one.gate, "planted": one.planted, "verdicts": one.verdicts, "seconds": one.seconds,
    }  # fmt: skip


def _chosen(names: Sequence[str] | None) -> list[Gate]:
    known = [gate.name for gate in GATES]
    for name in names or ():
        if name not in known:
            raise ValueError(f"--gate {name}: unknown; there are: {', '.join(known)}")
    return [gate for gate in GATES if not names or gate.name in names]


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
