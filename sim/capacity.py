"""Capacity planning: the highest arrival rate that meets every KPI."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Protocol

from core.errors import InputError
from core.metrics.capacity import CapacityPlan, CapacityPoint, Knee
from core.metrics.charge import CHARGES
from core.metrics.estimate import estimate_of
from core.metrics.kpi import Kpi, judge
from core.scenario.calibration import Calibration
from core.scenario.file import scenario_hash
from core.scenario.pace import rate_of
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from sim.engine_name import EngineName
from sim.engines import Engine
from sim.kept_runs import KeptRuns
from sim.knee import MOST_RUNS, breaks, knees
from sim.rates import at_rate, interval, is_steady_late, is_trace, mean, saturated, why
from sim.replications import Found, Replications, replications

RUNS = 4
"""Runs at each rate, including the one with the scenario's own random numbers."""
KNEE_RUNS = 10
"""Runs at the rates around the knee."""
PRECISION = 0.02
"""Half of the knee's interval over the knee, for which replications are added."""
STEP = 1.03
"""From one rate to the next where a replication breaks beyond the rates between which the mean
does."""
EXTENSIONS = 8
RESOLUTION = 0.02
HALVINGS = 6
REACH = 16
"""The default bound, as a multiple of the rate at which the search begins."""
MAX_REQUESTS = 400_000
"""Of one run at one rate."""
_HIGHEST = 1e6  # requests/s, as with --rate

OnPoint = Callable[[CapacityPoint], None]


class Runner(Protocol):
    """Runs replications of a scenario."""

    def run(
        self, scenario: Scenario, numbers: Sequence[int], on_done: Callable[[int], None]
    ) -> tuple[Found, ...]:
        """Return what replications *numbers* found, in their order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The progress of a plan: the rate that is simulated, and the requests that may be left.

    requests: simulated so far. left: the most requests still simulated before the plan ends.
    """

    rate: float
    requests: float
    left: float

    @property
    def share(self) -> float:
        """The share that is done; all of it where every run is known from an earlier search."""
        total = self.requests + self.left
        return self.requests / total if total else 1.0


OnStep = Callable[[Step], None]


def plan_capacity(
    scenario: Scenario,
    *,
    runs: int = RUNS,
    max_rate: float | None = None,
    precision: float = PRECISION,
    today: float | None = None,
    kept: KeptRuns | None = None,
    calibration: Calibration | None = None,
    jobs: int = 1,
    engine: EngineName = "reference",
    on_compiling: Callable[[], None] | None = None,
    runner: Runner | None = None,
    on_point: OnPoint | None = None,
    on_step: OnStep | None = None,
) -> CapacityPlan:
    """Return the two arrival rates between which the first KPI of *scenario* breaks.

    Each KPI is judged on its mean over *runs* replications; all rates use the same random numbers.
    Rates double from the scenario's own until one breaks, or halve until one holds, and are then
    bisected until they are within 2 % of each other. The highest rate tried is *max_rate*, by
    default 16 times the scenario's own. A cache gains hits with traffic: if a KPI that breaks is
    further from its target at half the rate, the search goes upwards.

    Around these two rates ten replications run, more until half of the knee's interval is at most
    *precision* of it, and each has a knee of its own (`sim.knee`); their mean is the plan's.

    today: the rate that the headroom is told of. kept: runs of earlier commands, to
    which this one adds. calibration: values learned of the service, which replace
    the scenario's. jobs: processes; the result does not depend on it. runner: runs the replications
    in place of the simulation. engine: which one simulates (`sim.engines`); on_compiling is called
    before it is compiled. Ctrl-C ends the search, and the plan holds the results so far. Raise
    InputError if the requests cannot be made, or if no KPI can be measured.
    """
    bound = checked_bound(scenario, max_rate)
    search = _Search(scenario, runs, bound, on_point, on_step, kept or KeptRuns())
    knee = None
    interrupted = False
    try:
        chosen = Engine(
            asked=engine, requests=float(runs * MAX_REQUESTS), on_compiling=on_compiling or _silent
        )
        if runner is None:
            chosen.prepare(scenario, prepare_measured(scenario), calibration)
        with replications(min(jobs, runs), calibration, chosen) as pool:
            good, bad = search.run(runner or pool)
            if good is not None and bad is not None:
                knee = search.knee(good, bad, precision)
    except KeyboardInterrupt:
        if not search.points:
            raise
        interrupted = True
        good, bad = search.so_far()
    points = search.points
    found = CapacityPlan(
        scenario=scenario.name,
        scenario_hash=scenario_hash(scenario),
        seed=scenario.seed,
        replications=runs,
        kpis=scenario.judged(),
        points=tuple(points[rate] for rate in sorted(points)),
        highest_rate=good,
        breaking_rate=bad,
        breaks_first=points[bad].broken if bad is not None else (),
        bound=bound,
        unmeasured=search.unmeasured(good),
        interrupted=interrupted,
        knee=knee,
        today=today,
    )
    return replace(found, eased=tuple(name for name in found.never_met if search.eases(name)))


