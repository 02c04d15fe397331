"""What a capacity plan found, in words and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.metrics.capacity import CapacityPlan, CapacityPoint, Knee
from core.metrics.kpi import Kpi
from core.units import format_dollars
from reports import tables, words


def capacity_finding(plan: CapacityPlan) -> str:
    """Return in one sentence up to which rate every KPI holds, and what breaks."""
    text = _nothing_holds(plan) if plan.highest_rate is None else _up_to(plan, plan.highest_rate)
    if plan.unmeasured:
        reasons = [f"{name} ({why})" for name, why in plan.unmeasured.items()]
        text += f"; not measured, and not vouched for: {words.listed(reasons)}"
    if plan.ended:
        text += f"; {plan.ended}"
    return f"Interrupted: so far, {text[0].lower()}{text[1:]}" if plan.interrupted else text


def _up_to(plan: CapacityPlan, rate: float) -> str:
    which = "Every KPI that was measured" if plan.unmeasured else "Every KPI"
    which += " is predicted to hold" if plan.engine == "simulate" else " holds, as measured,"
    limit = words.rate_text(rate)
    if plan.is_held:
        runs = next(point.runs for point in plan.points if point.rate == rate)
        limit += f" (the means of {runs} loads, with all of their intervals)"
    if plan.breaking_point is None:
        if plan.bound == rate:
            return f"{which} up to the bound of {limit}"
        return f"{which} up to {limit}, the highest rate tried"
    if plan.knee is not None:
        return _knee(plan, plan.knee, which)
    holds = f"{which} up to {limit}"
    point = plan.breaking_point
    at = f"at {words.rate_text(point.rate)}"
    if not plan.breaks_first:
        return f"{holds}; {at} {_saturation(point)}"
    if point.undecided == point.broken:
        is_one = len(point.broken) == 1
        text = (
            f"{holds}; {words.listed(point.broken)} {'is' if is_one else 'are'} undecided {at}: "
            f"{'its interval reaches' if is_one else 'their intervals reach'} beyond the target"
        )
    else:
        broken = [name for name in point.broken if name not in point.undecided]
        verb = "break" if len(broken) > 1 else "breaks"
        text = f"{holds}; {words.listed(broken)} {verb} first, {at}"
    return f"{text}, where {_saturation(point)}" if point.saturated else text


def _knee(plan: CapacityPlan, knee: Knee, which: str) -> str:
    """Return the knee with its interval, what breaks there first, and the headroom."""
    low, high = (words.rate_text(end).removesuffix(" requests/s") for end in knee.interval)
    text = f"{which} up to {words.rate_text(knee.rate)} ({low}–{high})"
    if plan.headroom is not None and plan.today is not None:
        text += f", {plan.headroom:.2g} times today's {words.rate_text(plan.today)}"
    names = [name for name in knee.first if name]
    if names:
        text += f"; {names[0]} breaks first"
        if len(names) > 1:
            others = words.listed([f"{name} in {knee.first[name]}" for name in names[1:]])
            text += f" (in {knee.first[names[0]]} of {knee.runs} replications, {others})"
    point = plan.breaking_point
    if point is not None and point.saturated:
        return f"{text}; {_saturation(point)}"
    if point is not None and point.utilisation:
        server, most = max(point.utilisation.items(), key=lambda pair: pair[1])
        text += f", where the {server} is at work {min(100.0, 100 * most):.0f} % of the time"
    return text


def knee_note(plan: CapacityPlan) -> str | None:
    """Return what the knee's interval is, None without a knee."""
    knee = plan.knee
    if knee is None:
        return None
    return (
        f"The rate is the mean of the knees of {knee.runs} replications on common random numbers, "
        f"in parentheses its 95 % confidence interval (±{100 * knee.half_width:.2g} %)."
    )


FEWEST_REQUESTS = 30_000
"""Of a run, below which the percentiles of its requests put the knee too high."""


def short_runs_note(plan: CapacityPlan, requests: float, duration: float) -> str | None:
    """Return that runs of so many *requests* in *duration* seconds bias the knee, None if not.

    requests: those of one run at the knee that are judged.
    """
    knee = plan.knee
    if knee is None or requests >= FEWEST_REQUESTS or not requests:
        return None
    percentiles = {kpi.name for kpi in plan.kpis if kpi.metric.quantile is not None}
    if not percentiles & {*knee.first}:
        return None
    seconds = duration * FEWEST_REQUESTS / requests
    return (
        f"A run at this rate has about {requests:,.0f} requests. Percentiles of so few put the "
        "rate too high: of an M/M/1 by 0.3 % at 8,500 requests, where the interval held the truth "
        f"in 92 of 100 plans. Take --set duration={math.ceil(seconds)}s for 30,000."
    )


def _saturation(point: CapacityPoint) -> str:
    """Return which servers cannot keep up at *point*."""
    servers = words.listed([f"the {name}" for name in point.saturated])
    one = len(point.saturated) == 1
    return (
        f"{servers} cannot keep up: {'its queue' if one else 'their queues'} still grew at the end"
    )


