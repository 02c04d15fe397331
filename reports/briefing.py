"""What a manager asks first: will it hold, until when, what breaks, what to change, the cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.metrics.capacity import CapacityPlan, CapacityPoint
from core.metrics.kpi import Outcome, Verdict
from core.units import format_dollars
from reports import money, words
from reports.helps_words import (
    closed_text,
    cost_clause,
    month_range,
    months_interval,
    months_text,
    times_text,
)
from reports.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A question, its answer in a few words, and one sentence more ("" without one).

    state: the class of the style sheet that colours the answer, "" for none.
    """

    question: str
    short: str
    more: str = ""
    state: str = ""


def answers(report: Report) -> list[Answer]:
    """Return the answers of *report*, those that it can give; none for another kind of report."""
    if report.answer is not None:
        return []
    if report.plan is not None and not report.rows:
        return _of_plan(report.plan) if report.plan.points else []
    return _of_rows(report) if report.rows else []


def _of_plan(plan: CapacityPlan) -> list[Answer]:
    found = [_will_hold(plan)]
    if plan.engine == "simulate":
        found.append(_until_when(plan))
    found.append(_what_breaks(plan))
    if (refused := _what_is_refused(plan)) is not None:
        found.append(refused)
    if plan.engine == "simulate":
        found.append(_what_to_change(plan))
    if (cost := _what_it_costs(plan)) is not None:
        found.append(cost)
    return found


def _will_hold(plan: CapacityPlan) -> Answer:
    question = "Will it hold?" if plan.engine == "simulate" else "Does it hold?"
    if plan.highest_rate is None:
        return Answer(question=question, short="No", more=_no_rate(plan), state="fail")
    most = plan.highest_rate if plan.knee is None else plan.knee.rate
    limit = _rate(plan)
    if plan.today is None:
        return Answer(question=question, short=f"Up to {words.rate_text(most)}", state="pass")
    today = words.rate_text(plan.today)
    low, high = (most, most) if plan.knee is None else plan.knee.interval
    if plan.today <= low:
        more = f"Every KPI holds up to {limit}, {plan.headroom:.2g} times as much."
        return Answer(question=question, short=f"Yes, at {today}", more=more, state="pass")
    if plan.today <= high:
        more = f"The limit is {limit}: today's rate lies within its interval."
        return Answer(question=question, short=f"Not surely, at {today}", more=more, state="warn")
    more = f"Every KPI holds up to {limit} only."
    return Answer(question=question, short=f"No, not at {today}", more=more, state="fail")


def _rate(plan: CapacityPlan) -> str:
    if plan.knee is None:
        return words.rate_text(plan.highest_rate or 0.0)
    low, high = (words.rate_text(end).removesuffix(" requests/s") for end in plan.knee.interval)
    return f"{words.rate_text(plan.knee.rate)} ({low}–{high})"


def _no_rate(plan: CapacityPlan) -> str:
    rates = (
        f"from {words.rate_text(plan.points[0].rate)} to {words.rate_text(plan.points[-1].rate)}"
    )
    if plan.never_met:
        verb = "misses its target" if len(plan.never_met) == 1 else "miss their targets"
        return f"{words.listed(plan.never_met)} {verb} at every rate tried, {rates}."
    return f"No rate tried, {rates}, meets every KPI."


def _until_when(plan: CapacityPlan) -> Answer:
    question = "Until when?"
    if plan.highest_rate is None:
        return Answer(question=question, short="It does not hold today")
    found = plan.forecast
    if found is None:
        short = "Not asked"
        if plan.headroom is not None:
            short = f"Until traffic is {plan.headroom:.2g} times today's"
        return Answer(question=question, short=short, more="--growth 8%/month gives the month.")
    if found.months == 0:
        return Answer(question=question, short="It is reached already", state="fail")
    today = words.rate_text(found.today)
    more = (
        f"{today}, growing by {found.growth}, reach the limit in "
        f"{found.months:.1f} months{months_interval(found)}: {month_range(found)}."
    )
    at_least = "At least until " if found.at_least else "Until "
    short = f"{at_least}{found.month_after(found.months)}"
    return Answer(question=question, short=short, more=more)


def _what_breaks(plan: CapacityPlan) -> Answer:
    question = "What breaks first?"
    if plan.highest_rate is None:
        point = _nearest(plan)
        names = [*plan.never_met] or [*point.broken]
        short = words.listed(names or ["a server's queue"])
        return Answer(question=question, short=short, more=_values(plan, point, names))
    point_ = plan.breaking_point
    if point_ is None:
        return Answer(question=question, short="Nothing, up to the highest rate tried")
    names = [name for name in (plan.knee.first if plan.knee else plan.breaks_first) if name]
    servers = [f"the {name}" for name in point_.saturated]
    short = words.listed(names[:1] or servers or ["a server's queue"])
    more = _values(plan, point_, names[:1])
    if point_.utilisation:
        server, most = max(point_.utilisation.items(), key=lambda pair: pair[1])
        more += f" The {server} is at work {min(100.0, 100 * most):.0f} % of the time there."
    return Answer(question=question, short=short, more=more.strip())


def _what_is_refused(plan: CapacityPlan) -> Answer | None:
    point = plan.cost_point
    if point is None or not plan.refused:
        return None
    return _refusals(plan.refused, f"At {words.rate_text(point.rate)}")


