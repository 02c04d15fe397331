"""How the isolates share a cache: who answers the reads, for several numbers of isolates."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.metrics.kpi import parse_metric
from core.metrics.record import RunRecord
from core.scenario.calibration import Calibration
from core.scenario.file import parse_scenario, scenario_data
from core.scenario.scenario import Scenario
from edgeproof.finish import show_table
from edgeproof.progress import Display
from edgeproof.runs import write_json
from sim.simulate import simulate

REQUEST = "request"
_RATIOS = {"L1": "ratio(l1)", "L2": "ratio(l2)", "origin": "ratio(miss)"}
_MOST = 1_024
_REPLICATIONS = 4


def splits_of(scenario: Scenario, text: str) -> list[tuple[str, Scenario]]:
    """Return the scenario with each number of isolates in *text* ("1,4,16,request").

    Raise InputError for what is no number of isolates.
    """
    found = []
    for part in (piece.strip() for piece in text.split(",")):
        data = scenario_data(scenario)
        if part == REQUEST:
            data["tiers"]["l1"]["scope"] = REQUEST
        elif part.isdecimal() and 1 <= int(part) <= _MOST:
            data["tiers"]["l1"]["scope"] = "isolate"
            data["topology"]["isolates"] = int(part)
        else:
            raise InputError(
                f"--isolates has {part!r}; give numbers from 1 to {_MOST}, and request for an L1 "
                "that dies with its request, such as 1,4,16,request"
            )
        found.append((part, parse_scenario(data, source=scenario.name)))
    return found


def show_splits(
    splits: list[tuple[str, Scenario]],
    folder: Path,
    *,
    calibration: Calibration | None,
    jobs: int,
    plain: bool,
    as_json: bool,
) -> int:
    """Simulate every one of *splits*, and print who answered the reads; return the exit code."""
    display = Display(plain=plain, quiet=as_json)
    rows: list[tuple[str, ...]] = [("isolates", *_RATIOS)]
    data = []
    with display.open():
        for number, (name, scenario) in enumerate(splits):
            display.update("simulating", number / len(splits), f"isolates: {name}")
            record = simulate(
                scenario, calibration=calibration, replications=_REPLICATIONS, jobs=jobs
            ).record
            shares = dict(_shares(record))
            rows.append((name, *(_text(shares.get(tier)) for tier in _RATIOS)))
            data.append({"isolates": name, **shares})
        display.update("simulating", 1.0)
    write_json(folder / "isolates.json", {"rows": data})
    if as_json:
        print(json.dumps({"out": str(folder), "isolates": data}))
    else:
        show_table(rows, plain=plain)
        print(
            f"Share of all cache reads: mean of {_REPLICATIONS + 1} replications, and the 95 % "
            "confidence interval of the mean. request: an L1 that dies with its request."
        )
    sys.stdout.flush()
    return 0


def _shares(record: RunRecord) -> Iterator[tuple[str, dict[str, Any]]]:
    for tier, ratio in _RATIOS.items():
        found = record.estimate(parse_metric(ratio))
        if found is not None:
            ends = None if found.interval is None else list(found.interval)
            yield tier, {"share": found.value, "interval": ends}


def _text(share: dict[str, Any] | None) -> str:
    if share is None:
        return "-"
    text = f"{100 * share['share']:.1f} %"
    if share["interval"] is None:
        return text
    low, high = share["interval"]
    return f"{text} ({100 * low:.1f}–{100 * high:.1f})"
