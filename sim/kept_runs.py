"""The runs of simulations in files, so that no command simulates what another one has found."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.endpoint import STATED
from core.scenario.fault_kinds import BUILT_IN
from core.scenario.file import scenario_hash
from core.scenario.scenario import Scenario
from sim.growth import ServerLoad
from sim.replications import Found


class KeptRuns:
    """What replications found, by scenario; in files of *folder*, a line a run, if there is one.

    about: what the runs depend on beside the scenario and its trace: the program, what was learned.
    is_fresh: whether what the files hold is left aside. taken: how many of their runs were used.
    """

    def __init__(
        self, folder: Path | None = None, *, about: str = "", is_fresh: bool = False
    ) -> None:
        self._folder, self._about, self._is_fresh = folder, about, is_fresh
        self._runs: dict[str, dict[int, Found]] = {}
        self._of_files: set[tuple[str, int]] = set()
        self._used: set[tuple[str, int]] = set()
        self._elsewhere = 0
        # What another process of this command writes meanwhile is no run of an earlier one.
        self._earlier = set() if folder is None else {file.name for file in folder.glob("*.jsonl")}

    @property
    def taken(self) -> int:
        """How many runs of files were used."""
        return len(self._used) + self._elsewhere

    def keeps(self, scenario: Scenario) -> bool:
        """Return whether a later command will find the runs of *scenario*."""
        return self._path(scenario) is not None

    def took_elsewhere(self, count: int) -> None:
        """Count runs of files that a process of this command used."""
        self._elsewhere += count

    def of(self, scenario: Scenario, numbers: Sequence[int]) -> dict[int, Found]:
        """Return what is known of the replications *numbers* of *scenario*, by their number."""
        key, known = self._key(scenario), self._known(scenario)
        self._used |= {(key, number) for number in numbers} & self._of_files
        return {number: known[number] for number in numbers if number in known}

    def keep(self, scenario: Scenario, found: Mapping[int, Found]) -> None:
        """Keep what replications of *scenario* found."""
        self._known(scenario).update(found)
        path = self._path(scenario)
        if path is None or not found:
            return
        # A line begins anew: the one before may have been cut off when its process was killed.
        lines = (json.dumps({"replication": n, **_data(run)}) for n, run in found.items())
        text = "".join(f"\n{_sum_of(line)} {line}" for line in lines)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            self._folder = None  # a full disk loses what is kept, and nothing else

    def _known(self, scenario: Scenario) -> dict[int, Found]:
        key = self._key(scenario)
        if key not in self._runs:
            path = self._path(scenario)
            self._runs[key] = {} if path is None or self._is_fresh else _read(path)
            if path is not None and path.name in self._earlier:
                self._of_files |= {(key, number) for number in self._runs[key]}
        return self._runs[key]

    def _key(self, scenario: Scenario) -> str:
        trace = scenario.trace
        source = "" if trace.file is None else digest_of(Path(trace.file))
        settings = trace.model_copy(update={"file": None})
        text = f"{scenario_hash(scenario)} {settings!r} {source} {self._about}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _path(self, scenario: Scenario) -> Path | None:
        if self._folder is None or not _is_ours(scenario):
            return None
        return self._folder / f"{self._key(scenario)}.jsonl"


def _is_ours(scenario: Scenario) -> bool:
    """Whether all code that simulates *scenario* is part of the program, and none of a package."""
    kinds = {kind.name for kind in BUILT_IN}
    return all(fault.kind.name in kinds for fault in scenario.faults) and all(
        endpoint.behaviour == STATED or endpoint.behaviour.startswith("core.")
        for endpoint in scenario.endpoints
    )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of the file at *path*, "" if it cannot be found."""
    try:
        facts = path.stat()
    except OSError:
        return ""
    return _digest(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=8)
def _digest(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[int, Found]:
    found: dict[int, Found] = {}
    try:
        lines = path.read_bytes().decode("ascii", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        told, _, text = line.partition(" ")
        if told != _sum_of(text):
            continue  # the last line of a process that was killed, or a damaged one
        data = json.loads(text)
        found[data["replication"]] = _found(data)
    return found


def _sum_of(line: str) -> str:
    return f"{zlib.crc32(line.encode()):08x}"


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
