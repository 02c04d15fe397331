"""What changes of one field do to a plan: the knee of each, on the same random numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core.cost.next_values import NextValue, next_values
from core.metrics.capacity import CapacityPlan
from core.metrics.charge import CHARGES
from core.metrics.estimate import estimate_of
from core.metrics.kpi import Kpi
from core.metrics.what_helps import Effect, IsolateSplit, WhatHelps
from core.processes import worker_pool, workers_deaf_to_ctrl_c
from core.scenario.calibration import Calibration
from core.scenario.pace import rate_of
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from sim.capacity import EXTENSIONS, MAX_REQUESTS, STEP, Runner
from sim.coverage import uncovered
from sim.engine_name import EngineName
from sim.engines import Engine
from sim.kept_runs import KeptRuns
from sim.knee import breaks, knees
from sim.rates import at_rate, interval, is_steady_late, is_trace, mean
from sim.replications import Found, Replications

RUNS = 4
"""Replications of an effect."""
NEAR = 1.05
"""A change that does not move the knee of one replication by this factor has little effect."""
STRIDE = 1.4
"""From one rate to the next in search of the other side of a knee."""
MOST = 4.0
"""How far a knee is followed, as a factor."""
CLOSE = 1.025
"""Between the two rates around the knee of the first replication."""
SPLITS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Numbers of isolates, as multiples of the scenario's."""

_SHARES = ("ratio(l1)", "ratio(l2)", "ratio(miss)")

