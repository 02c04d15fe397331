"""What a sweep found, as a table, figures and an exhibit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from core.metrics.kpi import Kpi, Outcome
from core.metrics.panel import Line, Panel, Unit
from core.metrics.sweep import COST, Sweep, SweepCell, SweptField
from core.texts import count_of
from core.units import format_dollars, format_ratio
from reports import words
from reports.exhibit import Exhibit, Section
from reports.heat_map import HeatMap, Tile
from reports.panels import text_of
from reports.tables import Table, filled

_NO_RUN = "no run"
_MOST_KPIS = 3
_TIERS = (("ratio(l1)", "L1"), ("ratio(l2)", "L2"), ("ratio(miss)", "the origin"))


def sweep_table(sweep: Sweep) -> Table:
    """Return the header and a line for each cell: fields, KPIs, money, verdict."""
    table: Table = [
        (
            *(field.name for field in sweep.fields),
            *(f"{kpi.name} {kpi.target_text}" for kpi in sweep.kpis),
            "1M requests", "verdict",
        )
    ]  # fmt: skip
    for cell in sweep.cells:
        table.append(
            (
                *shown_values(sweep, cell),
                *(words.with_interval(cell.verdict(kpi)) for kpi in sweep.kpis),
                words.DASH if cell.cost is None else format_dollars(cell.cost),
                verdict_of(cell),
            )
        )
    fields, (*body, verdict) = len(sweep.fields), zip(*table, strict=True)
    kept = filled([(str(n), *row) for n, row in enumerate(zip(*body[fields:], strict=True))])
    return [
        (*of_fields, *row[1:], last)
        for of_fields, row, last in zip(
            zip(*body[:fields], strict=True), kept, verdict, strict=True
        )
    ]


def shown_values(sweep: Sweep, cell: SweepCell) -> tuple[str, ...]:
    """Return the values of *cell*; of a rate such as 4x, what it comes to."""
    found = []
    for place, field in enumerate(sweep.fields):
        value = cell.values[place]
        if field.unit == "rate" and field.numbers is not None:
            number = field.numbers[field.values.index(value)]
            value = text_of("rate", number) if value.endswith("x") else value
        found.append(value)
    return tuple(found)


def verdict_of(cell: SweepCell) -> str:
    """Return the verdict of *cell* and what does not pass."""
    if not cell.runs:
        return _NO_RUN
    reasons = [f"the {name} cannot keep up" for name in cell.saturated] or list(cell.broken())
    word = words.word(cell.outcome)
    return f"{word} {', '.join(reasons)}" if reasons else word


def answer_of(sweep: Sweep) -> str:
    """Return what the sweep comes to in a sentence or two."""
    seen = list(sweep.seen())
    if not seen:
        return "Interrupted before the first run was over; nothing was found."
    met = [cell for cell in seen if cell.is_met]
    text = ""
    if sweep.interrupted:
        runs = sum(cell.runs for cell in seen)
        all_runs = sweep.replications * len(sweep.cells)
        text = f"Interrupted: {runs:,} of {count_of(all_runs, 'run')} were made. "
    of_all = f"{len(met)} of {count_of(len(seen), 'combination')}"
    if not met:
        nearest = min(seen, key=lambda cell: worst_use(sweep, cell)[0])
        text += f"None of {count_of(len(seen), 'combination')} meets every KPI"
        if (kpi := worst_use(sweep, nearest)[1]) is not None:
            figure = words.with_interval(nearest.verdict(kpi))
            text += (
                f"; the nearest is {named(sweep, nearest)}, with {kpi.name} {figure} (target "
                f"{kpi.target_text})"
            )
        return f"{text}."
    text += f"{of_all} meet{'s' if len(met) == 1 else ''} every KPI"
    best = _at_highest_rate(sweep, met)
    if all(cell.cost is not None for cell in best):
        cheapest = min(best, key=lambda cell: cell.cost or 0.0)
        assert cheapest.cost is not None
        which = "it" if len(met) == 1 else "the cheapest"
        if len(best) < len(met):
            which = "at the highest rate that does, " + ("it" if len(best) == 1 else "the cheapest")
        text += (
            f"; {which} is {named(sweep, cheapest)}, at "
            f"{format_dollars(cheapest.cost)} for a million requests"
        )
    elif len(met) == 1:
        text += f": {named(sweep, met[0])}"
    doubtful = sum(cell.outcome is Outcome.INCONCLUSIVE for cell in seen)
    if doubtful:
        text += f". Of {doubtful} the interval lies on both sides of a target"
    return f"{text}."


def _at_highest_rate(sweep: Sweep, met: list[SweepCell]) -> list[SweepCell]:
    """Return those of *met* at the highest rate: a rate is asked of a service, not chosen for it.

    Costs of a million requests at two rates are no choice between designs.
    """
    for place, field in enumerate(sweep.fields):
        if field.unit == "rate" and field.numbers is not None:
            number = dict(zip(field.values, field.numbers, strict=True))
            highest = max(number[cell.values[place]] for cell in met)
            return [cell for cell in met if number[cell.values[place]] == highest]
    return met


def named(sweep: Sweep, cell: SweepCell) -> str:
    """Return *cell* as FIELD=VALUE, ..."""
    pairs = zip(sweep.fields, shown_values(sweep, cell), strict=True)
    return ", ".join(f"{field.name}={value}" for field, value in pairs)


def worst_use(sweep: Sweep, cell: SweepCell) -> tuple[float, Kpi | None]:
    """Return the KPI that uses most of its target's allowance in *cell*, and how much."""
    if cell.saturated:
        return math.inf, None
    uses = [(words.used(k, cell.figures[k.name]), k) for k in sweep.kpis if k.name in cell.figures]
    return max(uses, key=lambda pair: pair[0], default=(math.inf, None))


