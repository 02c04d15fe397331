"""The simulation engine: a scenario in, a record out, with intervals from replications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass

from core.calibration import Calibration
from core.destination import delivery_notes
from core.kpi import ALIASES, ENDPOINT_SERIES, Metric, parse_metric
from core.record import (
    Requests,
    RunRecord,
    count_reads,
    endpoint_latencies,
    window_columns,
)
from core.replay import Prepared, prepare
from core.scenario import Scenario
from core.scenario_file import scenario_data, scenario_hash
from core.warm_start import warm_state
from core.worker_pool import worker_pool, workers_deaf_to_ctrl_c
from sim.model import Database, Outcome, Replication

REPLICATIONS = 10

SUMMARY = tuple(
    parse_metric(text)
    for text in (
        *ALIASES,
        *(
            f"p{q}({series})"
            for q in (50, 95, 99)
            for series in (*ENDPOINT_SERIES, "query", "queue")
        ),
        *(f"ratio({series})" for series in ("l1", "l2", "miss")),
    )
)
"""The metrics that every replication keeps."""

Progress = Callable[[str, float], None]
"""What is being done, and which share of it is."""


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
    replications: int = REPLICATIONS,
    jobs: int = 1,
    on_progress: Progress | None = None,
) -> Simulation:
    """Return what *scenario* comes to: the run itself, and *replications* more for intervals.

    prepared: the requests, where the caller has made them. calibration: fitted costs in place of
    the scenario's committed ones. jobs: processes for the replications; the result does not
    depend on it. Raise InputError if the requests cannot be made.
    """
    report = on_progress or _silent
    prepared = prepared or prepare(scenario)
    seeded = Database(scenario, prepared)
    run = Replication(
        scenario, prepared, warm_state(scenario, prepared), seeded, calibration=calibration,
        on_progress=lambda share: report("simulating", share),
    )  # fmt: skip
    outcome = run.run()
    run.loop.close()
    report("simulating", 1.0)
    summaries = _replicate(scenario, prepared, seeded, calibration, replications, jobs, report)
    record = _record(scenario, prepared, outcome, summaries, calibration)
    return Simulation(record=record, requests=outcome.requests)


def _silent(_: str, __: float) -> None:
    """Report nothing."""


def _record(
    scenario: Scenario,
    prepared: Prepared,
    outcome: Outcome,
    replications: tuple[Mapping[str, float], ...],
    calibration: Calibration | None,
) -> RunRecord:
    requests, after = outcome.requests, scenario.warm_up
    notes = prepared.workload.notes + delivery_notes(outcome.counters)
    if calibration is not None:
        notes += (
            "CPU costs and the client's overhead were fitted on this machine at a low rate "
            f"({calibration.requests:,} requests) before the measurement.",
        )
    return RunRecord(
        engine="simulate",
        scenario=scenario_data(scenario),
        scenario_hash=scenario_hash(scenario),
        seed=scenario.seed,
        workload_hash=prepared.workload.identity(),
        planned=len(prepared.workload),
        duration=scenario.duration,
        latencies=endpoint_latencies(requests, after=after),
        stages=outcome.stages,
        reads=count_reads(requests, after=after),
        memory_peak=float(outcome.memory_bytes),
        windows=window_columns(requests, after=after, duration=scenario.duration),
        replications=replications,
        counters=outcome.counters,
        failures=outcome.failures,
        notes=notes,
    )


def summary(record: RunRecord, metrics: tuple[Metric, ...] = SUMMARY) -> dict[str, float]:
    """Return the values of *metrics* that *record* has, by name."""
    values = {metric.name: record.metric(metric) for metric in metrics}
    return {name: value for name, value in values.items() if value is not None}


def _replicate(
    scenario: Scenario,
    prepared: Prepared,
    seeded: Database,
    calibration: Calibration | None,
    count: int,
    jobs: int,
    report: Progress,
) -> tuple[Mapping[str, float], ...]:
    numbers = range(1, count + 1)
    if jobs == 1 or count < 2:
        summaries = []
        for number in numbers:
            summaries.append(_one(scenario, seeded, calibration, number))
            report("replicating", number / count)
        return tuple(summaries)
    done: dict[int, Mapping[str, float]] = {}
    with worker_pool(jobs, _begin_worker, (scenario, calibration)) as pool:
        with workers_deaf_to_ctrl_c():
            futures = {pool.submit(_in_worker, number): number for number in numbers}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            report("replicating", len(done) / count)
    return tuple(done[number] for number in numbers)


def _one(
    scenario: Scenario, seeded: Database, calibration: Calibration | None, number: int
) -> dict[str, float]:
    prepared = prepare(scenario, replication=number)
    state = warm_state(scenario, prepared, replication=number)
    run = Replication(
        scenario, prepared, state, seeded, replication=number, calibration=calibration
    )
    outcome = run.run()
    run.loop.close()
    judged = (kpi.metric for kpi in scenario.judged())
    metrics = tuple(dict.fromkeys((*SUMMARY, *judged)))
    return summary(_record(scenario, prepared, outcome, (), calibration), metrics)


_worker: tuple[Scenario, Calibration | None, Database] | None = None


def _begin_worker(scenario: Scenario, calibration: Calibration | None) -> None:
    global _worker  # noqa: PLW0603  # the pool's way to hand a worker what all its tasks share
    _worker = (scenario, calibration, Database(scenario, prepare(scenario)))


def _in_worker(number: int) -> dict[str, float]:
    assert _worker is not None
    scenario, calibration, seeded = _worker
    return _one(scenario, seeded, calibration, number)
