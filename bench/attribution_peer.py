"""Times attribution libraries on request; run by bench.attribution in the peers' environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from time import perf_counter, process_time
from typing import Any

if __package__:
    from bench.importing import import_fault
else:  # run by its path, outside of the package
    from importing import import_fault  # type: ignore[import-not-found, no-redef]

Call = Callable[[], dict[str, dict[str, float]]]
NEEDS = {
    "ChannelAttribution": ("numpy", "pandas", "ChannelAttribution"),
    "MAM": ("numpy", "pandas", "mam"),
}
"""The modules behind each peer."""


def faults() -> dict[str, str]:
    """Return the reasons why peers cannot be used here, by their name."""
    found = {}
    for peer, modules in NEEDS.items():
        for module in modules:
            if fault := import_fault(module):
                found[peer] = fault if module == modules[-1] else f"{module} is {fault}"
                break
    return found


def calls(file: str, absent: Mapping[str, str]) -> dict[str, Call]:
    """Return the calls that can be timed here, by name; their input is made beforehand."""
    if len(absent) == len(NEEDS):
        return {}
    import numpy as np
    import pandas as pd

    with np.load(file) as data:
        paths = {name: data[name] for name in data.files}
    names = paths["channels"].tolist()
    bounds, codes = paths["offsets"].tolist(), paths["codes"].tolist()
    steps = [[names[c] for c in codes[a:b]] for a, b in pairwise(bounds)]
    table = pd.DataFrame(
        {
            "path": [" > ".join(step) for step in steps],
            "conversions": paths["conversions"],
            "value": paths["values"],
            "null": paths["nulls"],
        }
    )
    found: dict[str, Call] = {}
    if "ChannelAttribution" not in absent:
        import ChannelAttribution as peer

        def heuristics() -> dict[str, dict[str, float]]:
            rows = peer.heuristic_models(
                table, "path", "conversions", var_value="value", flg_pro=False
            )
            return {
                model: dict(zip(rows["channel_name"], rows[column].tolist(), strict=True))
                for model, column in (
                    ("first_click", "first_touch_conversions"),
                    ("last_click", "last_touch_conversions"),
                    ("linear", "linear_touch_conversions"),
                )
            }

        def markov() -> dict[str, dict[str, float]]:
            rows = peer.markov_model(
                table, "path", "conversions", var_value="value", var_null="null",
                verbose=False, flg_pro=False,
            )  # fmt: skip
            rows = rows["result"] if isinstance(rows, dict) else rows
            pairs = zip(rows["channel_name"], rows["total_conversions"].tolist(), strict=True)
            return {"removal": dict(pairs)}

        found["ChannelAttribution, 3 heuristics"] = heuristics
        found["ChannelAttribution, Markov 1"] = markov
    if "MAM" in absent:
        return found
    from mam import MAM

    other = MAM(
        table.assign(converts=paths["conversions"] > 0, walks=1), format_type="grouped_journey",
        channels_colname="path", journey_with_conv_colname="converts", occurrences_colname="walks",
    )  # fmt: skip

    def amounts(result: Any) -> dict[str, float]:
        rows = result.to_polars()
        return dict(
            zip(rows["channels"].cast(str).to_list(), rows["attribution"].to_list(), strict=True)
        )

    found["MAM, 3 heuristics"] = lambda: {
        "first_click": amounts(other.run_first_click()),
        "last_click": amounts(other.run_last_click()),
        "linear": amounts(other.run_linear()),
    }
    found["MAM, Markov 1"] = lambda: {"data_driven": amounts(other.run_markov())}
    return found


def main(file: str) -> None:
    """Answer each name on standard input with its times and results, as a line of JSON."""
    absent = faults()
    known = calls(file, absent)
    print(json.dumps({"peers": list(known), "absent": absent}), flush=True)
    for line in sys.stdin:
        name = line.strip()
        wall, cpu = perf_counter(), process_time()
        found: Any = known[name]()
        answer = {
            "name": name, "wall": perf_counter() - wall, "cpu": process_time() - cpu,
            "found": found,
        }  # fmt: skip
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
