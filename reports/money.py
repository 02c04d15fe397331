"""What a run costs, as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.cost.cost import PRODUCTS, UNITS, Cost, Line, recorded
from core.metrics.record import RunRecord
from core.units import format_count, format_dollars
from reports import words
from reports.tables import Table

_TIERS = {"L1": "L1", "L2": "L2 (KV)", "batches": "Batches (queue)"}


OF_ONE_RUN = "The bill is that of one run; a KPI on cost is the mean over all of them."


def costs(predicted: RunRecord | None, measured: RunRecord | None) -> list[tuple[str, Cost]]:
    """Return the side and the cost of each record that tells one."""
    sides = (("predicted", predicted), ("measured", measured))
    found = [(side, recorded(record)) for side, record in sides if record is not None]
    return [(side, cost) for side, cost in found if cost is not None]


def decisive(predicted: RunRecord | None, measured: RunRecord | None) -> Cost | None:
    """Return the cost of the side that counts: the measured one where there is one."""
    found = costs(predicted, measured)
    return found[-1][1] if found else None


def money_table(predicted: RunRecord | None, measured: RunRecord | None) -> Table:
    """Return the header and, per product, the dollars of a million requests and of a month.

    Only the header where nothing can be told.
    """
    told = [(side, cost) for side, cost in costs(predicted, measured) if cost.lines]
    if not told:
        return [("cost", "1M requests", "a month", "most of it")]
    _, main = told[-1]
    others = [cost for _, cost in told[:-1]]
    names = ["1M requests"] if not others else [f"1M requests, {side}" for side, _ in told]
    table: Table = [("cost", *names, f"a month at {words.rate_text(main.rate)}", "most of it")]
    for product, name in PRODUCTS.items():
        figures = [format_dollars(cost.million_of(product)) for cost in (*others, main)]
        table.append((name, *figures, format_dollars(main.month_of(product)), _most(main, product)))
    totals = [format_dollars(cost.per_million or 0.0) for cost in (*others, main)]
    base = f"with ${main.base:g} for the plan" if main.base else "on the free plan"
    table.append(("total", *totals, format_dollars(main.per_month or 0.0), base))
    return table


def _most(cost: Cost, product: str) -> str:
    lines = [each for each in cost.lines if each.product == product and each.million_dollars]
    if not lines:
        return words.DASH
    line = max(lines, key=lambda each: each.million_dollars)
    return f"{format_count(line.per_million)} {UNITS[line.unit]} at {_price(line.price)} a million"


def finding(cost: Cost) -> str:
    """Return what a million requests and a month cost, in one sentence."""
    if cost.per_million is None or cost.per_month is None:
        return "The cost cannot be told"
    month = format_dollars(cost.per_month)
    most = max(PRODUCTS, key=cost.million_of)
    return (
        f"A million requests cost {format_dollars(cost.per_million)}, a month at "
        f"{words.rate_text(cost.rate)} {month}; {PRODUCTS[most]} takes "
        f"{100 * cost.million_of(most) / (cost.per_million or 1):.0f} % of a million"
    )


def _price(price: float) -> str:
    return f"${price:.2f}" if price >= 0.01 or not price else f"${price:g}"


def units_table(cost: Cost | None) -> Table:
    """Return the header and every unit of the bill; only the header without one."""
    header = ("unit", "price", "1M requests", "costs", "a month", "included", "a month costs")
    table: Table = [header]
    for line in cost.lines if cost is not None else ():
        if line.month or line.per_million:
            table.append(_unit(line))
    return table


def _unit(line: Line) -> tuple[str, ...]:
    is_stored = line.unit == "gb_months"
    per = "GB-month" if is_stored else "million"
    return (
        f"{PRODUCTS[line.product]} {UNITS[line.unit]}",
        f"{_price(line.price)} a {per}",
        words.DASH if is_stored else format_count(line.per_million),
        words.DASH if is_stored else format_dollars(line.million_dollars),
        f"{line.month:.3g}" if is_stored else format_count(line.month),
        f"{line.included:g}" if is_stored else format_count(line.included),
        format_dollars(line.month_dollars),
    )


def savings_table(cost: Cost | None) -> Table:
    """Return the header and what each tier saves, the most first."""
    table: Table = [("tier", "saves of 1M requests", "spares D1", "without it")]
    for saving in cost.savings if cost is not None else ():
        queries = f"{saving.queries:.3g} operations/s" if saving.queries else words.DASH
        table.append((_TIERS[saving.tier], format_dollars(saving.dollars), queries, saving.what))
    return table


def savings_sentence(cost: Cost) -> str:
    """Return what saved most, "" where nothing is told."""
    if not cost.savings:
        return ""
    best = cost.savings[0]
    text = f"{_TIERS[best.tier]} saves most, {format_dollars(best.dollars)} of a million requests"
    dear = [each for each in cost.savings if each.dollars < 0]
    for each in dear:
        text += (
            f"; {_TIERS[each.tier]} costs {format_dollars(-each.dollars)} more than it saves, and "
            f"spares D1 {each.queries:.3g} queries/s"
        )
    return f"{text}."


def money_lines(predicted: RunRecord | None, measured: RunRecord | None) -> list[str]:
    """Return what has to be said of the cost, and what the platform would refuse."""
    cost = decisive(predicted, measured)
    if cost is None:
        return []
    lines = []
    if cost.unknown:
        lines.append(f"Cost: cannot be told; nobody knows {words.listed(cost.unknown)}.")
    lines += refused_lines(cost)
    return lines


def refused_lines(cost: Cost) -> list[str]:
    """Return what the platform would refuse: of the plan one by one, of the free plan in short."""
    lines = [f"The {cost.plan} plan would refuse: {each.text}." for each in cost.refused]
    if cost.plan == "free":
        return lines
    known = {each.limit for each in cost.refused}
    told = [each.short for each in cost.refused_free if each.limit not in known]
    if told:
        lines.append(f"The free plan would refuse: {'; '.join(told)}.")
    return lines


def data(predicted: RunRecord | None, measured: RunRecord | None) -> dict[str, Any]:
    """Return the costs of both sides for programs, dollars and units; empty where none is told."""
    return {"cost": {side: cost.to_json() for side, cost in costs(predicted, measured)}}


def money_notes(cost: Cost) -> Sequence[str]:
    """Return where prices and rows come from, and what is assumed."""
    return (
        f"List prices as read on {cost.prices_date}; rows of D1 by statement as measured on "
        f"{cost.rows_date} ({cost.rows_engine}).",
        "1M requests: at list prices, without what the plan includes, its base and storage. A "
        "month has 30 days at this rate, less what the plan includes.",
        *cost.notes,
    )