def leading_kpis(sweep: Sweep) -> list[Kpi]:
    """Return the KPIs that decide, the first one first: those that most cells break."""
    seen = list(sweep.seen())

    def rank(kpi: Kpi) -> tuple[int, float]:
        breaks = sum(kpi.name in cell.broken() for cell in seen)
        uses = [words.used(kpi, c.figures[kpi.name]) for c in seen if kpi.name in c.figures]
        return breaks, max(uses, default=0.0)

    known = [kpi for kpi in sweep.kpis if any(kpi.name in cell.figures for cell in seen)]
    ordered = sorted(known, key=rank, reverse=True)
    return [kpi for place, kpi in enumerate(ordered) if place == 0 or rank(kpi)[0]][:_MOST_KPIS]


def sections_of(sweep: Sweep) -> list[Section]:
    """Return the figures of *sweep*, as headings with what is drawn, and its table."""
    found: list[Section] = []
    if any(sweep.seen()):
        if len(sweep.fields) == 1 and sweep.fields[0].numbers is not None:
            found = [Section(heading=each.heading, panel=each) for each in _panels(sweep)]
        elif len(sweep.fields) <= 2:
            found = [Section(heading=each.heading, panel=each) for each in _maps(sweep)]
    return [*found, Section(heading="All combinations", table=sweep_table(sweep))]


def exhibit_of(
    sweep: Sweep, *, notes: Sequence[str] = (), facts: Sequence[tuple[str, str]] = ()
) -> Exhibit:
    """Return *sweep* as a page."""
    fields = words.listed([field.name for field in sweep.fields])
    runs = count_of(sweep.replications, "replication")
    how = (
        f"Each combination: means of {runs} on the same random numbers as the others, with 95 % "
        "intervals."
    )
    if sweep.replications == 1:
        how = "Each combination: one run, on the same random numbers as the others, no interval."
    return Exhibit(
        kind="Sweep",
        title=f"{sweep.scenario} over {fields}",
        answer=answer_of(sweep),
        sections=sections_of(sweep),
        notes=[how, *notes],
        facts=facts,
        data={"sweep": sweep.to_json()},
    )


