"""What the changes of a plan come to, in words and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.metrics.capacity import CapacityPlan
from core.metrics.growth import Forecast
from core.metrics.kpi import Kpi
from core.metrics.what_helps import Effect, WhatHelps
from core.units import format_dollars
from reports import tables, words

_COSTS = ("cost_per_million", "cost_per_month")
_CENT = 0.005
_AGES = 1_200.0  # months


def helps_table(plan: CapacityPlan, kpis: Sequence[Kpi]) -> list[tuple[str, ...]]:
    """Return the changes with an effect, the best first; only the header without one."""
    helps = plan.helps
    if helps is None:
        return []
    at = words.rate_text(helps.rate)
    costs = ("1M requests", f"a month at {at}")
    if plan.knee is None:
        judged = {kpi.name: kpi for kpi in kpis}
        rows = [("change", "of the way", *helps.missed, *costs)]
        for effect in helps.effects:
            values = [
                words.number_of(judged[name], effect.values[name])
                if name in judged and name in effect.values
                else words.DASH
                for name in helps.missed
            ]
            rows.append((effect.name, closed_text(effect), *values, *_costs(helps, effect)))
        return tables.filled(rows)
    header = ["change", "holds up to", "times", "then breaks", *costs]
    if plan.forecast is not None:
        header.insert(3, "months")
    rows = [tuple(header)]
    for effect in helps.effects:
        rate = words.DASH if effect.rate is None else words.rate_text(effect.rate)
        rate = rate.removesuffix(" requests/s")
        if effect.bound == "at most":
            rate = f"less than {rate}"
        elif effect.bound:
            rate = f"at least {rate}"
        cells = [effect.name, rate, times_text(effect), next_text(effect)]
        if plan.forecast is not None:
            cells.insert(3, months_text(effect, plan.forecast))
        rows.append((*cells, *_costs(helps, effect)))
    return tables.filled(rows)


def times_text(effect: Effect) -> str:
    """Return how many times the knee a change makes it, with the interval."""
    if effect.ratio is None:
        return words.DASH
    if effect.bound:
        sign = ">" if effect.bound == "at least" else "<"
        return f"{sign} {effect.ratio:.2f}"
    if effect.interval is None:
        return f"{effect.ratio:.2f}"
    low, high = effect.interval
    return f"{effect.ratio:.2f} ({low:.2f}–{high:.2f})"


def closed_text(effect: Effect) -> str:
    """Return the share of the way to the targets, with the interval."""
    if effect.closed is None:
        return words.DASH
    text = f"{_signed(100 * effect.closed, 0)} %"
    if effect.interval is None:
        return text
    low, high = effect.interval
    return f"{text} ({_span(100 * low, 100 * high, 0)})"


def _signed(value: float, places: int) -> str:
    """Return *value* with a minus sign in place of a hyphen."""
    return f"{value:.{places}f}".replace("-", "−")


def _span(low: float, high: float, places: int) -> str:
    dash = " to " if low < 0 else "–"
    return f"{_signed(low, places)}{dash}{_signed(high, places)}"


def months_text(effect: Effect, forecast: Forecast) -> str:
    """Return the months that a change buys, with the interval."""
    if effect.ratio is None or effect.ratio <= 0:
        return words.DASH
    months, (low, high) = forecast.bought(effect.ratio, effect.interval)
    text = f"{'+' if months > 0 else ''}{_signed(months, 1)}"
    if effect.bound:
        return f"{'>' if effect.bound == 'at least' else '<'} {text}"
    if high > _AGES or low < -_AGES:
        return f"{text} (no bound, as growth may end)"
    return f"{text} ({_span(low, high, 1)})"


def next_text(effect: Effect) -> str:
    """Return what breaks first with a change."""
    name = next(iter(effect.first), None)
    if name is None:
        return words.DASH
    return name or "a server's queue"


def _costs(helps: WhatHelps, effect: Effect) -> list[str]:
    return [_cost(helps.costs, effect.costs, name) for name in _COSTS]


def _cost(before: Mapping[str, float], after: Mapping[str, float], name: str) -> str:
    if name not in after:
        return words.DASH
    return f"{format_dollars(after[name])} ({difference(before.get(name), after[name])})"


def difference(before: float | None, after: float) -> str:
    """Return by how much a cost differs, in dollars with a sign."""
    if before is None:
        return words.DASH
    change = after - before
    if abs(change) < _CENT:
        return "the same"
    return f"{'+' if change > 0 else '−'}{format_dollars(abs(change))}"


def cost_clause(helps: WhatHelps, effect: Effect) -> str:
    """Return what a change costs a month, as a clause; "" where no cost is known."""
    name = "cost_per_month"
    if name not in effect.costs or name not in helps.costs:
        return ""
    change = effect.costs[name] - helps.costs[name]
    at = words.rate_text(helps.rate)
    if abs(change) < _CENT:
        return f"for the same bill at {at}"
    return f"for {format_dollars(abs(change))} {'more' if change > 0 else 'less'} a month at {at}"


def helps_finding(plan: CapacityPlan) -> str:
    """Return in one sentence, without its full stop, what helps most."""
    helps = plan.helps
    if helps is None:
        return ""
    best = helps.best
    if best is None:
        text = "No change of one field that was tried helps surely"
    elif best.ratio is None:
        missed = words.listed([*helps.missed])
        text = (
            f"{best.name} ({best.meaning}) helps most: it brings {missed}{_on_average(helps)} "
            f"{closed_text(best)} of the way to the target"
        )
    else:
        rate = words.rate_text(best.rate or 0.0)
        how = "at least " if best.bound else ""
        text = (
            f"{best.name} ({best.meaning}) helps most: every KPI holds up to {how}{rate}, "
            f"{times_text(best).removeprefix('> ')} times as much"
        )
    if best is not None:
        text += f", {clause}" if (clause := cost_clause(helps, best)) else ""
        if equals := _equals(helps, best):
            text += f"; {words.listed(equals)} {'does' if len(equals) == 1 else 'do'} as much"
    return f"Interrupted: so far, {text}" if helps.interrupted else text


def _on_average(helps: WhatHelps) -> str:
    return ", on average," if len(helps.missed) > 1 else ""


def _equals(helps: WhatHelps, best: Effect) -> list[str]:
    """Return the changes that the intervals do not tell from the best one."""
    if best.interval is None:
        return [e.name for e in helps.effects if e is not best and e.bound == "at least"]
    return [
        e.name
        for e in helps.effects
        if e is not best and e.interval is not None and e.interval[1] >= best.interval[0]
    ]


def helps_notes(plan: CapacityPlan) -> list[str]:
    """Return what was compared, and the changes without effect in short."""
    helps = plan.helps
    if helps is None:
        return []
    notes = []
    pairs = f"the mean over {helps.runs} replications on common random numbers, each compared with"
    if helps.effects:
        measure = (
            "Of the way: how near a change brings the KPIs that no rate meets to their targets"
            if plan.knee is None
            else "Times: the knee with a change over the knee without it"
        )
        notes.append(
            f"{measure}, {pairs} itself without it; in parentheses the 95 % confidence interval."
        )
    if helps.little:
        amount = f"{100 * helps.threshold:.0f} %"
        what = "Moves the knee" if plan.knee is not None else "Closes the gaps"
        notes.append(f"{what} by less than {amount}, or not at all: {_grouped(helps)}.")
    notes += [f"{name} was not tried: {reason}." for name, reason in helps.untried.items()]
    return notes


def _grouped(helps: WhatHelps) -> str:
    """Return the changes with little effect, those of a table together."""
    moved = {effect.field for effect in helps.effects}
    groups: dict[str, list[str]] = {}
    for name in helps.little:
        field, _, values = name.partition(" ")
        table, _, last = field.rpartition(".")
        text = f"{last} {values}" if field in moved else last
        known = groups.setdefault(table, [])
        if text not in known:
            known.append(text)
    return "; ".join(f"{table}: {', '.join(names)}" for table, names in groups.items())


def forecast_finding(plan: CapacityPlan) -> str:
    """Return in one sentence, without its full stop, when growing traffic reaches the knee."""
    found = plan.forecast
    if found is None:
        return ""
    today, limit = words.rate_text(found.today), words.rate_text(found.limit)
    if found.months == 0:
        return f"Today's {today} are beyond the {limit} that hold already"
    until = f"{found.months:.1f} months{months_interval(found)}, in {month_range(found)}"
    if found.at_least:
        return (
            f"At {found.growth} today's {today} reach {limit} in {until}; nothing broke up to there"
        )
    return f"At {found.growth} today's {today} reach the knee in {until}"


def months_interval(found: Forecast) -> str:
    """Return the interval of the months in parentheses; "" without one."""
    low, high = found.interval
    if found.at_least:
        return ""
    return f" ({low:.1f}–{'never' if high is None else f'{high:.1f}'})"


def month_range(found: Forecast) -> str:
    """Return the calendar month, and the ones that its interval begins and ends in."""
    low, high = found.interval
    month = found.month_after(found.months)
    if found.at_least:
        return month
    ends = (found.month_after(low), found.month_after(high))
    return month if set(ends) == {month} else f"{month} ({ends[0]} to {ends[1]})"


def plan_findings(plan: CapacityPlan) -> list[str]:
    """Return when the knee is reached and what helps most, a sentence each, as far as known."""
    texts = (forecast_finding(plan), helps_finding(plan))
    return [f"{text}." for text in texts if text]
