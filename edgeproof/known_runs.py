"""Where the runs of plans, sweeps and sizes are kept, so that none is simulated twice."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from core.scenario.calibration import Calibration
from core.scenario.scenario import Scenario
from edgeproof.notices import notice
from sim.engine_name import EngineName
from sim.kept_runs import KeptRuns
from sim.program import program

VARIABLE = "EDGEPROOF_RUNS"
MOST_FILES = 3_000
"""A file holds the replications of one scenario; the oldest are removed."""
_FOLDER = re.compile(r"[0-9a-f]{16}")
_FILE = re.compile(r"[0-9a-f]{32}\.jsonl")


def known_runs(
    calibration: Calibration | None, engine: EngineName, *, is_fresh: bool = False
) -> KeptRuns:
    """Return the runs that earlier commands of this program found with *calibration*.

    They are keyed by scenario, trace and replication. Runs that one engine was asked for are not
    taken for those of another. is_fresh: take none, and keep those that are made. Where no folder
    can be written, none are kept, nor where the environment's EDGEPROOF_RUNS is empty; else it is
    the folder, and one that cannot be used is named.
    """
    given = os.environ.get(VARIABLE)
    if given == "":
        return KeptRuns()
    runs = cache_folder() / "runs" if given is None else Path(given)
    folder = runs / program()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _unkept(given, str(error.strerror))
    if not os.access(folder, os.W_OK):
        return _unkept(given, "not writable")
    _remove_oldest(runs)
    return KeptRuns(folder, about=f"{program()} {calibration!r} {engine}", is_fresh=is_fresh)


def tell_interrupted(kept: KeptRuns, scenarios: Sequence[Scenario]) -> None:
    """Say whether the same command goes on with the runs of *scenarios* that were made."""
    if all(map(kept.keeps, scenarios)):
        notice("the runs are kept: the same command goes on from there")
    else:
        notice("the runs are not kept: the same command begins anew")


def _unkept(given: str | None, reason: str) -> KeptRuns:
    if given is not None:
        notice(f"{VARIABLE}={given}: no runs are kept there ({reason}); give another folder")
    return KeptRuns()


def cache_folder() -> Path:
    """Return the folder of what edgeproof keeps for later commands of this user."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "edgeproof"


def _remove_oldest(runs: Path) -> None:
    aged = []
    # EDGEPROOF_RUNS may name a folder that holds other things: they have other names.
    folders = [folder for folder in _listed(runs) if _FOLDER.fullmatch(folder.name)]
    for path in (path for folder in folders for path in _listed(folder)):
        if _FILE.fullmatch(path.name):
            with suppress(OSError):  # another command may have removed it
                aged.append((path.stat().st_mtime, path))
    for _, path in sorted(aged)[:-MOST_FILES]:
        with suppress(OSError):
            path.unlink()
    for folder in folders:
        if folder.name != program()[:16]:
            with suppress(OSError):  # it holds runs of another version
                folder.rmdir()


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