def checked_bound(scenario: Scenario, max_rate: float | None = None) -> float:
    """Return the highest rate that a plan of *scenario* tries.

    Raise InputError if the scenario has no rate that could be changed, or if *max_rate* lies below
    the rate at which the search begins or asks for more requests than a run may have.
    """
    start = rate_of(scenario)
    if start <= 0:
        raise InputError(
            f"{scenario.name}: every stage has the rate 0, or every access of the trace the same "
            "time; there is nothing to plan"
        )
    for kpi in scenario.judged() if is_trace(scenario) else ():
        if kpi.metric.part is not None and kpi.metric.part.stage is None:
            raise InputError(
                f"{scenario.name}: kpis: {kpi.name}: a plan stretches the times of a trace, so a "
                "window of time holds other accesses at each rate; judge the whole run"
            )
    workload = prepare_measured(scenario).workload
    most = math.inf if is_trace(scenario) else start * MAX_REQUESTS / len(workload)
    if max_rate is None:
        return max(start, min(REACH * start, most, _HIGHEST))
    if not max_rate <= _HIGHEST:
        raise InputError(f"--max-rate is {max_rate:g}; it is at most {_HIGHEST:.0f} requests/s")
    if max_rate < start:
        raise InputError(
            f"--max-rate is {max_rate:g}; the search begins at {start:g} requests/s: raise it, or "
            "begin lower with --rate"
        )
    if max_rate > most:
        asked = MAX_REQUESTS * max_rate / most
        raise InputError(
            f"--max-rate is {max_rate:g}; a run at that rate has {asked:,.0f} requests, and one of "
            f"a plan at most {MAX_REQUESTS:,}: give at most {most:,.0f}, or shorten the duration"
        )
    return max_rate


def _bisections(good: float, bad: float) -> int:
    """Return the number of bisections until *good* and *bad* are close enough."""
    return max(0, math.ceil(math.log2(math.log(bad / good) / math.log1p(RESOLUTION)) - 1e-9))


