"""Replications of scenarios: runs with random numbers of their own, in several processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.cost.cost import cost_of_record
from core.cost.key_writes import most_key_writes
from core.errors import InputError
from core.metrics.part import PartOfRun
from core.metrics.record import (
    Requests,
    RunRecord,
    count_reads,
    delivery_notes,
    endpoint_latencies,
    parts_of,
    told_tries,
    window_columns,
)
from core.metrics.summary import kept_figures, summary
from core.metrics.transient import window_means
from core.processes import worker_pool, workers_deaf_to_ctrl_c
from core.scenario.by_endpoint import listed
from core.scenario.by_region import region_latencies, region_samples
from core.scenario.calibration import Calibration
from core.scenario.file import scenario_data, scenario_hash
from core.scenario.pace import rate_of
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState, warm_state
from sim.clients import replication_of
from sim.engine_name import EngineName
from sim.engines import Engine
from sim.growth import Saturated, ServerLoad
from sim.model import Played, ReplicationOutcome, SeededDatabase

MOST_SUBJECTS = 80_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The findings of one replication: its metrics, and how busy each server was.

    saturated: the servers whose queues only grew, so that the run was ended. latencies: the means
    of windows of the run, warm-up included (`core.metrics.transient`).
    """

    metrics: Mapping[str, float]
    loads: Mapping[str, ServerLoad]
    saturated: tuple[str, ...] = ()
    latencies: NDArray[np.float64] | None = None


class Replications:
    """Runs replications here and in the processes of *pools*; the result is the same.

    Each replication has its place, here or in one pool, which keeps its seeded database.
    """

    def __init__(
        self,
        calibration: Calibration | None = None,
        pools: Sequence[Executor] = (),
        engine: Engine | None = None,
    ) -> None:
        self._calibration = calibration
        self.engine = engine or Engine()
        self._pools = pools
        self.databases = SeededDatabases()

    def run(
        self, scenario: Scenario, numbers: Sequence[int], on_done: Callable[[int], None]
    ) -> tuple[Found, ...]:
        """Return the findings of replications *numbers* of *scenario*, in their order.

        on_done: called after each with the number done. Raise InputError if the requests cannot be
        made.
        """
        return self.begin(scenario, numbers).results(on_done)

    def begin(self, scenario: Scenario, numbers: Sequence[int]) -> Begun:
        """Begin the share of the other processes in replications *numbers*, if there are any."""
        futures: dict[Future[Found], int] = {}
        places = 1 + len(self._pools)
        if self._pools:
            with workers_deaf_to_ctrl_c():
                for number in numbers:
                    if place := number % places:
                        pool = self._pools[place - 1]
                        futures[pool.submit(in_worker, scenario, number)] = number

        def here(number: int) -> Found:
            return _replicate(scenario, self.databases, self._calibration, number, self.engine)

        return Begun(numbers, futures, here)


class Begun:
    """Replications *numbers*: some run in other processes (*futures*), the rest will run *here*."""

    def __init__(
        self,
        numbers: Sequence[int],
        futures: Mapping[Future[Found], int],
        here: Callable[[int], Found],
    ) -> None:
        self._numbers, self._futures, self._here = numbers, futures, here

    def results(self, on_done: Callable[[int], None]) -> tuple[Found, ...]:
        """Return their findings in their order; *on_done* is called with the number done."""
        found: dict[int, Found] = {}
        left = set(self._futures)

        def take(done: Iterable[Future[Found]]) -> None:
            for future in done:
                left.discard(future)
                found[self._futures[future]] = future.result()
                on_done(len(found))

        elsewhere = set(self._futures.values())
        for number in self._numbers:
            if number not in elsewhere:
                found[number] = self._here(number)
                on_done(len(found))
                take([future for future in left if future.done()])
        take(as_completed([*left]))
        return tuple(found[number] for number in self._numbers)

    def cancel(self) -> None:
        """Let those not begin that have not begun."""
        for future in self._futures:
            future.cancel()


@contextmanager
def replications(
    jobs: int, calibration: Calibration | None = None, engine: Engine | None = None
) -> Iterator[Replications]:
    """Yield a runner of replications in *jobs* processes, of which this is one."""
    engine = engine or Engine()
    if jobs == 1:
        yield Replications(calibration, engine=engine)
        return
    given = (calibration, engine.chosen, engine.requests)
    with ExitStack() as stack:
        pools = [stack.enter_context(worker_pool(1, begin_worker, given)) for _ in range(jobs - 1)]
        yield Replications(calibration, pools, engine)


