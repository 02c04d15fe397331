"""What channels cost: a table of costs, and cost per conversion and return under each model."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.attribution.account import Account
from core.attribution.cells import unguarded
from core.attribution.currency import OneCurrency
from core.attribution.periods import parse_days
from core.attribution.study import Cell, Table
from core.attribution.table import NoHeader, find_table, open_text
from core.errors import InputError
from core.texts import count_of

_CHANNEL = ("channel", "source", "medium", "channel_name")
_COST = ("cost", "costs", "spend", "amount_spent", "budget")
_PERIOD = ("period", "date", "day", "week", "month")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One row: what a channel cost, and on which days since 1970; None: no period is told."""

    channel: str
    amount: float
    days: range | None


def read_costs(file: Path) -> tuple[list[Cost], list[str]]:
    """Return the rows of *file*, columns channel, cost and, where known, period, and notices.

    A period is a date, a month (2026-01) or an ISO week (2026-W05). A column of another usual name
    is taken and said. Raise InputError that names file, line and value.
    """

    def is_header(where: str, names: Sequence[str]) -> bool:
        return all(_place(where, names, known) is not None for known in (_CHANNEL, _COST))

    with open_text(file) as stream:
        try:
            table = find_table(file, stream, is_header)
        except NoHeader as found:
            raise InputError(
                f"{found.place}: no columns channel and cost; its columns are "
                f"{', '.join(found.names)[:200]}; name them so, and a third one period"
            ) from None
        header = table.place(0)
        at = [_place(header, table.names, known) for known in (_CHANNEL, _COST, _PERIOD)]
        when = at[2]
        others = [
            f"{table.names[place]!r} as {known[0]}"
            for place, known in zip(at, (_CHANNEL, _COST, _PERIOD), strict=True)
            if place is not None and table.names[place].strip().casefold() != known[0]
        ]
        said = [*table.notes]
        if others:
            said.append(f"{file}: takes the column {', '.join(others)}")
        reader = csv.reader(table.lines, delimiter=table.separator, strict=True)
        costs: list[Cost] = []
        currency = OneCurrency(table.names)
        try:
            for row in reader:
                where = table.place(reader.line_num)
                if not any(cell.strip() for cell in row):
                    continue
                costs.append(_cost(where, row, at[0] or 0, at[1] or 0, when))
                if currency.is_told and costs[-1].amount:
                    currency.see(where, row)
        except csv.Error as error:
            raise InputError(
                f"{table.place(reader.line_num)}: not a row of CSV ({error}); close every quote"
            ) from None
    if not costs:
        raise InputError(f"{file}: has no rows below its header; give at least one cost")
    return costs, said


def _cost(where: str, row: Sequence[str], name: int, cost: int, when: int | None) -> Cost:
    if len(row) <= max(name, cost, when or 0):
        raise InputError(
            f"{where}: has {count_of(len(row), 'column')}, fewer than the header; add the rest"
        )
    try:
        amount = float(row[cost])
    except ValueError:
        amount = math.nan
    if not 0 <= amount <= 1e15 or "_" in row[cost]:
        raise InputError(
            f"{where}: cost is {row[cost][:40]!r}; a number of at least 0, with a decimal point "
            "and without a currency, is needed"
        )
    days = None
    if when is not None:
        days = parse_days(row[when].strip())
        if days is None:
            raise InputError(
                f"{where}: period is {row[when][:40]!r}; write a date (2026-01-31), a month "
                "(2026-01) or a week (2026-W05)"
            )
    return Cost(channel=unguarded(row[name]).strip(), amount=amount, days=days)


def _place(where: str, names: Sequence[str], known: Sequence[str]) -> int | None:
    """Return the place of the column that is called as the first of *known*, else as another."""
    plain = [name.strip().casefold().replace(" ", "_") for name in names]
    usual = [place for place, name in enumerate(plain) if name == known[0]]
    found = usual or [place for place, name in enumerate(plain) if name in known]
    if len(found) > 1:
        shown = " and ".join(names[place] for place in found)
        raise InputError(
            f"{where}: columns {shown} may each be the {known[0]}; name one of them so"
        )
    return found[0] if found else None


