"""Small scenarios, loops and replications to test with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import simpy

from core.metrics.record import write_record
from core.scenario.file import parse_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from sim.loop import SimLoop
from sim.model import Replication, ReplicationOutcome, SeededDatabase
from sim.simulate import Simulation

NO_CPU: dict[str, str] = dict.fromkeys(
    ("track", "attribution", "journey", "channels", "per_l2_operation", "per_l3_operation"), "0s"
)
ONLY_JOURNEYS = {"track": 0, "attribution": 0, "journey": 1, "channels": 0}
ONLY_CHANNELS = {"track": 0, "attribution": 0, "journey": 0, "channels": 1}
ONLY_TRACKING = {"track": 1, "attribution": 0, "journey": 0, "channels": 0}


@contextmanager
def simulated(env: simpy.Environment | None = None) -> Iterator[SimLoop]:
    """Yield a loop on *env* that is closed afterwards."""
    loop = SimLoop(env or simpy.Environment())
    try:
        yield loop
    finally:
        loop.close()


def small_scenario(*, rate: float = 80.0, **fields: Any) -> Scenario:
    """Return a scenario of four seconds with the baseline's latencies."""
    traffic = {"stages": [{"rate": rate}], "users": 60, "conversions": 30}
    data: dict[str, Any] = {"name": "small", "duration": "3s", "warm_up": "1s"}
    traffic |= fields.pop("traffic", {})
    return parse_scenario({**data, "traffic": traffic, **fields}, source="test")


def replicate(scenario: Scenario, replication: int) -> ReplicationOutcome:
    """Return what one replication of *scenario* comes to."""
    prepared = prepare(scenario, replication=replication)
    state = warm_state(scenario, prepared, replication=replication)
    seeded = SeededDatabase(scenario, prepare(scenario), replication)
    run = Replication(scenario, prepared, state, seeded, replication=replication)
    try:
        return run.run()
    finally:
        run.loop.close()


def t_statistic(values: Sequence[float], expected: float) -> float:
    """Return how many standard errors the mean of *values* is from *expected*."""
    n = len(values)
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return (mean - expected) / math.sqrt(variance / n)


def written(found: Simulation, folder: Path) -> tuple[str, str]:
    """Write both files of a run; return their SHA-256."""
    folder.mkdir()
    write_record(found.record, folder / "record.json")
    found.requests.write(folder / "requests.npz")
    names = ("record.json", "requests.npz")
    first, second = (hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names)
    return first, second
