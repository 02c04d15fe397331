"""One change of a scenario: the search for its knee, on the random numbers of the plan."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.cost.next_values import NextValue
from core.metrics.charge import CHARGES
from core.metrics.estimate import estimate_of
from core.metrics.kpi import Kpi
from core.metrics.what_helps import Effect
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from sim.capacity import EXTENSIONS, STEP, Runner
from sim.coverage import uncovered
from sim.kept_runs import KeptRuns
from sim.knee import breaks, knees
from sim.rates import at_rate, is_steady_late, mean
from sim.replications import Found

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

Table = dict[float, dict[int, Found]]


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


def try_change(change: NextValue, base: Base, runner: Runner, kept: KeptRuns) -> Tried:
    """Return what *change* comes to; *kept*: runs so far, to which it adds."""
    scenario = change.scenario
    if base.is_compiled and (reason := uncovered(scenario, prepare_measured(scenario))):
        return Tried(untried=f"the compiled engine does not simulate {reason}")
    trial = Trial(scenario, base, runner, kept)
    try:
        found = trial.knee() if base.knees else trial.nearer()
    except _Apart:
        return Tried(untried="its replications differ too much; lengthen the duration")
    if found is None:
        return Tried()
    effect = Effect(
        field=change.field, before=change.before, after=change.after, meaning=change.meaning,
        costs=costs_of(trial.at_today()), **found,
    )  # fmt: skip
    return Tried(effect=effect)


class _Apart(Exception):
    """A replication holds or breaks far beyond the others."""


class Trial:
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
        missed = missed_kpis(self._scenario, self._base)
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
                there = at_rate(self._scenario, rate)
                self.runs.setdefault(rate, {}).update(
                    found_of(there, missing, self._runner, self._kept)
                )


def found_of(
    scenario: Scenario, numbers: Sequence[int], runner: Runner, kept: KeptRuns
) -> dict[int, Found]:
    """Return what the replications *numbers* found, after the runs that are not kept yet."""
    known = kept.of(scenario, numbers)
    missing = [number for number in numbers if number not in known]
    if missing:
        fresh = dict(zip(missing, runner.run(scenario, missing, _untold), strict=True))
        kept.keep(scenario, fresh)
        known |= fresh
    return known


def missed_kpis(scenario: Scenario, base: Base) -> list[Kpi]:
    """Return the KPIs that the mean misses at today's rate."""
    found = [*base.at_today.values()]
    judged = [kpi for kpi in scenario.judged() if kpi.name not in base.without]
    values = {kpi.name: mean(found, kpi.name) for kpi in judged}
    return [k for k in judged if (v := values[k.name]) is not None and not k.target.holds(v)]


def _meets(kpi: Kpi, value: float | None) -> bool:
    return value is not None and kpi.target.holds(value)


def costs_of(found: Sequence[Found]) -> dict[str, float]:
    """Return the mean of each figure of the bill."""
    names = [each.alias for each in CHARGES if each.function == "cost"]
    return {name: value for name in names if (value := mean(found, name)) is not None}


def _untold(_: int) -> None:
    """Tell nobody."""
