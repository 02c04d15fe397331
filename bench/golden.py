"""The exact gate: simulated KPIs and counters against golden files, any difference fails."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.scenario_file import load_scenario
from core.texts import read_json
from scenarios.catalogue import shipped
from sim.replications import summary
from sim.simulate import simulate

GOLDEN = Path(__file__).with_name("golden")
SCENARIOS = ("baseline", "cold-start", "flash-crowd", "kv-outage", "slow-database")
_HISTORY = 50

OnScenario = Callable[[str], None]


def figures(name: str) -> dict[str, Any]:
    """Return every exact figure of the shipped scenario *name*."""
    record = simulate(load_scenario(shipped()[name]), replications=0).record
    return {
        "scenario_hash": record.scenario_hash,
        "workload_hash": record.workload_hash,
        "requests": record.planned,
        **{
            f"metric {metric}": "Infinity" if math.isinf(value) else value
            for metric, value in summary(record).items()
        },
        **{f"counter {counter}": value for counter, value in record.counters.items()},
        **{
            f"reads {read} {outcome}": count
            for read, outcomes in record.reads.items()
            for outcome, count in outcomes.items()
        },
    }


def check(*, folder: Path = GOLDEN, on_scenario: OnScenario | None = None) -> list[str]:
    """Return a line for each figure that differs from its golden file; empty if none does."""
    differences = []
    for name in SCENARIOS:
        if on_scenario is not None:
            on_scenario(name)
        differences += [
            f"{name}: {line}" for line in _differences(_golden(folder, name), figures(name))
        ]
    return differences


def accept(reason: str, *, folder: Path = GOLDEN, on_scenario: OnScenario | None = None) -> int:
    """Write the golden files anew with *reason*; return how many figures changed.

    Raise InputError if the reason is empty.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise InputError("--reason is empty; say why the figures changed")
    folder.mkdir(exist_ok=True)
    changed = 0
    for name in SCENARIOS:
        if on_scenario is not None:
            on_scenario(name)
        found = figures(name)
        path = folder / f"{name}.json"
        golden = _golden(folder, name) if path.is_file() else {}
        differences = _differences(golden, found)
        changed += len(differences)
        if not differences:
            continue
        history = _history(path)
        history.append({"reason": reason, "figures": len(differences)})
        data = {"figures": found, "accepted": history[-_HISTORY:]}
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return changed


def _history(path: Path) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = _part(path, "accepted", list) if path.is_file() else []
    return history


def _golden(folder: Path, name: str) -> dict[str, Any]:
    golden: dict[str, Any] = _part(folder / f"{name}.json", "figures", dict)
    return golden


def _part(path: Path, name: str, kind: type) -> Any:
    try:
        part = read_json(path, "a golden file")[name]
        if not isinstance(part, kind):
            raise TypeError(f"{name} is a {type(part).__name__}")
    except FileNotFoundError:
        raise InputError(
            f"{path}: no golden file; make it with edgeproof bench accept --reason TEXT"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a golden file ({error}); restore it from git") from None
    return part


def _differences(golden: dict[str, Any], found: dict[str, Any]) -> list[str]:
    lines = []
    for name in sorted(golden.keys() | found.keys()):
        before, after = golden.get(name), found.get(name)
        if before != after:
            lines.append(f"{name} was {before}, is {after}")
    return lines