class SeededDatabases:
    """The last seeded databases, for scenarios that differ only in their arrivals.

    As many are kept as together have about MOST_SUBJECTS users and conversions.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Any, SeededDatabase]] = {}

    def of(
        self, scenario: Scenario, prepared: Prepared | None = None, *, replication: int = 0
    ) -> SeededDatabase:
        """Return the seeded database of a replication of *scenario*; each has data of its own.

        A replication may ask for more subjects than another: of a trace it takes as many accesses
        as there are arrivals.
        """
        prepared = prepared or prepare(scenario, replication=replication)
        workload = prepared.workload
        sizes = workload.profile_bytes
        key = (
            scenario.seed,
            scenario.traffic.model_copy(update={"stages": ()}),
            scenario.attribution,
            scenario.tiers,
            scenario.endpoints,
            scenario.topology.process_count,  # a warm start shares rows out over them
            (workload.users, workload.conversions),
            None if sizes is None else sizes.tobytes(),
        )
        known, found = self._kept.pop(replication, (None, None))
        if found is None or known != key:
            found = SeededDatabase(scenario, prepared, replication)
        self._kept[replication] = (key, found)
        most = max(1, MOST_SUBJECTS // (workload.users + workload.conversions))
        while len(self._kept) > most:
            del self._kept[next(iter(self._kept))]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: what was asked for and found. saturated: None unless a queue only grew.

    scenario and prepared: those that were simulated; of a run that was ended, until then.
    """

    scenario: Scenario
    prepared: Prepared
    outcome: ReplicationOutcome
    saturated: Saturated | None = None