def costed(
    account: Account, costs: Sequence[Cost], is_inside: Callable[[int], bool] = lambda day: True
) -> tuple[Table, list[str]]:
    """Return the table of cost and return of *account*, and notices.

    is_inside: whether costs of that day are of the account's conversions; a period that is so in
    part counts by its days. CPA is cost per conversion, ROAS value per cost, ROI (value - cost) /
    cost; empty where undefined. Raise InputError for a name that may be one of two channels.
    """
    counted, said = _within(costs, is_inside)
    channels = list(dict.fromkeys(row.channel for row in account.rows))
    spent: dict[str, float] = {}
    for cost in counted:
        name = _channel(cost.channel, channels, spent)
        spent[name] = spent.get(name, 0.0) + cost.amount
    unknown = [name for name in spent if name not in set(channels)]
    if unknown:
        wasted = sum(spent[name] for name in unknown)
        said.append(
            f"costs of {wasted:,.6g} are of channels without a touch: "
            f"{', '.join(map(repr, unknown[:5]))}; no conversion is credited to them"
        )
    free = [name for name in channels if name not in spent]
    if free:
        said.append(
            f"{count_of(len(free), 'channel has', 'channels have')} no cost, such as {free[0]!r}"
        )
    rows: list[tuple[Cell, ...]] = []
    for model in account.models:
        total = 0.0
        for row in account.rows:
            if row.model != model:
                continue
            amount = spent.get(row.channel)
            total += amount or 0.0
            rows.append((model, row.channel, amount, *_returns(amount, row.conversions, row.value)))
        for name in unknown:
            lost = spent[name]
            total += lost
            rows.append((model, name, lost, *_returns(lost, 0.0, 0.0)))
        whole = _returns(total, account.attributed, account.value)
        rows.append((model, "total", total, *whole))
    return Table(
        name="costs",
        title="Cost and return",
        how="CPA: cost per conversion. ROAS: value per cost. ROI: (value - cost) / cost. The cost "
        "of a channel is the same under each model; its credit is not.",
        columns=("model", "channel", "cost", "conversions", "cpa", "value", "roas", "roi"),
        rows=tuple(rows),
        shown=60,
    ), said


def _within(
    costs: Sequence[Cost], is_inside: Callable[[int], bool]
) -> tuple[list[Cost], list[str]]:
    """Return what of *costs* is inside, and notices of what is not."""
    counted: list[Cost] = []
    outside = parted = 0.0
    for cost in costs:
        share = 1.0
        if cost.days is not None:
            share = sum(map(is_inside, cost.days)) / len(cost.days)
        if share:
            counted.append(replace(cost, amount=cost.amount * share))
        if share in (0.0, 1.0):
            outside += cost.amount * (1 - share)
        else:
            parted += cost.amount * (1 - share)
    said = []
    if outside:
        said.append(f"costs of {outside:,.6g} lie outside of the time asked for and are left out")
    if parted:
        said.append(
            "costs of periods that lie partly outside of the time asked for count by their days: "
            f"{parted:,.6g} are left out"
        )
    return counted, said


def _channel(name: str, channels: Sequence[str], spent: Mapping[str, float]) -> str:
    """Return which of *channels* a cost's *name* is, in any case of its letters; else itself."""
    if name in channels:
        return name
    key = name.casefold()
    alike = [each for each in channels if each.casefold() == key]
    if len(alike) > 1:
        raise InputError(
            f"--costs: {name[:40]!r} may be {' or '.join(map(repr, alike[:3]))}; write its name as "
            "one of them"
        )
    return next(iter(alike or [each for each in spent if each.casefold() == key]), name)


def _returns(cost: float | None, conversions: float, value: float) -> tuple[Cell, ...]:
    """Return conversions, CPA, value, ROAS and ROI."""
    if cost is None:
        return conversions, None, value, None, None
    return (
        conversions,
        cost / conversions if conversions > 0 else None,
        value,
        value / cost if cost else None,
        (value - cost) / cost if cost else None,
    )
