"""What attribution libraries credit on small inputs: `python -m bench.attribution_facts`.

--peers PYTHON is the interpreter of an environment that holds them; this file runs there by its
path, and prints what each of them credits. Beside it stands what edgeproof credits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

Rows = list[tuple[list[str], float, float]]
"""Paths with their conversions and the walks without one."""

FRACTIONS: Rows = [(["a", "b"], 3.9, 5), (["a"], 3.9, 5), (["b", "c"], 3.9, 5)]
LOOPS: Rows = [(["a", "b"], 30, 20), (["b", "a"], 10, 40), (["a"], 5, 60), (["b"], 20, 30)]
SETS: Rows = [
    (["d", "a"], 9, 41), (["a"], 30, 20), (["b"], 4, 46), (["a", "b"], 12, 38),
    (["c"], 25, 25), (["b", "c"], 20, 30), (["a", "b", "c"], 35, 15),
]  # fmt: skip
WIDE: Rows = [(["a", "b", "c", "d", "e"], 30, 20), *[([name], 5, 45) for name in "abcde"]]
REVERSED = dict(zip("abcde", "edcba", strict=True))
LABELLED: Rows = [(["a", "b"], 10, 10), (["a"], 6, 40), (["b"], 4, 50)]
OURS = "edgeproof"


def channel_attribution() -> dict[str, float]:
    """Return the last-touch conversions of fractional conversions."""
    import ChannelAttribution as peer
    import pandas as pd

    table = pd.DataFrame(
        [(" > ".join(path), conversions, nulls) for path, conversions, nulls in FRACTIONS],
        columns=["path", "conversions", "nulls"],
    )
    rows = peer.heuristic_models(table, "path", "conversions", flg_pro=False)
    return dict(zip(rows["channel_name"], map(float, rows["last_touch"]), strict=True))


def mta() -> dict[str, float]:
    """Return the shares of the analytic Markov model."""
    import pandas as pd
    from mta import MTA, MTAConfig

    table = pd.DataFrame(
        [(" > ".join(path), conversions, nulls) for path, conversions, nulls in LOOPS],
        columns=["path", "total_conversions", "total_null"],
    )
    model = MTA(table, config=MTAConfig(allow_loops=True, add_timepoints=False))
    return {
        name: float(share) for name, share in model.markov(sim=False).attribution["markov"].items()
    }


def mam(rows: Rows, names: dict[str, str] | None = None) -> dict[str, float]:
    """Return the Shapley conversions, by the names before they were changed to *names*."""
    import pandas as pd
    from mam import MAM

    names = names or {step: step for path, _, _ in rows for step in path}
    table = pd.DataFrame(
        [
            (" > ".join(names[step] for step in path), has, count)
            for path, conversions, nulls in rows
            for has, count in ((True, conversions), (False, nulls))
        ],
        columns=["path", "has", "count"],
    )
    model = MAM(
        table, format_type="grouped_journey", channels_colname="path",
        journey_with_conv_colname="has", occurrences_colname="count",
    )  # fmt: skip
    found = model.run_shapley().to_polars()
    pairs = zip(found["channels"].cast(str).to_list(), found["attribution"].to_list(), strict=True)
    credit = {name: float(amount) for name, amount in pairs}
    return {old: credit[new] for old, new in names.items()}


def shapley_attribution(model: str) -> dict[str, float]:
    """Return the conversions that *model* credits, given labels of the journeys that converted."""
    import shapley_attribution as peer

    journeys, labels = [], []
    for path, conversions, nulls in LABELLED:
        for label, count in ((1, conversions), (0, nulls)):
            journeys += [path] * int(count)
            labels += [label] * int(count)
    credit = getattr(peer, model)().fit(journeys, labels).get_attribution()
    return {str(name): float(amount) for name, amount in credit.items()}


CALLS: dict[str, Callable[[], dict[str, float]]] = {
    "ChannelAttribution, last touch of 3 x 3.9 conversions": channel_attribution,
    "mta, analytic Markov shares": mta,
    "Marketing Attribution Models, Shapley": lambda: mam(SETS),
    "Marketing Attribution Models, Shapley, five channels": lambda: mam(WIDE),
    "Marketing Attribution Models, Shapley, the five renamed": lambda: mam(WIDE, REVERSED),
    "shapley-attribution, ordered, 20 of 120 journeys convert": lambda: shapley_attribution(
        "OrderedShapleyAttribution"
    ),
    "shapley-attribution, simplified, 20 of 120 journeys convert": lambda: shapley_attribution(
        "SimplifiedShapleyAttribution"
    ),
}


def answers() -> dict[str, Any]:
    """Return what each peer credits, or why it cannot be used."""
    found: dict[str, Any] = {}
    for name, call in CALLS.items():
        try:
            found[name] = call()
        except Exception as error:  # a peer may fail in any way; that is its answer
            found[name] = f"cannot be run ({type(error).__name__}: {str(error)[:120]})"
    return found


def ours() -> dict[str, dict[str, float]]:
    """Return what edgeproof credits on the same inputs."""
    import numpy as np

    from core.attribution.account import account_of
    from core.attribution.grouping import channel_sets
    from core.attribution.parameters import Parameters
    from core.attribution.paths import Paths
    from core.attribution.shapley import shapley

    def paths_of(rows: Rows, names: dict[str, str] | None = None) -> Paths:
        steps = [[(names or {}).get(step, step) for step in path] for path, _, _ in rows]
        channels = tuple(sorted({step for path in steps for step in path}))
        return Paths(
            channels=channels,
            codes=np.array([channels.index(s) for path in steps for s in path], dtype=np.int32),
            offsets=np.cumsum([0, *map(len, steps)]).astype(np.int64),
            conversions=np.array([row[1] for row in rows], dtype=np.float64),
            nulls=np.array([row[2] for row in rows], dtype=np.float64),
            values=np.zeros(len(rows)),
        )

    last = account_of(paths_of(FRACTIONS), Parameters(), models=["last_click"])
    chain = account_of(paths_of(LOOPS), Parameters(), models=["data_driven"]).fitted
    assert chain is not None

    def shared(rows: Rows, names: dict[str, str] | None = None) -> dict[str, float]:
        values = shapley(channel_sets(paths_of(rows, names)))
        old = {new: name for name, new in (names or {}).items()}
        pairs = zip(values.channels, values.conversions.tolist(), strict=True)
        return {old.get(name, name): amount for name, amount in pairs}

    labelled = shared(LABELLED)
    return dict(
        zip(
            CALLS,
            (
                {row.channel: row.conversions for row in last.rows},
                chain.shared_out(1.0),
                shared(SETS),
                shared(WIDE),
                shared(WIDE, REVERSED),
                labelled,
                labelled,
            ),
            strict=True,
        )
    )


def main(arguments: Sequence[str]) -> int:
    """Print what each peer and edgeproof credit, and their sums."""
    parser = argparse.ArgumentParser(prog="python -m bench.attribution_facts")
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable)
    options = parser.parse_args(arguments)
    try:
        done = subprocess.run(
            [options.peers, __file__, "answers"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise SystemExit(f"--peers {options.peers}: cannot be run ({error.strerror})") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"the peers' process said nothing: {done.stderr.strip()[-200:]}")
    theirs, own = json.loads(lines[-1]), ours()
    for name in CALLS:
        print(f"{name}:")
        for who, found in (("peer", theirs[name]), (OURS, own[name])):
            if isinstance(found, str):
                print(f"  {who:10} {found}")
                continue
            shown = "  ".join(f"{channel} {found[channel]:.3f}" for channel in sorted(found))
            print(f"  {who:10} {shown}  sum {sum(found.values()):.3f}")
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["answers"]:
        print(json.dumps(answers()))
    else:
        sys.exit(main(sys.argv[1:]))