Table = dict[float, dict[int, Found]]
OnChange = Callable[[int, int, str, "Effect | None"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a change is compared with.

    knees: of the plan's first replications, none where no rate holds. today: the rate of the costs.
    start: where the plan's search began. bound: the highest rate that may be tried. without: KPIs
    that cannot be measured. at_today, near: what the first replications found at today's rate, and
    the first one beyond its knee. is_compiled: whether the compiled engine simulates it.
    """

    knees: tuple[float, ...]
    today: float
    start: float
    bound: float
    without: frozenset[str]
    at_today: Mapping[int, Found]
    near: Found | None
    is_compiled: bool


@dataclass(slots=True, kw_only=True)
class Tried:
    """What came of one change: its effect, or why there is none.

    taken: how many runs of earlier commands it used, where another process tried it.
    """

    effect: Effect | None = None
    untried: str = ""
    taken: int = 0


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
        splits = _splits(scenario, base, here, kept)
    except KeyboardInterrupt:
        interrupted = True
    effects = [t.effect for t in tried.values() if t.effect is not None]
    missed = _missed(scenario, base) if not base.knees else ()
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
        costs=_costs([*base.at_today.values()]),
        missed={k.name: v for k in missed
                if (v := mean([*base.at_today.values()], k.name)) is not None},
        splits=splits,
        interrupted=interrupted,
    )  # fmt: skip


def try_change(change: NextValue, base: Base, runner: Runner, kept: KeptRuns) -> Tried:
    """Return what *change* comes to; *kept*: runs so far, to which it adds."""
    scenario = change.scenario
    if base.is_compiled and (reason := uncovered(scenario, prepare_measured(scenario))):
        return Tried(untried=f"the compiled engine does not simulate {reason}")
    trial = _Trial(scenario, base, runner, kept)
    try:
        found = trial.knee() if base.knees else trial.nearer()
    except _Apart:
        return Tried(untried="its replications differ too much; lengthen the duration")
    if found is None:
        return Tried()
    effect = Effect(
        field=change.field, before=change.before, after=change.after, meaning=change.meaning,
        costs=_costs(trial.at_today()), **found,
    )  # fmt: skip
    return Tried(effect=effect)


class _Apart(Exception):
    """A replication holds or breaks far beyond the others."""


class _Trial:
    """The runs of one change, and the search for its knee."""

    def __init__(self, scenario: Scenario, base: Base, runner: Runner, kept: KeptRuns) -> None:
        self._scenario = scenario
        self._base = base
        self._runner = runner
        self._kept = kept
        self._kpis = [kpi for kpi in scenario.judged() if kpi.name not in base.without]
        self._is_steady = is_steady_late(scenario)
        self.runs: Table = {}

    def at(self, rate: float, number: int) -> Found:
        """Return what replication *number* found at *rate*."""
        self._complete((rate,), (number,))
        return self.runs[rate][number]

    def at_today(self) -> list[Found]:
        """Return what the replications found at today's rate."""
        self._complete((self._base.today,), range(RUNS))
        return [self.runs[self._base.today][number] for number in range(RUNS)]

    def knee(self) -> dict[str, Any] | None:
        """Return the fields of the effect on the knee, None where it is little."""
        own = self._base.knees[0]
        bracket = self._bracket(own)
        if bracket is None:
            return None
        low, high = bracket
        if low is None or high is None:
            rate = low or high or own
            if high is None:
                return {"ratio": rate / own, "rate": rate, "bound": "at least"}
            values = self.runs[rate][0].metrics
            names = [k.name for k in self._kpis if not _meets(k, values.get(k.name))]
            first = dict.fromkeys(names or [""], 1)
            return {"ratio": rate / own, "rate": rate, "bound": "at most", "first": first}
        while high / low > CLOSE:
            middle = math.sqrt(low * high)
            if self._breaks(middle, 0):
                high = middle
            else:
                low = middle
        found = self._knees(low, high)
        pairs = [(found[n], self._base.knees[n]) for n in range(RUNS) if n in found]
        if len(pairs) < RUNS:
            raise _Apart
        ratio = estimate_of([with_it / without for (with_it, _), without in pairs])
        return {
            "ratio": ratio.value,
            "interval": ratio.interval,
            "rate": estimate_of([with_it for (with_it, _), _ in pairs]).value,
            "first": dict(Counter(name for (_, name), _ in pairs).most_common()),
        }

    def _bracket(self, own: float) -> tuple[float | None, float | None] | None:
        """Return a rate that holds and one that breaks in the first replication.

        None where they are near its own knee; one of them is None where it was not found.
        """
        near = own * NEAR
        if self._breaks(near, 0):
            if self._is_same(self.runs[near][0]) or not self._breaks(own / NEAR, 0):
                return None
            rate = own / NEAR
            while rate > own / MOST:
                below = rate / STRIDE
                if not self._breaks(below, 0):
                    return below, rate
                rate = below
            return None, rate
        low = near
        most = min(own * MOST, self._base.bound)
        while low < most:
            rate = min(low * STRIDE, most)
            if self._breaks(rate, 0):
                return low, rate
            low = rate
        return low, None

    def _is_same(self, found: Found) -> bool:
        """Whether nothing that is judged differs from the run without the change."""
        own = self._base.near
        return own is not None and all(
            found.metrics.get(k.name) == own.metrics.get(k.name) for k in self._kpis
        )

    def _knees(self, low: float, high: float) -> dict[int, tuple[float, str]]:
        numbers = range(RUNS)
        self._complete((low, high), numbers)
        known: dict[int, tuple[float, str]] = {}
        for _ in range(3 * EXTENSIONS):
            found = knees(self.runs, self._kpis, is_steady=self._is_steady)
            known = {n: k for n in numbers if (k := found.get(n)) is not None}
            if len(known) == len(numbers):
                break
            for number in (n for n in numbers if n not in known):
                mine = sorted(rate for rate in self.runs if number in self.runs[rate])
                is_below = self._breaks(mine[0], number)
                self._complete((mine[0] / STEP if is_below else mine[-1] * STEP,), (number,))
        return known

    def nearer(self) -> dict[str, Any] | None:
        """Return the fields of the effect on KPIs that no rate meets, None where it is little."""
        missed = _missed(self._scenario, self._base)
        start = self._base.today
        if abs(self._closed(self.at(start, 0), 0, missed)) < NEAR - 1:
            return None
        found = self.at_today()
        closed = estimate_of([self._closed(each, n, missed) for n, each in enumerate(found)])
        values = {k.name: v for k in missed if (v := mean(found, k.name)) is not None}
        return {"closed": closed.value, "interval": closed.interval, "values": values}

    def _closed(self, found: Found, number: int, missed: Sequence[Kpi]) -> float:
        """Return the mean share of the way to their targets that *missed* KPIs go, at most all."""
        shares = []
        for kpi in missed:
            before = self._base.at_today[number].metrics.get(kpi.name, math.inf)
            after = found.metrics.get(kpi.name, math.inf)
            way = kpi.target.value - before
            if not math.isfinite(before) or not math.isfinite(after) or way == 0:
                shares.append(0.0)
            else:
                shares.append(min(1.0, max(-1.0, (after - before) / way)))
        return math.fsum(shares) / len(shares) if shares else 0.0

    def _breaks(self, rate: float, number: int) -> bool:
        return breaks(self.at(rate, number), self._kpis, is_steady=self._is_steady)

    def _complete(self, rates: Sequence[float], numbers: Sequence[int]) -> None:
        for rate in rates:
            missing = [n for n in numbers if n not in self.runs.get(rate, {})]
            if missing:
                found = _found(at_rate(self._scenario, rate), missing, self._runner, self._kept)
                self.runs.setdefault(rate, {}).update(found)


def _base(
    scenario: Scenario, plan: CapacityPlan, kept: KeptRuns, runner: Runner, *, is_compiled: bool
) -> Base:
    """Return what changes are compared with, after the runs that this takes."""

    def at(rate: float, numbers: Sequence[int]) -> dict[int, Found]:
        return _found(at_rate(scenario, rate), numbers, runner, kept)

    knees_ = plan.knee.each[:RUNS] if plan.knee is not None else ()
    start = rate_of(scenario)
    today = plan.today if knees_ and plan.today else start
    most = math.inf
    if not is_trace(scenario):
        most = start * MAX_REQUESTS / len(prepare_measured(scenario).workload)
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


def _found(
    scenario: Scenario, numbers: Sequence[int], runner: Runner, kept: KeptRuns
) -> dict[int, Found]:
    """Return what the replications *numbers* found, after the runs that are not kept yet."""
    known = kept.of(scenario, numbers)
    missing = [number for number in numbers if number not in known]
    if missing:
        fresh = dict(zip(missing, runner.run(scenario, missing, _ignored), strict=True))
        kept.keep(scenario, fresh)
        known |= fresh
    return known


def _missed(scenario: Scenario, base: Base) -> list[Kpi]:
    """Return the KPIs that the mean misses at today's rate."""
    found = [*base.at_today.values()]
    judged = [kpi for kpi in scenario.judged() if kpi.name not in base.without]
    values = {kpi.name: mean(found, kpi.name) for kpi in judged}
    return [k for k in judged if (v := values[k.name]) is not None and not k.target.holds(v)]


def _meets(kpi: Kpi, value: float | None) -> bool:
    return value is not None and kpi.target.holds(value)


def _costs(found: Sequence[Found]) -> dict[str, float]:
    names = [each.alias for each in CHARGES if each.function == "cost"]
    return {name: value for name in names if (value := mean(found, name)) is not None}


def _splits(
    scenario: Scenario, base: Base, runner: Runner, kept: KeptRuns
) -> tuple[IsolateSplit, ...]:
    """Return who answers the cache reads for fewer and more isolates, at today's rate."""
    own = scenario.topology.isolates
    found = []
    for number in sorted({max(1, round(own * factor)) for factor in SPLITS}):
        topology = scenario.topology.model_copy(update={"isolates": number})
        changed = scenario.model_copy(update={"topology": topology})
        if topology.process_count * number > 65_536 or scenario.tiers.l1.scope != "isolate":
            continue
        if base.is_compiled and uncovered(changed, prepare_measured(changed)):
            continue
        runs = _found(at_rate(changed, base.today), range(RUNS), runner, kept)
        each = [runs[n] for n in range(RUNS)]
        shares = {s: v for s in _SHARES if (v := mean(each, s)) is not None}
        if shares:
            ends = {s: i for s in shares if (i := interval(each, s)) is not None}
            found.append(IsolateSplit(isolates=number, shares=shares, intervals=ends))
    return tuple(found)


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


def _ignored(_: int) -> None:
    """Tell nobody."""
