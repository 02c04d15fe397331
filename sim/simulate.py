"""The simulation engine: a scenario in, a record out, with intervals from replications."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from core.metrics.record import Requests, RunRecord
from core.metrics.transient import in_transit
from core.scenario.by_region import region_lines
from core.scenario.calibration import Calibration
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState, warm_state
from sim.engine_name import EngineName
from sim.engines import Engine
from sim.growth import is_steady
from sim.model import Played
from sim.precision import further, precision_note, widest
from sim.replications import (
    Begun,
    Found,
    Run,
    ended_early,
    latencies_of,
    paired_metrics,
    record_of,
    run_until_saturated,
)
from sim.replications import replications as replicating

BEGIN_OTHERS = 0.15
"""Share of the run after which the replications begin: until then a queue that only grows shows."""
REPLICATIONS = 10
"""Runs of a simulation, including the one with the scenario's own random numbers."""

Progress = Callable[[str, float], None]
"""Called with the current phase and the share of it that is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A record and the requests of the run with the scenario's own random numbers.

    lines: what is to be said of the replications: precision, and whether they had settled. engine:
    which one simulated, and why it was the reference where that was left to the program.
    """

    record: RunRecord
    requests: Requests
    lines: tuple[str, ...] = ()
    engine: str = "reference"


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
    precision: float | None = None,
    paired: int = 0,
    engine: EngineName = "reference",
    on_progress: Progress | None = None,
) -> Simulation:
    """Simulate *scenario*: the run itself and *replications* more; return the results.

    prepared: the requests, if the caller has made them. calibration: values learned of the
    service, which replace the scenario's. played: requests that the service had before the run
    itself (not before its replications). is_cold: whether the caches are empty whatever the
    scenario says. jobs: processes for the replications; the result does not depend on it.
    precision: the half-width of every judged KPI's interval over its mean, for which replications
    are added, up to `sim.precision.MOST`. paired: further runs of the same requests, with other
    service times, for the interval of an error. ends_early: whether the run ends as soon as a queue
    only grows (`sim.growth`). engine: which one simulates (`sim.engines`); the result does not
    depend on it. Raise InputError if the requests cannot be made, or if the engine does not
    simulate them.
    """
    report = on_progress or _silent
    prepared = prepared or prepare(scenario)
    numbers = range(1, replications + 1)
    chosen = Engine(
        asked=engine,
        requests=float(len(prepared.workload) * (1 + replications)),
        on_compiling=lambda: report("compiling (once, up to 30 s)", 0.0),
    )
    chosen.prepare(scenario, prepared, calibration, played)
    if replications < 2:
        jobs = 1
    elif precision is None:  # which may add many
        jobs = chosen.processes(jobs, 1 + replications)
    with replicating(jobs, calibration, chosen) as others:
        seeded = others.databases.of(scenario, prepared)
        begun: list[Begun] = []

        def progress(share: float) -> None:
            report("simulating", share)
            if share >= BEGIN_OTHERS and not begun:
                begun.append(others.begin(scenario, numbers))

        run = run_until_saturated(
            scenario, prepared, seeded,
            warm=WarmState() if is_cold else None, calibration=calibration, played=played,
            ends_early=ends_early, engine=chosen, on_progress=progress,
        )  # fmt: skip
        found: tuple[Found, ...] = ()
        if run.saturated is not None:
            for each in begun:
                each.cancel()
        else:
            progress(1.0)
            found = begun[0].results(lambda done: report("replicating", done / replications))
        record = _with(run, found, calibration)
        while precision is not None and run.saturated is None:
            width = widest(record, scenario.judged())
            more = 0 if width is None else further(record.runs, width[1], precision)
            if not more:
                break
            extra = range(record.runs, record.runs + more)
            phase = f"replicating for ±{100 * precision:g} %"
            found += others.run(scenario, extra, partial(_tell, report, phase, more))
            record = _with(run, found, calibration)
        if paired and run.saturated is None:
            state = WarmState() if is_cold else warm_state(scenario, prepared)
            luck = []
            for number in range(1, paired + 1):
                luck.append(
                    paired_metrics(
                        scenario, prepared, seeded, number,
                        warm=state, calibration=calibration, played=played,
                    )
                )  # fmt: skip
                report("predicting with other luck", number / paired)
            record = replace(record, paired=tuple(luck))
    lines: tuple[str, ...] = ()
    if run.saturated is not None:
        record = ended_early(record, scenario, run.saturated)
    else:
        lines = _transit(run, found)
        if precision is not None:
            lines += (precision_note(record, scenario.judged(), precision),)
    lines += region_lines(run.scenario, run.outcome.requests, after=run.scenario.warm_up)
    record = replace(record, notes=record.notes + lines)
    lines += (chosen.line,) if chosen.line else ()
    return Simulation(record=record, requests=run.outcome.requests, lines=lines, engine=chosen.told)


def _with(run: Run, found: tuple[Found, ...], calibration: Calibration | None) -> RunRecord:
    """Return the record of *run* and of what was *found* in further replications."""
    summaries = tuple(each.metrics for each in found)
    return record_of(run.scenario, run.prepared, run.outcome, summaries, calibration)


def _transit(run: Run, found: tuple[Found, ...]) -> tuple[str, ...]:
    """Return that the runs had not settled when their warm-up ended, if so."""
    scenario = run.scenario
    if not is_steady(scenario, of_any_start=True):
        return ()
    means = [latencies_of(scenario, run.outcome.requests)]
    means += [each.latencies for each in found if each.latencies is not None]
    transit = in_transit(means, warm_up=scenario.warm_up, total=scenario.total_time)
    if transit is None:
        return ()
    until = "to the end" if transit.until is None else f"until {transit.until:.3g} s"
    return (
        f"Still in transit after the warm-up of {scenario.warm_up:g} s: latencies change {until} "
        f"(by MSER-5; their mean by {100 * transit.change:+.0f} %). Lengthen warm_up and duration.",
    )


def _tell(report: Progress, phase: str, number: int, done: int) -> None:
    report(phase, done / number)


def _silent(_: str, __: float) -> None:
    """Report nothing."""
