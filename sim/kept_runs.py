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

    resumed: how many runs the file held at first.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._runs: dict[tuple[float, int], Found] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    data = json.loads(line)
                    self._runs[data["rate"], data["replication"]] = _found(data)
                except (ValueError, KeyError, TypeError):
                    continue  # the last line of a run that was killed
        self.resumed = len(self._runs)

    def of(self, rate: float, numbers: Sequence[int]) -> dict[int, Found]:
        """Return what is known of the replications *numbers* at *rate*, by their number."""
        return {n: self._runs[rate, n] for n in numbers if (rate, n) in self._runs}

    def keep(self, rate: float, found: Mapping[int, Found]) -> None:
        """Keep what replications found at *rate*."""
        self._runs |= {(rate, number): run for number, run in found.items()}
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            for number, run in found.items():
                file.write(json.dumps({"rate": rate, "replication": number, **_data(run)}) + "\n")

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