def cells_csv(sweep: Sweep) -> bytes:
    """Return the cells as CSV: fields, runs, outcome, and each figure with its interval."""
    names = list(dict.fromkeys(name for cell in sweep.cells for name in cell.figures))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        [
            *(field.name for field in sweep.fields), "runs", "outcome", "saturated",
            *(column for name in names for column in (name, f"{name} low", f"{name} high")),
        ]
    )  # fmt: skip
    for cell in sweep.cells:
        figures: list[object] = []
        for name in names:
            ends = cell.intervals.get(name, ("", ""))
            figures += [cell.figures.get(name, ""), *ends]
        outcome = cell.outcome if cell.runs else ""
        rows.writerow([*cell.values, cell.runs, outcome, " ".join(cell.saturated), *figures])
    return text.getvalue().encode()


def unit_of(kpi: Kpi) -> Unit:
    """Return how a panel writes the figures of *kpi*."""
    unit = kpi.metric.unit
    return "number" if unit == "count" else unit


def _panels(sweep: Sweep) -> list[Panel]:
    """Return the lines over the one field: KPIs that decide, who answers, money."""
    found: list[Panel] = []
    how = _how(sweep)
    for kpi in leading_kpis(sweep):
        panel = _panel(
            sweep, f"kpi-{len(found) + 1}", kpi.name, _change(sweep, kpi),
            f"{how} Dashed: the target, {kpi.target_text}.", kpi.name, [(kpi.name, kpi.name)],
            unit_of(kpi),
        )  # fmt: skip
        found.append(replace(panel, target=kpi.target.value))
    if any(name in cell.figures for cell in sweep.seen() for name, _ in _TIERS):
        found.append(
            _panel(
                sweep, "tiers", "Who answers the cache reads", _tiers_change(sweep), how,
                "share of reads", _TIERS, "ratio",
            )
        )  # fmt: skip
    if any(cell.cost is not None for cell in sweep.seen()):
        found.append(
            _panel(
                sweep, "cost", "Money", _cost_change(sweep),
                f"{how} At list prices, storage not included.", "a million requests",
                [(COST, "1M requests")], "dollars",
            )
        )  # fmt: skip
    return found


def _panel(
    sweep: Sweep,
    name: str,
    heading: str,
    finding: str,
    how: str,
    y_label: str,
    figures: Sequence[tuple[str, str]],
    unit: Unit,
) -> Panel:
    (field,), cells = sweep.fields, _ascending(sweep)
    lines = []
    for figure, label in figures:
        values = [_finite(cell.figures.get(figure, math.nan)) for cell in cells]
        ends = [cell.intervals.get(figure, (math.nan, math.nan)) for cell in cells]
        has_ends = any(figure in cell.intervals for cell in cells)
        lines.append(
            Line(
                name=label, values=tuple(values),
                intervals=tuple((_finite(a), _finite(b)) for a, b in ends) if has_ends else (),
            )
        )  # fmt: skip
    assert field.numbers is not None
    return Panel(
        name=name, heading=heading, finding=finding, how=how,
        x_label="requests/s" if field.unit == "rate" else field.name, y_label=y_label,
        places=tuple(sorted(field.numbers)), lines=tuple(lines), x_unit=field.unit, y_unit=unit,
    )  # fmt: skip


def _maps(sweep: Sweep) -> list[HeatMap]:
    found: list[HeatMap] = []
    for kpi in leading_kpis(sweep):
        found.append(
            _map(sweep, f"kpi-{len(found) + 1}", kpi.name, _change(sweep, kpi), kpi.name,
                 partial(words.number_of, kpi),
                 f"{kpi.name}, target {kpi.target_text}. ✓: every KPI passes; ? is undecided.")
        )  # fmt: skip
    if any("ratio(miss)" in cell.figures for cell in sweep.seen()):
        found.append(
            _map(sweep, "misses", "Reads that the origin answers", _tiers_change(sweep),
                 "ratio(miss)", format_ratio,
                 "Share of cache reads that no tier answered. ✓: every KPI passes.",
                 is_shaded=True)
        )  # fmt: skip
    if any(cell.cost is not None for cell in sweep.seen()):
        found.append(
            _map(sweep, "cost", "Money", _cost_change(sweep), COST, format_dollars,
                 "A million requests at list prices. ✓: every KPI passes.", is_shaded=True)
        )  # fmt: skip
    return found