class _Search:
    """The rates that were tried, and the search for the next one."""

    def __init__(
        self,
        scenario: Scenario,
        runs: int,
        bound: float,
        on_point: OnPoint | None,
        on_step: OnStep | None,
        kept: KeptRuns,
    ) -> None:
        self._kept = kept
        self._found: dict[float, dict[int, Found]] = {}
        self._scenario = scenario
        self._kpis = {kpi.name: kpi for kpi in scenario.judged()}
        self._runs = runs
        self._bound = bound
        self._pool: Runner = Replications()
        self._on_point = on_point
        self._on_step = on_step
        self._start = rate_of(scenario)
        self._requests = float(len(prepare_measured(scenario).workload) * runs)
        self._simulated = 0.0
        self._without: set[str] = set()
        self.points: dict[float, CapacityPoint] = {}

    def run(self, pool: Runner) -> tuple[float | None, float | None]:
        """Return the highest rate that holds and the one above it that breaks, tried on *pool*."""
        self._pool = pool
        good, bad = self._bracket()
        while good is not None and bad is not None and bad / good > 1 + RESOLUTION:
            middle = (good * bad) ** 0.5
            left = _bisections(good, bad) - 1
            if self._holds(middle, left=left * self._cost(bad)):
                good = middle
            else:
                bad = middle
        return good, bad

    def _bracket(self) -> tuple[float | None, float | None]:
        """Return a rate that holds and one above it that breaks; None for one not found."""
        start = self._start
        if self._holds(start, left=self._left_up(start)):
            return self._up(start)
        if self._holds(start / 2, left=self._left_down(start / 2)):
            return start / 2, start
        if self._eases(start / 2, start):
            return self._climb(start)
        rate = start / 2
        for _ in range(HALVINGS - 1):
            if self._holds(rate / 2, left=self._left_down(rate / 2)):
                return rate / 2, rate
            rate /= 2
        return None, rate

    def _up(self, good: float) -> tuple[float, float | None]:
        while good < self._bound:
            rate = min(2 * good, self._bound)
            if not self._holds(rate, left=self._left_up(rate)):
                return good, rate
            good = rate
        return good, None

    def _climb(self, rate: float) -> tuple[float | None, float | None]:
        """Go up from a *rate* that breaks, as long as the broken KPIs come nearer their targets."""
        while rate < self._bound:
            below, rate = rate, min(2 * rate, self._bound)
            if self._holds(rate, left=self._left_up(rate)):
                return self._up(rate)
            if not self._eases(below, rate):
                break
        return None, min(self.points)

    def _eases(self, lower: float, higher: float) -> bool:
        """Whether all KPIs that break at *higher* are further from their targets at *lower*."""
        low, high = self.points[lower], self.points[higher]
        if high.saturated:
            return False
        return all(
            name in low.values
            and name in high.values
            and _is_worse(self._kpis[name], low.values[name], high.values[name])
            for name in high.broken
        )

    def eases(self, name: str) -> bool:
        """Whether the KPI *name*, measured at every rate, is nearest its target at the bound."""
        *others, highest = (self.points[rate].values[name] for rate in sorted(self.points))
        kpi = self._kpis[name]
        return self._bound in self.points and all(_is_worse(kpi, v, highest) for v in others)

    def so_far(self) -> tuple[float | None, float | None]:
        """Return the highest rate that held, and the lowest above it that broke."""
        good = max((rate for rate, point in self.points.items() if point.holds), default=None)
        above = [r for r, p in self.points.items() if not p.holds and (good is None or r > good)]
        return good, min(above, default=None)

    def unmeasured(self, rate: float | None) -> dict[str, str]:
        """Return why KPIs were not measured at *rate* (None: at any rate), by name."""
        points = self.points.values() if rate is None else [self.points[rate]]
        seen = {name for point in points for name in point.values}
        return {n: why(self._scenario, kpi) for n, kpi in self._kpis.items() if n not in seen}

    def _cost(self, rate: float) -> float:
        """Return the number of requests of all runs at *rate*."""
        return self._requests * (1.0 if is_trace(self._scenario) else rate / self._start)

    def _left_up(self, rate: float) -> float:
        """Return the most requests that are left after *rate*, going up."""
        left, highest = 0.0, rate
        while highest < self._bound:
            highest = min(2 * highest, self._bound)
            left += self._cost(highest)
        return left + _bisections(1.0, 2.0) * self._cost(highest)

    def _left_down(self, rate: float) -> float:
        """Return the most requests that are left after *rate*, going down."""
        lowest = self._start / 2**HALVINGS
        left, higher = 0.0, rate
        while rate > lowest * 1.5:
            rate /= 2
            left += self._cost(rate)
        return left + _bisections(1.0, 2.0) * self._cost(higher)

    def _holds(self, rate: float, *, left: float) -> bool:
        """Return whether every KPI holds at *rate*; *left*: requests after it, at most."""
        if rate not in self.points:
            # Behind the search about three rates get the further replications of the knee.
            knee = 3 * max(0, KNEE_RUNS - self._runs) / self._runs * self._cost(rate)
            self.points[rate] = self._point(rate, left + knee)
            if self._on_point is not None:
                self._on_point(self.points[rate])
        return self.points[rate].holds

    def knee(self, good: float, bad: float, precision: float) -> Knee | None:
        """Return the mean of the replications' knees with its interval, None without a bracket.

        good, bad: the rates between which the mean breaks.
        """
        runs = max(self._runs, KNEE_RUNS)
        found = self._knees(range(runs), good, bad)
        while found is not None:
            more = min(2 * runs, MOST_RUNS, ceil(runs * (found.half_width / precision) ** 2))
            if found.half_width <= precision or more <= runs:
                break
            runs = more
            found = self._knees(range(runs), good, bad)
        return found

    def _knees(self, numbers: Sequence[int], good: float, bad: float) -> Knee | None:
        is_steady = is_steady_late(self._scenario)
        judged = [kpi for kpi in self._kpis.values() if kpi.name not in self._without]
        self._complete((good, bad), numbers)
        found: dict[int, tuple[float, str] | None] = {}
        for _ in range(EXTENSIONS):
            found = knees(self._found, judged, is_steady=is_steady)
            unknown = [number for number in numbers if found.get(number) is None]
            if not unknown:
                break
            rates = sorted(self._found)
            outside = []
            for number in unknown:
                mine = [rate for rate in rates if number in self._found[rate]]
                runs = [self._found[rate][number] for rate in mine]
                broken = [breaks(run, judged, is_steady=is_steady) for run in runs]
                outside.append(mine[0] / STEP if broken[0] else mine[-1] * STEP)
            if max(outside) > self._bound * STEP or min(outside) < self._start / 2**HALVINGS:
                return None
            for rate in dict.fromkeys(outside):
                self._complete(
                    (rate,), [n for n, r in zip(unknown, outside, strict=True) if r == rate]
                )
        known = [each for each in (found.get(number) for number in numbers) if each is not None]
        if len(known) < len(numbers):
            return None
        estimate = estimate_of([rate for rate, _ in known])
        assert estimate.interval is not None
        return Knee(
            rate=estimate.value,
            interval=estimate.interval,
            runs=len(known),
            first=dict(Counter(name for _, name in known).most_common()),
            each=tuple(rate for rate, _ in known),
        )

    def _complete(self, rates: Sequence[float], numbers: Sequence[int]) -> None:
        """Run those of the replications *numbers* at *rates* that have not run there."""
        for rate in rates:
            missing = [n for n in numbers if n not in self._found.get(rate, {})]
            if missing:
                self._run(rate, missing, left=0.0)

    def _point(self, rate: float, left: float) -> CapacityPoint:
        self._run(rate, range(self._runs), left)
        return self._judged(rate)

    def _run(self, rate: float, numbers: Sequence[int], left: float) -> None:
        scenario = at_rate(self._scenario, rate)
        each = self._cost(rate) / self._runs
        known = self._kept.of(scenario, numbers)
        missing = [number for number in numbers if number not in known]
        cost = each * len(missing)

        def tell(done: int) -> None:
            if self._on_step is not None:
                share = each * done
                step = Step(rate=rate, requests=self._simulated + share, left=cost - share + left)
                self._on_step(step)

        tell(0)
        if missing:
            found = self._pool.run(scenario, missing, tell)
            known |= dict(zip(missing, found, strict=True))
            self._kept.keep(scenario, dict(zip(missing, found, strict=True)))
        self._simulated += cost
        self._found.setdefault(rate, {}).update(known)

    def _judged(self, rate: float) -> CapacityPoint:
        scenario = at_rate(self._scenario, rate)
        found = [self._found[rate][number] for number in range(self._runs)]
        judged = tuple(self._kpis.values())
        means = {kpi.name: mean(found, kpi.name) for kpi in judged}
        if not self.points:
            self._without = {name for name, value in means.items() if value is None}
            if len(self._without) == len(judged):
                raise InputError(_nothing_measured(scenario, rate, judged))
        verdicts = [judge(kpi, means[kpi.name]) for kpi in judged]
        return CapacityPoint(
            rate=rate,
            values={v.kpi.name: v.value for v in verdicts if v.value is not None},
            outcomes={
                v.kpi.name: str(v.outcome)
                for v in verdicts
                if v.value is not None or v.kpi.name not in self._without
            },
            saturated=saturated(scenario, found),
            runs=len(found),
            intervals={name: ends for name in means if (ends := interval(found, name)) is not None},
            utilisation={
                name: round(max(each.loads[name].utilisation for each in found), 4)
                for name in found[0].loads
                if all(name in each.loads for each in found)
            },
            costs={
                each.alias: value
                for each in CHARGES
                if (value := mean(found, each.alias)) is not None
            },
        )


def _is_worse(kpi: Kpi, value: float, other: float) -> bool:
    return value > other if kpi.target.is_upper else value < other


def _nothing_measured(scenario: Scenario, rate: float, kpis: tuple[Kpi, ...]) -> str:
    reasons = "; ".join(f"{kpi.name}: {why(scenario, kpi)}" for kpi in kpis)
    return (
        f"{scenario.name}: no KPI could be measured at {rate:g} requests/s ({reasons}); a KPI that "
        "was not measured holds nothing: judge one that this traffic shows, or change the traffic"
    )


def _silent() -> None:
    """Say nothing."""
