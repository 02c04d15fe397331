"""How well the Worker on workerd is predicted: `python -m bench.workerd [ISOLATES...]`.

Proves the scenario baseline by `edgeproof prove --on workerd` for each number of isolates, and
prints a table of its errors, with the load of the machine. A run that is invalid has no table. The
runtime's clock steps by 1 ms: what takes less than 5 ms is taken from the client's side, as the
difference between answers with and without it. Of fewer than 5,000 samples an error counts as
within its goal where its 99 % interval reaches into the goal.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from bench.learning import errors_of
from core.endpoints import CDP
from core.errors import InputError
from core.metrics.kpi import parse_metric
from core.metrics.record import RunRecord, read_record
from core.wire import L1_HIT, L2_HIT

ISOLATES = (1, 4)
HIT_RATIO, MEDIAN, TAIL = 0.005, 0.05, 0.10
"""The goals: half a point, and relative errors of p50 and p95."""

_INVALID = 3
_EXPECTED_CODES = (0, 1, _INVALID)
_FEWEST = 100


def prove(isolates: int, proof: Path) -> None:
    """Prove baseline with *isolates* into the folder *proof*."""
    command = ["prove", "baseline", "--on", "workerd", "--set", f"topology.isolates={isolates}"]
    done = subprocess.run(
        [sys.executable, "-m", "edgeproof", *command, "--plain", "--out", str(proof)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in _EXPECTED_CODES:
        last = done.stderr.strip().rpartition("\n")[2]
        raise InputError(f"prove with {isolates} isolates: exit code {done.returncode}: {last}")


def lines(proof: Path) -> Iterator[str]:
    """Yield the rows of the table of a proof, in Markdown."""
    predicted, measured = (
        read_record(proof / s / "record.json") for s in ("predicted", "measured")
    )
    p, m = (_value(record, "hit_ratio") for record in (predicted, measured))
    yield _row("hit ratio", f"{p:.2%}", f"{m:.2%}", f"{100 * (p - m):+.2f} points", "0.5 points",
               holds=abs(p - m) <= HIT_RATIO)  # fmt: skip
    for error in errors_of(proof, (MEDIAN, TAIL), outside=False):
        low, high = error.interval
        yield _row(
            f"p{100 * error.quantile:.0f} {error.endpoint}",
            f"{1e3 * error.predicted:.2f} ms",
            f"{1e3 * error.measured:.2f} ms",
            f"{error.relative:+.1%} ({low:+.1%} to {high:+.1%})",
            f"{error.goal:.0%}",
            holds=error.holds,
        )
    for name, goal in (("p50(query)", MEDIAN), ("p95(query)", TAIL)):
        p, m = (_value(record, name) for record in (predicted, measured))
        yield _timed_row(name.replace("(", " ").rstrip(")"), p, m, goal)
    p, m = (kv_seconds(proof / side / "requests.npz") for side in ("predicted", "measured"))
    if not (np.isnan(p) or np.isnan(m)):
        yield _timed_row("p50 of a KV read, seen by the client", p, m, MEDIAN)


def kv_seconds(requests: Path) -> float:
    """Return how much longer the median answer from KV takes than one from L1; NaN unless seen.

    Of the endpoints with one read; the mean over those that have enough of both.
    """
    found = np.load(requests)
    longer = []
    for code, endpoint in enumerate(CDP):
        mine = (found["endpoint"] == code) & np.isfinite(found["latency"])
        first = found["reads"][:, 0]
        l1, l2 = (found["latency"][mine & (first == hit)] for hit in (L1_HIT, L2_HIT))
        if len(endpoint.reads) == 1 and not endpoint.writes and min(l1.size, l2.size) >= _FEWEST:
            longer.append(float(np.median(l2) - np.median(l1)))
    return float(np.mean(longer)) if longer else float("nan")


def _value(record: RunRecord, name: str) -> float:
    found = record.metric(parse_metric(name))
    return float("nan") if found is None else found


def _timed_row(name: str, predicted: float, measured: float, goal: float) -> str:
    error = predicted / measured - 1
    return _row(name, f"{1e3 * predicted:.2f} ms", f"{1e3 * measured:.2f} ms", f"{error:+.1%}",
                f"{goal:.0%}", holds=abs(error) <= goal)  # fmt: skip


def _row(name: str, predicted: str, measured: str, error: str, goal: str, *, holds: bool) -> str:
    word = "holds" if holds else "missed"
    return f"| {name} | {predicted} | {measured} | {error} | {goal} | {word} |"


def main(arguments: Sequence[str]) -> int:
    """Print how far off the predictions were; 1 if a goal was missed, 3 if a run was invalid."""
    parser = argparse.ArgumentParser(prog="python -m bench.workerd", description=__doc__)
    parser.add_argument("isolates", nargs="*", type=int, metavar="ISOLATES", default=ISOLATES)
    parser.add_argument("--out", type=Path, help="keep the proofs in this folder")
    parser.add_argument("--read", action="store_true", help="print those in --out again")
    options = parser.parse_args(arguments)
    folder = options.out or Path(mkdtemp(prefix="workerd-"))
    is_missed = is_invalid = False
    try:
        for isolates in options.isolates:
            proof = folder / f"{isolates}-isolates"
            if not options.read:
                prove(isolates, proof)
            audit = read_record(proof / "measured" / "record.json").audit
            print(f"{isolates} isolates, load average {os.getloadavg()[0]:.1f}")
            if audit is not None and audit.invalid:
                # A busy machine's times are no figures: hit ratios move with them, too.
                print(f"INVALID: {audit.invalid[0]}; run it on a machine that does nothing else")
                is_invalid = True
                continue
            print("\n| | predicted | measured | error | goal | |\n|---|---:|---:|---:|---:|---|")
            for line in lines(proof):
                is_missed |= line.endswith("missed |")
                print(line, flush=True)
            print()
    except InputError as error:
        print(f"bench.workerd: {error}", file=sys.stderr)
        return 2
    print(f"The proofs are in {folder}")
    return _INVALID if is_invalid else int(is_missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