def _map(
    sweep: Sweep,
    name: str,
    heading: str,
    finding: str,
    figure: str,
    write: Callable[[float], str],
    how: str,
    *,
    is_shaded: bool = False,
) -> HeatMap:
    columns, *others = sweep.fields
    rows = others[0] if others else SweptField(name="", values=("",))
    cells = {cell.values: cell for cell in sweep.cells}

    def tile(cell: SweepCell) -> Tile:
        value = cell.figures.get(figure, math.nan)
        text = words.DASH if math.isnan(value) else "∞" if math.isinf(value) else write(value)
        return Tile(text=text, value=value, outcome=cell.outcome if cell.runs else None)

    return HeatMap(
        name=name, heading=heading, finding=finding, how=how, x_label=columns.name,
        y_label=rows.name, columns=_texts(columns), rows=_texts(rows), is_shaded=is_shaded,
        tiles=tuple(
            tuple(
                tile(cells[(column, row) if others else (column,)])
                for column in _in_order(columns)
            )
            for row in _in_order(rows)
        ),
    )  # fmt: skip


def _in_order(field: SweptField) -> tuple[str, ...]:
    """Return the values, ascending where they are numbers."""
    if field.numbers is None:
        return field.values
    return tuple(v for _, v in sorted(zip(field.numbers, field.values, strict=True)))


def _texts(field: SweptField) -> tuple[str, ...]:
    if field.unit != "rate" or field.numbers is None:
        return _in_order(field)
    return tuple(text_of("rate", number) for number in sorted(field.numbers))


def _ascending(sweep: Sweep) -> list[SweepCell]:
    (field,) = sweep.fields
    cells = {cell.values[0]: cell for cell in sweep.cells}
    return [cells[value] for value in _in_order(field)]


def _ends(sweep: Sweep, figure: str) -> tuple[SweepCell, SweepCell] | None:
    """Return the cells with the least and the most of *figure*."""
    known = [cell for cell in sweep.seen() if figure in cell.figures]
    if not known:
        return None
    return (
        min(known, key=lambda cell: cell.figures[figure]),
        max(known, key=lambda cell: cell.figures[figure]),
    )


def _span(sweep: Sweep, figure: str, write: Callable[[float], str], what: str) -> str:
    ends = _ends(sweep, figure)
    if ends is None:
        return f"{what} was not measured"
    low, high = ends
    least, most = write(low.figures[figure]), write(high.figures[figure])
    if least == most:
        return f"{what} is {least} throughout"
    return f"{what} is {least} with {named(sweep, low)}, and {most} with {named(sweep, high)}"


def _change(sweep: Sweep, kpi: Kpi) -> str:
    span = _span(sweep, kpi.name, partial(words.number_of, kpi), kpi.name)
    breaks = sum(kpi.name in cell.broken() for cell in sweep.seen())
    of_all = len(list(sweep.seen()))
    return (
        f"{span}; it does not pass in {breaks} of {of_all}"
        if breaks
        else f"{span}; it always passes"
    )


def _tiers_change(sweep: Sweep) -> str:
    return _span(sweep, "ratio(miss)", format_ratio, "The origin's share of cache reads")


def _cost_change(sweep: Sweep) -> str:
    return _span(sweep, COST, format_dollars, "The price of a million requests")


def _how(sweep: Sweep) -> str:
    if sweep.replications == 1:
        return "One run for each value."
    return f"Means of {sweep.replications} replications; band: 95 % interval."


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
