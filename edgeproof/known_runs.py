"""Where the runs of plans, sweeps and sizes are kept, so that none is simulated twice."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from core.scenario.calibration import Calibration
from sim.engine_name import EngineName
from sim.kept_runs import KeptRuns
from sim.program import program

VARIABLE = "EDGEPROOF_RUNS"
MOST_FILES = 3_000
"""A file holds the replications of one scenario; the oldest are removed."""


def known_runs(
    calibration: Calibration | None, engine: EngineName, *, is_fresh: bool = False
) -> KeptRuns:
    """Return the runs that earlier commands of this program found with *calibration*.

    They are keyed by scenario, trace and replication. Runs that one engine was asked for are not
    taken for those of another. is_fresh: take none, and keep those that are made. Where no folder
    can be written, none are kept, nor where the environment's EDGEPROOF_RUNS is empty; else it is
    the folder.
    """
    given = os.environ.get(VARIABLE)
    if given == "":
        return KeptRuns()
    runs = cache_folder() / "runs" if given is None else Path(given)
    folder = runs / program()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return KeptRuns()
    if not os.access(folder, os.W_OK):
        return KeptRuns()
    _remove_oldest(runs)
    return KeptRuns(folder, about=f"{program()} {calibration!r} {engine}", is_fresh=is_fresh)


def cache_folder() -> Path:
    """Return the folder of what edgeproof keeps for later commands of this user."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "edgeproof"


def _remove_oldest(runs: Path) -> None:
    aged = []
    for path in runs.glob("*/*.jsonl"):
        with suppress(OSError):  # another command may have removed it
            aged.append((path.stat().st_mtime, path))
    for _, path in sorted(aged)[:-MOST_FILES]:
        with suppress(OSError):
            path.unlink()
    for folder in runs.iterdir():
        if folder.name != program()[:16]:
            with suppress(OSError):  # it holds runs of another version
                folder.rmdir()
