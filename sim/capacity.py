"""Capacity planning: the highest arrival rate that meets every KPI."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from core.capacity import CapacityPlan, CapacityPoint
from core.errors import InputError
from core.kpi import Outcome, judge
from core.pace import rate_of, with_rate
from core.replay import timed_window
from core.scenario import Scenario
from core.scenario_file import scenario_hash
from core.trace import read_trace
from core.workload import arrivals
from sim.simulate import simulate

RESOLUTION = 0.02
MAX_RATE = 1e5
MAX_REQUESTS = 400_000
"""Simulated at one rate; a plan that would need more ends there."""

OnPoint = Callable[[CapacityPoint], None]


def plan_capacity(
    scenario: Scenario, *, replications: int = 0, on_point: OnPoint | None = None
) -> CapacityPlan:
    """Return between which two arrival rates the first KPI of *scenario* breaks.

    The stages are scaled as --rate does. Rates double or halve from the scenario's own until one
    holds and one breaks, and are then bisected until they are within 2 % of each other; every
    rate uses the same random numbers. A cache gains hits with traffic, so a rate below one that
    holds can break: the rates from the scenario's own upwards are tried in doubling steps first,
    and the highest rate that holds counts. Raise InputError if the requests cannot be made.
    """
    check_plannable(scenario)
    points: dict[float, CapacityPoint] = {}

    def holds(rate: float) -> bool:
        if rate not in points:
            points[rate] = _point(scenario, rate, replications)
            if on_point is not None:
                on_point(points[rate])
        return points[rate].holds

    rate = rate_of(scenario)
    limit = min(MAX_RATE, MAX_REQUESTS / scenario.total_time)
    if scenario.trace.file is not None:
        limit = min(limit, _trace_limit(scenario, Path(scenario.trace.file), rate))
    good, bad = _bracket(rate, holds, limit=limit)
    while good is not None and bad is not None and bad / good > 1 + RESOLUTION:
        middle = (good * bad) ** 0.5
        if holds(middle):
            good = middle
        else:
            bad = middle
    return CapacityPlan(
        scenario=scenario.name,
        scenario_hash=scenario_hash(scenario),
        seed=scenario.seed,
        replications=max(replications, 1),
        points=tuple(points[rate] for rate in sorted(points)),
        highest_rate=good,
        breaking_rate=bad,
        breaks_first=points[bad].broken if bad is not None else (),
    )


def check_plannable(scenario: Scenario) -> None:
    """Raise InputError if *scenario* has no rate that could be changed."""
    if scenario.trace.limit is not None and timed_window(scenario) is None:
        raise InputError(
            f"trace.limit is {scenario.trace.limit}; every rate needs accesses of its own: leave "
            "--trace-limit out"
        )
    if rate_of(scenario) <= 0:
        raise InputError(
            f"{scenario.name}: every stage has the rate 0, or every access of the trace the same "
            "time; there is nothing to plan"
        )
    if scenario.trace.file is not None:
        _trace_limit(scenario, Path(scenario.trace.file), 1.0)


def _trace_limit(scenario: Scenario, path: Path, rate: float) -> float:
    """Return the highest rate for which the trace at *path* has accesses; InputError if none."""
    if read_trace(path, stop=1, time_unit=scenario.trace.time_unit).times is not None:
        return math.inf  # every rate replays the same accesses
    trace = read_trace(path)
    available = trace.keys.size - (scenario.trace.offset or 0)
    # Arrivals are random: a twentieth is kept in hand.
    return rate * available / (1.05 * max(1, arrivals(scenario).size))


def _bracket(
    rate: float, holds: Callable[[float], bool], *, limit: float
) -> tuple[float | None, float | None]:
    """Return a rate that holds and one above it that breaks; None for one that was not found."""
    if holds(rate):
        good = rate
        while good * 2 <= limit:
            if not holds(good * 2):
                return good, good * 2
            good *= 2
        return good, None
    bad = rate
    while bad / 2 >= rate / 64:
        if holds(bad / 2):
            return bad / 2, bad
        bad /= 2
    return None, bad


def _point(scenario: Scenario, rate: float, replications: int) -> CapacityPoint:
    record = simulate(with_rate(scenario, rate), replications=replications).record
    verdicts = [judge(kpi, record.metric(kpi.metric)) for kpi in scenario.judged()]
    return CapacityPoint(
        rate=rate,
        values={v.kpi.name: v.value for v in verdicts if v.value is not None},
        outcomes={v.kpi.name: str(v.outcome) for v in verdicts if v.outcome in Outcome},
    )
