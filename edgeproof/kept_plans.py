"""Where the runs of interrupted plans are kept."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import core
import sim
from core.scenario.calibration import Calibration
from core.scenario.file import scenario_hash
from core.scenario.scenario import Scenario

_MOST = 20


def runs_file(scenario: Scenario, calibration: Calibration | None) -> Path | None:
    """Return the file for the runs of a plan of *scenario*; None if no folder can be written.

    Its name is that of the scenario, what was learned and the program's own text: other runs are
    never taken for these. The newest twenty are kept.
    """
    folder = _cache_folder() / "plans"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        by_age = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
        for oldest in by_age[:-_MOST]:
            oldest.unlink()
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    text = f"{scenario_hash(scenario)} {scenario.trace!r} {calibration!r} {_program()}"
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.jsonl"


def _cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "edgeproof"


@lru_cache(maxsize=1)
def _program() -> str:
    """Return the SHA-256 of the text of what a simulation runs."""
    digest = hashlib.sha256()
    for package in (core, sim):
        for folder in package.__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.read_bytes())
    return digest.hexdigest()
