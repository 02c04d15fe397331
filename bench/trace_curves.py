"""Miss ratios of a trace, ours beside libcachesim's: `python -m bench.trace_curves --trace FILE`.

--peer PYTHON is the interpreter of an environment that holds libcachesim; this file runs there by
its path. Both read one oracleGeneral file, which is written from the trace before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

PEER_POLICIES = {"LRU": "LRU", "FIFO": "FIFO", "SIEVE": "Sieve", "S3-FIFO": "S3FIFO", "2Q": "TwoQ"}
HASH_POWERS = (16, 17, 18, 20)
"""Sizes of libcachesim's hash table that are tried; the fastest one is compared with."""


def peer(trace: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Return libcachesim's CPU seconds and miss ratios, with its fastest hash table for LRU."""
    import libcachesim  # type: ignore[import-not-found]

    def run(policy: str, size: int, power: int) -> tuple[float, float]:
        kind = libcachesim.TraceType.ORACLE_GENERAL_TRACE
        reader = libcachesim.TraceReader(trace, kind)
        cache = getattr(libcachesim, PEER_POLICIES[policy])(cache_size=size, hashpower=power)
        begun = process_time()
        missed, _ = cache.process_trace(reader)
        return process_time() - begun, missed

    best = min(HASH_POWERS, key=lambda power: run("LRU", sizes[0], power)[0])
    return {
        "hash_power": best,
        "policies": {policy: run(policy, sizes[0], best) for policy in PEER_POLICIES},
        "lru": [run("LRU", size, best) for size in sizes],
    }


def ours(trace: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Return our CPU seconds and miss ratios: of reading, of policies, and of the exact curve."""
    from sim.curves.distances import distances, hits_by_size
    from sim.curves.policies import POLICIES, simulated
    from sim.curves.reading import read_accesses

    def timed(run: Callable[[], Any]) -> tuple[float, Any]:
        begun = process_time()
        found = run()
        return process_time() - begun, found

    reading, read = timed(lambda: read_accesses(trace, with_times=False, with_sizes=False))
    accesses = read.accesses
    total = accesses.keys.size
    policies = {}
    for policy in POLICIES:
        seconds, found = timed(partial(simulated, accesses, policy, sizes[0]))
        policies[policy] = (seconds, (total - found.hits) / total)
    seconds, hits = timed(lambda: hits_by_size(distances(accesses.keys, accesses.key_count)))
    exact = [float((total - hits[min(size, hits.size - 1)]) / total) for size in sizes]
    return {"reading": reading, "policies": policies, "exact": (seconds, exact), "accesses": total}


def _oracle(source: Path, target: Path) -> int:
    """Write *source* as oracleGeneral, keys that are numbers as they are; return how many."""
    import numpy as np

    from core.scenario.trace import ORACLE, read_trace

    trace = read_trace(source, with_names=True)
    ids = np.array(
        [int(name) if name.isdecimal() else place for place, name in enumerate(trace.key_names)],
        np.uint64,
    )
    records = np.zeros(trace.keys.size, ORACLE)
    records["key"] = ids[trace.keys]
    records["size"] = 1
    target.write_bytes(records.tobytes())
    return trace.key_count


def _seconds(policy: str, mine: Any) -> float:
    seconds: float = mine["policies"][policy][0]
    return seconds


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both in turns and print the ratios of each round: median, least and most."""
    parser = argparse.ArgumentParser(prog="python -m bench.trace_curves", description=__doc__)
    parser.add_argument("--trace", type=Path, required=True, help="a trace that edgeproof reads")
    parser.add_argument("--peer", help="a Python that holds libcachesim")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.oracleGeneral"
        keys = _oracle(chosen.trace, file)
        sizes = [max(1, keys // share) for share in (20, 100, 5)]
        ours(file, sizes)  # compiles, and brings the file into memory
        rounds = []
        for _ in range(chosen.rounds):
            other = None
            if chosen.peer:
                shown = subprocess.run(
                    [chosen.peer, __file__, "peer", str(file), json.dumps(sizes)],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                other = json.loads(shown.stdout.splitlines()[-1])
            rounds.append((ours(file, sizes), other))
    _show(rounds, sizes, keys)
    return 0


def _show(rounds: Sequence[tuple[Any, Any]], sizes: Sequence[int], keys: int) -> None:
    total = rounds[0][0]["accesses"]
    print(f"{total:,} accesses, {keys:,} keys; CPU time, {len(rounds)} rounds in turns")

    def per_access(seconds: Callable[[Any], float]) -> str:
        return f"{1e9 * median(seconds(mine) for mine, _ in rounds) / total:.1f} ns an access"

    print(f"reading                    {per_access(lambda mine: mine['reading'])}")
    for policy in PEER_POLICIES:
        told = per_access(partial(_seconds, policy))
        print(f"{policy:<8} {sizes[0]:>7,} entries    {told}")
    print(f"LRU exact, every size      {per_access(lambda mine: mine['exact'][0])}")
    if rounds[0][1] is None:
        print("libcachesim: not asked for; --peer PYTHON names an environment that holds it")
        return
    print(f"libcachesim, hashpower {rounds[0][1]['hash_power']}, times ours:")
    for policy in PEER_POLICIES:
        alone = [other["policies"][policy][0] / mine["policies"][policy][0]
                 for mine, other in rounds]  # fmt: skip
        whole = [other["policies"][policy][0] / (mine["policies"][policy][0] + mine["reading"])
                 for mine, other in rounds]  # fmt: skip
        mine, other = rounds[0]
        apart = abs(mine["policies"][policy][1] - other["policies"][policy][1])
        print(
            f"{policy:<8} on dense ids {_spread(alone)}, with reading {_spread(whole)}; "
            f"miss ratios {apart:.1e} apart"
        )
    three = [
        sum(seconds for seconds, _ in other["lru"]) / (mine["exact"][0] + mine["reading"])
        for mine, other in rounds
    ]
    apart = max(
        abs(one - two[1])
        for mine, other in rounds
        for one, two in zip(mine["exact"][1], other["lru"], strict=True)
    )
    print(
        f"LRU of three sizes there, every size here, with reading: {_spread(three)}; "
        f"miss ratios {apart:.1e} apart"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        print(json.dumps(peer(sys.argv[2], json.loads(sys.argv[3]))))
    else:
        sys.exit(main())
