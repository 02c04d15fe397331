"""What a search for a size found, in words and as an exhibit."""

from __future__ import annotations

from collections.abc import Sequence

from core.metrics.kpi import Outcome
from core.metrics.sizing import Sizing
from core.metrics.sweep import SweepCell
from core.texts import count_of
from core.units import format_dollars
from reports import words
from reports.exhibit import Exhibit, Section
from reports.sweep import named, sections_of, sweep_table, verdict_first, verdict_of, worst_use
from reports.tables import Table


def size_answer(sizing: Sizing) -> str:
    """Return what was found, which KPI decides, and what the next smaller value fails by."""
    sweep, found = sizing.sweep, sizing.found
    if sweep.interrupted:
        runs = count_of(sum(cell.runs for cell in sweep.cells), "run")
        return f"Interrupted before the size was found, after {runs}."
    at = "" if sizing.rate is None else f" at {words.rate_text(sizing.rate)}"
    fields = [field.name for field in sweep.fields]
    within = words.listed(
        [
            f"{name} from {low} to {high}"
            for name, (low, high) in zip(fields, sizing.bounds, strict=True)
        ]
    )
    if found is None:
        nearest = min(sweep.seen(), key=lambda cell: worst_use(sweep, cell)[0])
        text = f"No value of {within} meets every KPI{at}"
        if nearest.saturated:
            servers = words.listed([f"the {name}" for name in nearest.saturated])
            return f"{text}: {servers} cannot keep up."
        kpi = worst_use(sweep, nearest)[1]
        if kpi is None:
            return f"{text}: none was measured."
        figure = words.with_interval(nearest.verdict(kpi))
        return (
            f"{text}: the nearest is {named(sweep, nearest)}, with {kpi.name} {figure} (target "
            f"{kpi.target_text})."
        )
    what = (
        "the smallest"
        if len(fields) == 1
        else ("the smallest combination" if found.cost is None else "the cheapest combination")
    )
    within = " to ".join(sizing.bounds[0]) if len(fields) == 1 else within
    text = f"{named(sweep, found)} is {what} of {within} with which every KPI passes{at}"
    if found.cost is not None:
        text += f", at {format_dollars(found.cost)} for a million requests"
    told = [f"{text}."]
    told += [
        _too_small(sizing, name, cell, place)
        for place, (name, cell) in enumerate(zip(fields, sizing.smaller, strict=True))
    ]
    if sizing.holes:
        told.append(
            f"Not every larger value does it: with {words.listed([*sizing.holes])} some KPI does "
            "not pass."
        )
    return " ".join(told)


def size_exhibit(
    sizing: Sizing, *, notes: Sequence[str] = (), facts: Sequence[tuple[str, str]] = ()
) -> Exhibit:
    """Return *sizing* as a page."""
    sweep = sizing.sweep
    fields = words.listed([field.name for field in sweep.fields])
    tried = "All values that were tried" if len(sweep.fields) == 1 else "The scan"
    *figures, _ = sections_of(sweep)
    sections = [
        *figures,
        Section(heading=tried, table=verdict_first(sweep_table(sweep), len(sweep.fields))),
    ]
    table = _around(sizing)
    if len(table) > 1:
        sections.insert(
            0,
            Section(
                heading="The size, and what is too small",
                table=verdict_first(table, len(sweep.fields)),
            ),
        )
    how = (
        f"Each value: means of {count_of(sweep.replications, 'replication')} on the same random "
        "numbers. A KPI passes if all of its 95 % interval does. Values between those that were "
        "tried were not simulated."
    )
    return Exhibit(
        kind="Size",
        title=f"{sweep.scenario}: the size of {fields}",
        answer=size_answer(sizing),
        sections=sections,
        notes=[how, *notes],
        facts=facts,
        data={"size": sizing.to_json()},
    )


def _around(sizing: Sizing) -> Table:
    """Return the cell that was found and those that are next to it and too small."""
    table: Table = [
        (*(field.name for field in sizing.sweep.fields),
         *(f"{kpi.name} {kpi.target_text}" for kpi in sizing.sweep.kpis), "verdict")
    ]  # fmt: skip
    for cell in (sizing.found, *sizing.smaller):
        if cell is not None:
            figures = [words.with_interval(cell.verdict(kpi)) for kpi in sizing.sweep.kpis]
            table.append((*cell.values, *figures, verdict_of(cell)))
    return table


def _too_small(sizing: Sizing, name: str, cell: SweepCell | None, place: int) -> str:
    """Return what the next smaller value of the field *name* fails by."""
    if cell is None:
        return f"{name} is at its lower bound: a smaller one may do it, too (--from)."
    if cell.saturated:
        servers = words.listed([f"the {server}" for server in cell.saturated])
        return f"With {name}={cell.values[place]} {servers} cannot keep up."
    broken = [kpi for kpi in sizing.sweep.kpis if kpi.name in cell.broken()]
    if not broken:
        price = "" if cell.cost is None else f", {format_dollars(cell.cost)}"
        return f"{name}={cell.values[place]} would do it at a higher price{price}."
    kpi = max(broken, key=lambda each: words.used(each, cell.figures[each.name]))
    figure = words.with_interval(cell.verdict(kpi))
    others = [each.name for each in broken if each is not kpi]
    more = (
        f", and {words.listed(others)} {'does' if len(others) == 1 else 'do'} not pass"
        if others
        else ""
    )
    is_open = cell.outcomes[kpi.name] == Outcome.INCONCLUSIVE
    doubt = ", which its interval reaches" if is_open else ""
    return (
        f"{kpi.name} decides: with {name}={cell.values[place]} it is {figure}, target "
        f"{kpi.target_text}{doubt}{more}."
    )
