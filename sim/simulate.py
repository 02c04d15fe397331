"""The simulation engine: a scenario in, a record out, with intervals from replications."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.metrics.record import Requests, RunRecord
from core.scenario.calibration import Calibration
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState
from sim.model import Played
from sim.replications import Found, ended_early, record_of, run_until_saturated
from sim.replications import replications as replicating

REPLICATIONS = 10
"""Runs of a simulation, including the one with the scenario's own random numbers."""

Progress = Callable[[str, float], None]
"""Called with the current phase and the share of it that is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A record and the requests of the run with the scenario's own random numbers."""

    record: RunRecord
    requests: Requests


def simulate(
    scenario: Scenario,
    *,
    prepared: Prepared | None = None,
    calibration: Calibration | None = None,
    played: Played | None = None,
    is_cold: bool = False,
    replications: int = REPLICATIONS - 1,
    jobs: int = 1,
    ends_early: bool = True,
    on_progress: Progress | None = None,
) -> Simulation:
    """Simulate *scenario*: the run itself and *replications* more; return the results.

    prepared: the requests, if the caller has made them. calibration: values learned of the
    service, which replace the scenario's. played: requests that the service had before the run
    itself (not before its replications). is_cold: whether the caches are empty whatever the
    scenario says. jobs: processes for the replications; the result does not depend on it.
    ends_early: whether the run ends as soon as a queue only grows (`sim.growth`). Raise InputError
    if the requests cannot be made.
    """
    report = on_progress or _silent
    prepared = prepared or prepare(scenario)
    numbers = range(1, replications + 1)
    with replicating(jobs if replications > 1 else 1, calibration) as others:
        begun = others.begin(scenario, numbers)
        seeded = others.databases.of(scenario, prepared)
        run = run_until_saturated(
            scenario, prepared, seeded,
            warm=WarmState() if is_cold else None, calibration=calibration, played=played,
            ends_early=ends_early, on_progress=lambda share: report("simulating", share),
        )  # fmt: skip
        report("simulating", 1.0)
        if run.saturated is not None:
            begun.cancel()
            found: tuple[Found, ...] = ()
        else:
            found = begun.results(lambda done: report("replicating", done / replications))
    summaries = tuple(each.metrics for each in found)
    record = record_of(run.scenario, run.prepared, run.outcome, summaries, calibration)
    if run.saturated is not None:
        record = ended_early(record, scenario, run.saturated)
    return Simulation(record=record, requests=run.outcome.requests)


def _silent(_: str, __: float) -> None:
    """Report nothing."""
