"""The runs of a plan in a file, so that a plan that was interrupted goes on where it ended."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sim.growth import ServerLoad
from sim.replications import Found


class KeptRuns:
    """What replications found by rate; in the file at *path*, a line a run, if there is one.

    A change of the scenario has runs of its own, under its name; "" is the scenario as it is.
    resumed: how many runs the file held at first.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._runs: dict[tuple[str, float, int], Found] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    data = json.loads(line)
                    key = (data.get("change", ""), data["rate"], data["replication"])
                    self._runs[key] = _found(data)
                except (ValueError, KeyError, TypeError):
                    continue  # the last line of a run that was killed
        self.resumed = len(self._runs)

    def of(self, rate: float, numbers: Sequence[int], change: str = "") -> dict[int, Found]:
        """Return what is known of the replications *numbers* at *rate*, by their number."""
        known = {number: self._runs.get((change, rate, number)) for number in numbers}
        return {number: found for number, found in known.items() if found is not None}

    def all_of(self, change: str) -> dict[float, dict[int, Found]]:
        """Return what is known of a change: by rate, the replications by their number."""
        table: dict[float, dict[int, Found]] = {}
        for (name, rate, number), found in self._runs.items():
            if name == change:
                table.setdefault(rate, {})[number] = found
        return table

    def keep(self, rate: float, found: Mapping[int, Found], change: str = "") -> None:
        """Keep what replications found at *rate*."""
        self._runs |= {(change, rate, number): run for number, run in found.items()}
        if self._path is None:
            return
        named = {"change": change} if change else {}
        self._path.parent.mkdir(parents=True, exist_ok=True)  # a cache is emptied at any time
        with self._path.open("a", encoding="utf-8") as file:
            for number, run in found.items():
                line = {**named, "rate": rate, "replication": number, **_data(run)}
                file.write(json.dumps(line) + "\n")

    def forget(self) -> None:
        """Remove the file: the plan is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _data(run: Found) -> dict[str, Any]:
    return {
        "metrics": {n: "Infinity" if math.isinf(v) else v for n, v in run.metrics.items()},
        "loads": {n: [load.utilisation, load.growth] for n, load in run.loads.items()},
        "saturated": list(run.saturated),
    }


def _found(data: Mapping[str, Any]) -> Found:
    return Found(
        metrics={name: float(value) for name, value in data["metrics"].items()},
        loads={
            name: ServerLoad(utilisation=utilisation, growth=growth)
            for name, (utilisation, growth) in data["loads"].items()
        },
        saturated=tuple(data["saturated"]),
    )