def _refusals(found: Mapping[str, str], where: str) -> Answer:
    """Return what the platform would refuse, in short and whole.

    No KPI judges these limits, so that "Yes" above would be believed without them.
    """
    short = "; ".join(found)
    return Answer(
        question="What would the platform refuse?", short=f"{short[:1].upper()}{short[1:]}",
        more=f"{where}: {'; '.join(found.values())}.", state="warn",
    )  # fmt: skip


def _nearest(plan: CapacityPlan) -> CapacityPoint:
    """Return the point at the rate where the search began, or the lowest one."""
    return next((p for p in plan.points if p.rate == plan.today), plan.points[0])


def _values(plan: CapacityPlan, point: CapacityPoint, names: list[str]) -> str:
    judged = {kpi.name: kpi for kpi in plan.kpis}
    told = [
        f"{name} is {words.number_of(judged[name], point.values[name])}, "
        f"target {judged[name].target_text}"
        for name in names
        if name in judged and name in point.values
    ]
    return f"At {words.rate_text(point.rate)} {words.listed(told)}." if told else ""


def _what_to_change(plan: CapacityPlan) -> Answer:
    question = "What to change?"
    helps = plan.helps
    if helps is None:
        if plan.breaking_rate is None and plan.highest_rate is not None:
            return Answer(question=question, short="Nothing")
        more = "--what-helps tries the next value of each field and ranks them."
        return Answer(question=question, short="Not tried", more=more)
    best = helps.best
    if best is None:
        more = "No next value of a single field helps by more than chance."
        return Answer(question=question, short="No single field", more=more)
    if best.ratio is None:
        each = " on average" if len(helps.missed) > 1 else ""
        more = f"It closes{each} {closed_text(best)} of the gap to the targets"
    else:
        more = (
            f"It moves the limit to {words.rate_text(best.rate or 0.0)}, {times_text(best)} times"
        )
        if plan.forecast is not None:
            more += f", which buys {months_text(best, plan.forecast).removeprefix('+')} months"
        if name := next((name for name in best.first if name), ""):
            more += f"; then {name} breaks"
    cost = cost_clause(helps, best)
    return Answer(
        question=question, short=f"{best.name} ({best.meaning})",
        more=f"{more}{f', {cost}' if cost else ''}.",
    )  # fmt: skip


def _what_it_costs(plan: CapacityPlan) -> Answer | None:
    name, million = "cost_per_month", "cost_per_million"
    told = {p.rate: p for p in plan.points if name in p.costs}
    point = plan.cost_point
    if point is None or not point.costs.keys() >= {name, million}:
        return None  # of what nobody states there is no bill
    more = f"At {words.rate_text(point.rate)}, {format_dollars(point.costs[million])} a million."
    if plan.highest_rate in told and plan.highest_rate != point.rate:
        most = told[plan.highest_rate]
        more += (
            f" At {words.rate_text(most.rate)}, the highest rate tried that holds, "
            f"{format_dollars(most.costs[name])} a month."
        )
    short = f"{format_dollars(point.costs[name])} a month"
    return Answer(question="What does it cost?", short=short, more=more)


def _of_rows(report: Report) -> list[Answer]:
    is_measured = report.measured is not None
    sides = [v for v in map(words.decisive, report.rows) if v is not None]
    judged = [v for v in sides if v.outcome is not Outcome.NOT_MEASURED]
    met = sum(v.outcome is Outcome.PASS for v in judged)
    short = {
        Outcome.PASS: "Yes",
        Outcome.WARN: "No",
        Outcome.FAIL: "No",
        Outcome.INCONCLUSIVE: "Not surely",
        Outcome.INVALID: "This run does not tell",
    }.get(report.outcome, "Not measured")
    found = [
        Answer(
            question="Does it hold?" if is_measured else "Will it hold?",
            short=short,
            more=f"{met} of {len(judged)} KPIs meet their targets.",
            state=words.state(report.outcome),
        )
    ]
    if (breaks := _breaks(judged)) is not None:
        found.append(breaks)
    cost = money.decisive(report.predicted, report.measured)
    if cost is not None and cost.refused:
        where = f"At {words.rate_text(cost.rate)}"
        found.append(_refusals({each.short: each.text for each in cost.refused}, where))
    if cost is not None and cost.per_month is not None and cost.per_million is not None:
        more = (
            f"At {words.rate_text(cost.rate)}, {format_dollars(cost.per_million)} a million "
            "requests at list prices."
        )
        short = f"{format_dollars(cost.per_month)} a month"
        found.append(Answer(question="What does it cost?", short=short, more=more))
    if not is_measured:
        found.append(
            Answer(
                question="Until when, and what to change?",
                short="A plan tells",
                more="edgeproof plan SCENARIO --what-helps --growth 8%/month",
            )
        )
    return found


def _breaks(verdicts: list[Verdict]) -> Answer | None:
    """Return the KPIs that miss, or the one that is nearest to its target."""
    missed = [v for v in verdicts if v.outcome in (Outcome.WARN, Outcome.FAIL)]
    if missed:
        more = f"{'; '.join(words.distance(v) for v in missed[:3])}."
        short = words.listed([v.kpi.name for v in missed])
        return Answer(question="What breaks?", short=short, more=more)
    shares = [(words.used(v.kpi, v.value), v) for v in verdicts if v.value is not None]
    if not shares:
        return None
    share, nearest = max(shares, key=lambda pair: pair[0])
    more = f"It uses {100 * share:.0f} % of what its target allows, more than any other KPI."
    question = "What is nearest to breaking?"
    return Answer(question=question, short=nearest.kpi.name, more=more)