def _nothing_holds(plan: CapacityPlan) -> str:
    """Return why no rate holds, and whether the rate is the cause."""
    if not plan.points:
        return "No rate was tried"
    lowest, highest = plan.points[0].rate, plan.points[-1].rate
    if len(plan.points) == 1:
        reason = _broken(plan.points[0])
        return f"No rate tried holds every KPI: at {words.rate_text(lowest)} {reason}"
    tried = f"from {words.rate_text(lowest)} to {words.rate_text(highest)}"
    never = plan.never_met
    if never:
        verb = "misses its target" if len(never) == 1 else "miss their targets"
        text = f"No rate tried holds every KPI: {words.listed(never)} {verb} at every rate, {tried}"
        if set(never) <= set(plan.eased):
            closer = "its target" if len(never) == 1 else "their targets"
            return f"{text}, and came closest to {closer} at the highest: raise --max-rate"
        return f"{text}: the rate is not the cause"
    names = dict.fromkeys(name for point in plan.points for name in point.broken)
    clauses = [f"{name} breaks {_where(plan, name)}" for name in names]
    stuck = [point for point in plan.points if point.saturated]
    if stuck:
        clauses.append(f"{_saturation(stuck[0])} from {words.rate_text(stuck[0].rate)} on")
    return f"No rate tried, {tried}, holds every KPI: {'; '.join(clauses)}"


def _broken(point: CapacityPoint) -> str:
    clauses = [
        f"{name} misses its target"
        if name in point.missed
        else f"{name} is undecided"
        if name in point.undecided
        else f"{name} was not measured"
        for name in point.broken
    ]
    if point.saturated:
        clauses.append(_saturation(point))
    return words.listed(clauses)


def _where(plan: CapacityPlan, name: str) -> str:
    rates = [point.rate for point in plan.points if name in point.broken]
    low, high = words.rate_text(rates[0]), words.rate_text(rates[-1])
    if rates[-1] == plan.points[-1].rate:
        return f"from {low} on"
    return f"up to {high}" if rates[0] == plan.points[0].rate else f"between {low} and {high}"


def _shown(kpi: Kpi, point: CapacityPoint) -> str:
    """Return the figure of *kpi* at *point*, with its interval where that reaches too far."""
    value = point.values[kpi.name]
    text = words.number_of(kpi, value)
    if kpi.name not in point.undecided:
        return text
    return (
        f"undecided, {text} ({words.interval(kpi.metric, value, point.intervals[kpi.name], text)})"
    )


def points_table(plan: CapacityPlan, kpis: Sequence[Kpi]) -> list[tuple[str, ...]]:
    """Return the rates that were tried, with what breaks at each."""
    judged = {kpi.name: kpi for kpi in kpis}
    leading = leading_kpi(plan, kpis)
    if leading is not None and not any(leading.name in point.intervals for point in plan.points):
        leading = None
    if plan.engine == "load":
        leading = None  # what breaks stands in the last column, with its interval
    figure = "" if leading is None else leading.name
    rows: list[tuple[str, ...]] = [
        ("requests/s", "all KPIs hold", figure, "busiest", "1M requests", "a month", "breaks")
    ]
    for point in plan.points:
        parts = [
            f"{name} {_shown(judged[name], point)} (target {judged[name].target_text})"
            if name in judged and name in point.values
            else f"{name} not measured"
            for name in point.broken
        ]
        parts += [f"the {name} cannot keep up" for name in point.saturated]
        rate = words.rate_text(point.rate).removesuffix(" requests/s")
        rows.append(
            (
                rate,
                "yes" if point.holds else "no",
                words.DASH if leading is None else _with_interval(leading, point),
                _busiest(point),
                _dollars(point, "cost_per_million"),
                _dollars(point, "cost_per_month"),
                ", ".join(parts) or "-",
            )
        )
    return tables.filled(rows)


def _dollars(point: CapacityPoint, name: str) -> str:
    value = point.costs.get(name)
    return words.DASH if value is None else format_dollars(value)


def cost_note(plan: CapacityPlan) -> str | None:
    """Return what the highest rate that holds costs, None where that is not known."""
    point = next((p for p in plan.points if p.rate == plan.highest_rate), None)
    if point is None or "cost_per_month" not in point.costs:
        return None
    return (
        f"At {words.rate_text(point.rate)} a million requests cost "
        f"{format_dollars(point.costs['cost_per_million'])} at list prices, and a month "
        f"{format_dollars(point.costs['cost_per_month'])} with what the plan includes."
    )


def leading_kpi(plan: CapacityPlan, kpis: Sequence[Kpi]) -> Kpi | None:
    """Return the KPI that breaks first and is known at several rates, None without one."""
    first = () if plan.knee is None else plan.knee.first
    for name in (*first, *plan.breaks_first):
        for kpi in kpis:
            if kpi.name == name and any(name in point.values for point in plan.points):
                return kpi
    return None


def _with_interval(kpi: Kpi, point: CapacityPoint) -> str:
    value = point.values.get(kpi.name)
    if value is None:
        return words.DASH
    text, ends = words.number_of(kpi, value), point.intervals.get(kpi.name)
    return text if ends is None else f"{text} ({words.interval(kpi.metric, value, ends, text)})"


def _busiest(point: CapacityPoint) -> str:
    if not point.utilisation:
        return words.DASH
    name, most = max(point.utilisation.items(), key=lambda pair: pair[1])
    return f"{name} {100 * most:.0f} %"