def run_until_saturated(
    scenario: Scenario,
    prepared: Prepared,
    seeded: SeededDatabase,
    *,
    replication: int = 0,
    warm: WarmState | None = None,
    calibration: Calibration | None = None,
    played: Played | None = None,
    ends_early: bool = True,
    engine: Engine | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Run:
    """Simulate *scenario*; if it *ends_early*, only until it is sure that a queue only grows.

    Such a run is made again in its first seconds alone, of which a fifth is the warm-up. warm: what
    the caches hold, None for what the scenario says. engine: the reference if none is given.
    """
    engine = engine or Engine()
    saturated = None
    while True:
        state = warm_state(scenario, prepared, replication=replication) if warm is None else warm
        try:
            outcome = engine.run(
                scenario, prepared, state, seeded,
                replication=replication, calibration=calibration, played=played,
                ends_early=ends_early and saturated is None and warm is None,
                on_progress=on_progress if saturated is None else None,
            )  # fmt: skip
        except Saturated as reason:
            saturated = reason
            warm_up = min(scenario.warm_up, reason.at / 5)
            update = {"warm_up": warm_up, "duration": reason.at - warm_up}
            scenario = scenario.model_copy(update=update)
            prepared = prepare(scenario, replication=replication)
        else:
            return Run(scenario=scenario, prepared=prepared, outcome=outcome, saturated=saturated)


def paired_metrics(
    scenario: Scenario,
    prepared: Prepared,
    seeded: SeededDatabase,
    draws: int,
    *,
    warm: WarmState,
    calibration: Calibration | None = None,
    played: Played | None = None,
) -> dict[str, float]:
    """Return the metrics of a run of the same requests from the same start, with other luck.

    draws: which service times it has; 0 are those of the run itself.
    """
    run = replication_of(
        scenario, prepared, warm, seeded, calibration=calibration, played=played, draws=draws
    )
    try:
        outcome = run.run()
    finally:
        run.loop.close()
    figures = kept_figures(scenario.endpoints, (kpi.metric for kpi in scenario.judged()))
    return summary(record_of(scenario, prepared, outcome, (), calibration), figures)


def ended_early(record: RunRecord, scenario: Scenario, reason: Saturated) -> RunRecord:
    """Return *record* of the first seconds of *scenario*, with the servers that are saturated."""
    rate = rate_of(scenario)
    return replace(
        record,
        scenario=scenario_data(scenario),
        scenario_hash=scenario_hash(scenario),
        utilisation={name: round(load.utilisation, 6) for name, load in reason.loads.items()},
        saturated={
            name: float(f"{rate / reason.loads[name].utilisation:.3g}")
            for name in saturated_of(reason.loads)
        },
    )


def _replicate(
    scenario: Scenario,
    databases: SeededDatabases,
    calibration: Calibration | None,
    number: int,
    engine: Engine,
) -> Found:
    prepared = prepare(scenario, replication=number)
    seeded = databases.of(scenario, prepared, replication=number)
    run = run_until_saturated(
        scenario, prepared, seeded, replication=number, calibration=calibration, engine=engine
    )
    figures = kept_figures(scenario.endpoints, (kpi.metric for kpi in scenario.judged()))
    record = record_of(run.scenario, run.prepared, run.outcome, (), calibration)
    if run.saturated is None:
        return Found(
            metrics=summary(record, figures), loads=run.outcome.loads,
            latencies=latencies_of(scenario, run.outcome.requests),
        )  # fmt: skip
    loads = run.saturated.loads
    return Found(metrics=summary(record, figures), loads=loads, saturated=saturated_of(loads))


def latencies_of(scenario: Scenario, requests: Requests) -> NDArray[np.float64]:
    """Return the mean latencies of answered requests in windows of the run."""
    if math.isfinite(requests.latency.max(initial=0.0)):  # no copies then
        return window_means(requests.intended, requests.latency, scenario.total_time)
    answered = np.isfinite(requests.latency)
    return window_means(
        requests.intended[answered], requests.latency[answered], scenario.total_time
    )


def saturated_of(loads: Mapping[str, ServerLoad]) -> tuple[str, ...]:
    """Return the servers of a saturated run that more was asked of than they can do."""
    over = tuple(name for name, load in loads.items() if load.utilisation > 1)
    return over or (max(loads, key=lambda name: loads[name].growth),)


def record_of(
    scenario: Scenario,
    prepared: Prepared,
    outcome: ReplicationOutcome,
    others: tuple[Mapping[str, float], ...],
    calibration: Calibration | None,
) -> RunRecord:
    """Return the record of a run, with the metrics of its *others*."""
    requests, after = outcome.requests, scenario.warm_up
    notes = prepared.workload.notes + delivery_notes(outcome.counters)
    notes += not_stated(scenario, calibration)
    if calibration is not None:
        notes += (
            f"Calibrated: learned from {calibration.requests:,} requests at a low rate.",
            *(f"calibration: {note}" for note in calibration.notes),
        )
    record = RunRecord(
        engine="simulate",
        scenario=scenario_data(scenario),
        scenario_hash=scenario_hash(scenario),
        seed=scenario.seed,
        workload_hash=prepared.workload.identity(),
        planned=len(requests.latency),  # without what visitors had no time left for
        duration=scenario.duration,
        latencies=endpoint_latencies(requests, after=after, endpoints=scenario.endpoints),
        stages={**outcome.stages, **region_latencies(scenario, requests, after=after)},
        reads=count_reads(requests, after=after, endpoints=scenario.endpoints),
        memory_peak=float(outcome.memory_bytes),
        windows=window_columns(
            requests, after=after, duration=scenario.duration, retried=outcome.retried
        ),
        replications=others,
        counters=outcome.counters,
        failures=outcome.failures,
        notes=notes,
        parts=_parts(scenario, outcome),
        utilisation={name: round(load.utilisation, 6) for name, load in outcome.loads.items()},
        memory_growth=round(outcome.memory_growth, 3),
        tries=told_tries(requests, outcome.retried, after=after),
    )
    known = scenario if calibration is None else calibration.apply(scenario)
    writes = most_key_writes(
        requests, after=after, endpoints=scenario.endpoints, sites=scenario.traffic.sites
    )
    cost = cost_of_record(known, record, key_writes=writes)
    return record if cost is None else replace(record, cost=cost.to_json())


def _parts(scenario: Scenario, outcome: ReplicationOutcome) -> dict[str, PartOfRun]:
    samples = {**outcome.samples, **region_samples(scenario, outcome.requests)}
    found = parts_of(
        outcome.requests, samples, scenario.parts,
        endpoints=scenario.endpoints, retried=outcome.retried,
    )  # fmt: skip
    for name, stages in outcome.part_stages.items():
        found[name] = replace(found[name], stages=stages)
    return found


def not_stated(scenario: Scenario, calibration: Calibration | None = None) -> tuple[str, ...]:
    """Return what of *scenario* is not predicted, because it does not say what endpoints do.

    Those whose latencies *calibration* tells are predicted. Raise InputError if none is that is
    asked for.
    """
    learned = () if calibration is None else calibration.outside
    asked = [
        each
        for each in scenario.endpoints
        if scenario.trace.file is not None or scenario.traffic.mix.of(each.name) > 0
    ]
    unknown = [each for each in asked if each.unknown and each.name not in learned]
    if unknown and len(unknown) == len(asked):
        first = unknown[0]
        raise InputError(
            f"{scenario.name}: nothing can be predicted: no endpoint states what it does; add "
            f"{first.unknown} to [endpoints.{first.name}], learn the service from its answers "
            "(edgeproof calibrate), or use `edgeproof load`"
        )
    notes = [
        f"{each.name} is not predicted: its {each.unknown} are not stated. What it does to the "
        "others is not in their prediction."
        for each in unknown
    ]
    silent = [
        each.name
        for each in asked
        if each.is_stated
        and each.name not in learned
        and not each.unknown
        and not scenario.topology.cpu.of(each.name)
    ]
    if learned and scenario.traffic.retries.is_on:
        notes.append(
            f"Further attempts at {listed(tuple(learned), 'and')} are not predicted: only their "
            "latencies are known."
        )
    if silent:
        notes.append(f"CPU time is not stated of {listed(silent, 'and')}, and not in its times.")
    return tuple(notes)


_worker: Replications | None = None


def begin_worker(calibration: Calibration | None, asked: EngineName, requests: float) -> None:
    """Begin a process that runs replications for a command."""
    global _worker  # noqa: PLW0603  # the pool's way to hand a worker what all its tasks share
    _worker = Replications(calibration, engine=Engine(asked=asked, requests=requests))


def in_worker(scenario: Scenario, number: int) -> Found:
    """Return the findings of replication *number* of *scenario*, in a process that has begun."""
    assert _worker is not None
    (found,) = _worker.run(scenario, (number,), lambda _: None)
    return found
