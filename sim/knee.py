"""The knee of each replication: the rate at which its first KPI breaks, or a server saturates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from core.metrics.kpi import Kpi
from sim.rates import SATURATION
from sim.replications import Found

MOST_RUNS = 40
"""Replications of a plan, at most."""


def breaks(found: Found, kpis: Sequence[Kpi], *, is_steady: bool) -> bool:
    """Whether one replication misses a target, lacks a KPI, or has a queue that grows.

    is_steady: whether a growing queue can only come from the rate.
    """
    if is_steady and grows(found):
        return True
    values = found.metrics
    return any(k.name not in values or not k.target.holds(values[k.name]) for k in kpis)


def grows(found: Found) -> bool:
    """Whether a server's queue grew in the second half of this one run, by far."""
    if found.saturated:
        return True
    return any(load.growth > SATURATION and load.utilisation > 1 for load in found.loads.values())


def bracket(rates: Sequence[float], broken: Sequence[bool]) -> tuple[float | None, float | None]:
    """Return the highest of *rates* below the lowest that is *broken*, and that one.

    None for one that is not among them. rates: ascending.
    """
    for place, is_broken in enumerate(broken):
        if is_broken:
            return (rates[place - 1] if place else None), rates[place]
    return (rates[-1] if rates else None), None


def crossing(
    low: float, below: Found, high: float, above: Found, kpis: Sequence[Kpi]
) -> tuple[float, str]:
    """Return where between two rates a replication's first KPI crosses its target, and which.

    Latencies are interpolated on logarithmic scales, shares on linear ones. Where nothing can be
    interpolated it is the middle, and a queue that grows has no name.
    """
    found: list[tuple[float, str]] = []
    middle = math.sqrt(low * high)
    for kpi in kpis:
        first, last = below.metrics.get(kpi.name), above.metrics.get(kpi.name)
        if last is not None and kpi.target.holds(last):
            continue
        share = 0.5
        if first is not None and last is not None and math.isfinite(first) and math.isfinite(last):
            share = _share(first, last, kpi.target.value, is_log=kpi.metric.unit == "seconds")
        found.append((low * (high / low) ** share, kpi.name))
    return min(found, default=(middle, ""))


def _share(first: float, last: float, target: float, *, is_log: bool) -> float:
    if is_log and min(first, last, target) > 0:
        first, last, target = math.log(first), math.log(last), math.log(target)
    if first == last:
        return 0.5
    return min(1.0, max(0.0, (target - first) / (last - first)))


def knees(
    table: Mapping[float, Mapping[int, Found]], kpis: Sequence[Kpi], *, is_steady: bool
) -> dict[int, tuple[float, str] | None]:
    """Return the knee of each replication and what broke there, None where no bracket is known."""
    numbers = sorted({number for found in table.values() for number in found})
    result: dict[int, tuple[float, str] | None] = {}
    for number in numbers:
        rates = sorted(rate for rate, found in table.items() if number in found)
        broken = [breaks(table[r][number], kpis, is_steady=is_steady) for r in rates]
        low, high = bracket(rates, broken)
        result[number] = None
        if low is not None and high is not None:
            result[number] = crossing(low, table[low][number], high, table[high][number], kpis)
    return result
