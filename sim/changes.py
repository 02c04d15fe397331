"""What changes of one field do to a plan: the knee of each, on the same random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager

from core.cost.next_values import NextValue, next_values
from core.metrics.capacity import CapacityPlan
from core.metrics.what_helps import Effect, IsolateSplit, WhatHelps
from core.processes import worker_pool, workers_deaf_to_ctrl_c
from core.scenario.calibration import Calibration
from core.scenario.pace import rate_of
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from sim.capacity import MAX_REQUESTS, Runner
from sim.engine_name import EngineName
from sim.engines import Engine
from sim.isolate_splits import isolate_splits
from sim.kept_runs import KeptRuns
from sim.rates import at_rate, is_trace, mean
from sim.replications import Found, Replications, replications
from sim.trial import (
    NEAR,
    RUNS,
    Base,
    Tried,
    costs_of,
    found_of,
    missed_kpis,
    try_change,
)

OnChange = Callable[[int, int, str, "Effect | None"], None]


def what_helps(
    scenario: Scenario,
    plan: CapacityPlan,
    *,
    calibration: Calibration | None = None,
    jobs: int = 1,
    engine: EngineName = "reference",
    kept: KeptRuns | None = None,
    runner: Runner | None = None,
    on_change: OnChange | None = None,
) -> WhatHelps | None:
    """Return what the next value of each field does to the knee of *plan*, the best first.

    Each change is tried on the random numbers of the plan. One replication tells whether it moves
    the knee by 5 % or more, and about where to; RUNS replications then find their knees with it,
    each compared with its own without it. Where no rate holds, the changes are compared at the
    rate where the search began, by how near they bring the missed KPIs to their targets. None
    where nothing breaks, so that nothing could help, or where the plan has no knee.

    kept: runs of an interrupted search, to which this one adds. jobs: processes; the result does
    not depend on it. runner: runs the replications in place of the simulation. on_change: called
    after each change with the number done, of how many, its name and its effect. Ctrl-C ends it
    with what is known so far.
    """
    if plan.knee is None and plan.highest_rate is not None:
        return None
    kept = kept or KeptRuns()
    changes, idle = next_values(scenario)
    chosen = Engine(asked=engine, requests=float(len(changes) * 3 * MAX_REQUESTS))
    prepared = prepare_measured(scenario)
    is_compiled = False
    if runner is None:
        chosen.prepare(scenario, prepared, calibration)
        is_compiled = chosen.chosen != "reference" and not chosen.why
    here = runner or Replications(calibration, engine=chosen)
    base = _base(scenario, plan, kept, here, is_compiled=is_compiled)
    tried: dict[str, Tried] = {}
    interrupted = False
    splits: tuple[IsolateSplit, ...] = ()
    total = len(changes)

    def take(change: NextValue, came: Tried) -> None:
        tried[change.name] = came
        kept.took_elsewhere(came.taken)
        if on_change is not None:
            on_change(len(tried), total, change.name, came.effect)

    try:
        if runner is not None or jobs == 1:
            for change in changes:
                take(change, try_change(change, base, here, kept))
        else:
            with _workers(jobs, calibration, chosen, kept) as submit:
                futures = {submit(change, base): change for change in changes}
                for future in as_completed(futures):
                    take(futures[future], future.result())
        with _runner(runner, jobs, calibration, chosen) as several:
            splits = isolate_splits(
                scenario, rate=base.today, runner=several, kept=kept, is_compiled=is_compiled,
                on_split=lambda name: on_change and on_change(total, total, name, None),
            )  # fmt: skip
    except KeyboardInterrupt:
        interrupted = True
    effects = [t.effect for t in tried.values() if t.effect is not None]
    missed = missed_kpis(scenario, base) if not base.knees else ()
    return WhatHelps(
        effects=tuple(sorted(effects, key=lambda e: (-e.size, e.name))),
        little=tuple(
            c.name
            for c in changes
            if c.name in tried and tried[c.name].effect is None and not tried[c.name].untried
        )
        + idle,
        untried={c.name: tried[c.name].untried for c in changes
                 if c.name in tried and tried[c.name].untried},
        threshold=NEAR - 1,
        runs=RUNS,
        rate=base.today,
        costs=costs_of([*base.at_today.values()]),
        missed={k.name: v for k in missed
                if (v := mean([*base.at_today.values()], k.name)) is not None},
        splits=splits,
        interrupted=interrupted,
    )  # fmt: skip


def _base(
    scenario: Scenario, plan: CapacityPlan, kept: KeptRuns, runner: Runner, *, is_compiled: bool
) -> Base:
    """Return what changes are compared with, after the runs that this takes."""

    def at(rate: float, numbers: Sequence[int]) -> dict[int, Found]:
        return found_of(at_rate(scenario, rate), numbers, runner, kept)

    knees_ = plan.knee.each[:RUNS] if plan.knee is not None else ()
    start = rate_of(scenario)
    most = math.inf
    if not is_trace(scenario):
        most = start * MAX_REQUESTS / len(prepare_measured(scenario).workload)
    today = plan.today if knees_ and plan.today and plan.today <= most else start
    return Base(
        knees=knees_,
        today=today,
        start=start,
        bound=most,
        without=frozenset(plan.unmeasured),
        at_today=at(today, range(RUNS)),
        near=at(knees_[0] * NEAR, (0,))[0] if knees_ else None,
        is_compiled=is_compiled,
    )


@contextmanager
def _runner(
    given: Runner | None, jobs: int, calibration: Calibration | None, engine: Engine
) -> Iterator[Runner]:
    """Yield what was *given*, or else a runner that uses *jobs* processes."""
    if given is not None:
        yield given
        return
    with replications(min(jobs, RUNS), calibration, engine) as several:
        yield several


_worker: tuple[Replications, KeptRuns] | None = None


def _begin_worker(
    calibration: Calibration | None, asked: EngineName, requests: float, kept: KeptRuns
) -> None:
    global _worker  # noqa: PLW0603  # the pool's way to hand a worker what all its tasks share
    engine = Engine(asked=asked, requests=requests)
    _worker = Replications(calibration, engine=engine), kept


def _in_worker(change: NextValue, base: Base) -> Tried:
    assert _worker is not None
    runner, kept = _worker
    before = kept.taken
    tried = try_change(change, base, runner, kept)
    tried.taken = kept.taken - before
    return tried


@contextmanager
def _workers(
    jobs: int, calibration: Calibration | None, engine: Engine, kept: KeptRuns
) -> Iterator[Callable[[NextValue, Base], Future[Tried]]]:
    """Yield what gives a change to one of *jobs* processes."""
    given = (calibration, engine.chosen, engine.requests, kept)
    with worker_pool(jobs, _begin_worker, given) as pool:

        def submit(change: NextValue, base: Base) -> Future[Tried]:
            with workers_deaf_to_ctrl_c():
                return pool.submit(_in_worker, change, base)

        yield submit
