"""The figures, the tables and the sentences of a scenario's curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.metrics.estimate import Estimate
from core.metrics.panel import Line, Panel, Unit
from core.texts import count_of
from reports.tables import Table
from reports.words import axis_duration, listed

if TYPE_CHECKING:  # numba is slow to import
    from sim.curves.scenario_curve import Axis, ScenarioCurve, Shares

_REQUEST = "request"
_GAIN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class _AxisWords:
    label: str
    unit: Unit
    what: str


_WORDS = {
    "size": _AxisWords(label="entries of each isolate's L1", unit="number", what="L1's size"),
    "ttl": _AxisWords(label="TTL of L1", unit="seconds", what="L1's TTL"),
    "l2_ttl": _AxisWords(label="times the TTLs of L2", unit="number", what="L2's TTLs"),
}


def place_text(axis: str, place: float) -> str:
    """Return *place* of an axis as people write it."""
    if axis == "ttl":
        return axis_duration(place)
    return f"{place:g} x" if axis == "l2_ttl" else f"{place:,.0f}"


def isolates_text(name: str) -> str:
    """Return a number of isolates in words."""
    return "an L1 of the request" if name == _REQUEST else count_of(int(name), "isolate")


def panels_of(found: ScenarioCurve) -> list[Panel]:
    """Return the figures of *found*: of L1 by isolates, its locality, and both tiers."""
    size, ttl, l2_ttl = (found.axis(name) for name in ("size", "ttl", "l2_ttl"))
    return [
        _by_isolates(found, size),
        _by_isolates(found, ttl),
        _orders(found, size, of_l1=True),
        _orders(found, ttl, of_l1=True),
        _orders(found, size, of_l1=False),
        _orders(found, ttl, of_l1=False),
        _orders(found, l2_ttl, of_l1=False),
    ]


def _how(found: ScenarioCurve, isolates: str = "") -> str:
    of = f", {isolates_text(isolates)}" if isolates else ""
    return (
        f"Mean and 95 % interval of {count_of(found.replications, 'replication')}{of}. Upright: "
        "the scenario's own setting."
    )


def _by_isolates(found: ScenarioCurve, axis: Axis) -> Panel:
    own = axis.places.index(axis.own)
    words = _WORDS[axis.name]
    told = [
        f"{isolates_text(name)} {_percent(1 - shares[own].l1.value)}"
        for name, shares in axis.real.items()
    ]
    return Panel(
        name=f"l1-{axis.name.replace('_', '-')}",
        heading=f"Misses of L1 by isolates, over {words.what}",
        finding=f"At {_setting(axis)}, L1 misses with {listed(told)}",
        how=_how(found), x_label=words.label, y_label="reads that L1 does not answer",
        x_unit=words.unit, places=axis.places, mark=axis.own,
        lines=tuple(
            _line(isolates_text(name), [shares.l1 for shares in each], is_rest=True)
            for name, each in axis.real.items()
        ),
    )  # fmt: skip


def _setting(axis: Axis) -> str:
    if axis.name == "size":
        return count_of(int(axis.own), "entry", "entries")
    return f"a TTL of {axis_duration(axis.own)}"


def _orders(found: ScenarioCurve, axis: Axis, *, of_l1: bool) -> Panel:
    words = _WORDS[axis.name]
    name = next(iter(axis.real)) if axis.name == "l2_ttl" else found.base
    real = axis.real[name]
    lines = [_line("real order", [_asked(s, of_l1) for s in real], is_rest=of_l1)]
    if axis.mixed:
        mixed = [_asked(s, of_l1) for s in axis.mixed]
        lines.append(_line("random order", mixed, is_rest=of_l1, is_aside=True))
    if axis.theory:
        values = tuple(pair[0 if of_l1 else 1] for pair in axis.theory)
        lines.append(Line(name="theory", values=values, is_aside=True))
    tier, verb = ("L1", "does") if of_l1 else ("both tiers", "do")
    return Panel(
        name=f"{'order' if of_l1 else 'both'}-{axis.name.replace('_', '-')}",
        heading=f"{'Locality: misses' if of_l1 else 'Misses'} of {tier}, over {words.what}",
        finding=_gap(found, axis, lines) if of_l1 else _reach(axis, real),
        how=_how(found, name), x_label=words.label, x_unit=words.unit,
        places=axis.places, mark=axis.own,
        y_label=f"reads that {tier if of_l1 else 'L1 and L2'} {verb} not answer",
        lines=tuple(lines),
    )  # fmt: skip


def _asked(shares: Shares, of_l1: bool) -> Estimate:
    return shares.l1 if of_l1 else shares.origin


def _line(
    name: str, estimates: Sequence[Estimate], *, is_rest: bool, is_aside: bool = False
) -> Line:
    """Return a line of shares, or of what they leave."""
    values, intervals = [], []
    for each in estimates:
        low, high = each.interval or (each.value, each.value)
        if is_rest:
            low, high = 1 - high, 1 - low
        values.append(1 - each.value if is_rest else each.value)
        intervals.append((max(0.0, low), min(1.0, high)))
    has = all(each.interval is not None for each in estimates)
    return Line(
        name=name, values=tuple(values), intervals=tuple(intervals) if has else (),
        is_aside=is_aside,
    )  # fmt: skip


def _gap(found: ScenarioCurve, axis: Axis, lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return (
            f"At {_setting(axis)}, L1 misses {_percent(lines[0].values[_own(axis)])} of the reads"
        )
    gaps = [b - a for a, b in zip(lines[0].values, lines[1].values, strict=True)]
    place = max(range(len(gaps)), key=lambda at: abs(gaps[at]))
    if abs(gaps[place]) < _GAIN:
        why = "" if found.is_trace else ", as drawn traffic has no locality"
        return f"The order of the reads hardly matters{why}: popularity alone predicts the misses"
    way = "fewer" if gaps[place] > 0 else "more"
    return (
        f"In its own order L1 misses {100 * abs(gaps[place]):.0f} points {way} than popularity "
        f"alone says, at {_at(axis, axis.places[place])}"
    )


def _own(axis: Axis) -> int:
    return axis.places.index(axis.own)


def _reach(axis: Axis, real: Sequence[Shares]) -> str:
    values = [shares.origin.value for shares in real]
    own = values[_own(axis)]
    if max(values) - min(values) < _GAIN:
        verb = "change" if axis.name == "l2_ttl" else "changes"
        return (
            f"{_WORDS[axis.name].what} hardly {verb} what neither tier answers: "
            f"{_percent(min(values))} to {_percent(max(values))} of the reads"
        )
    first, last = (_at(axis, axis.places[end]) for end in (0, -1))
    return (
        f"Neither tier answers {_percent(own)} of the reads: {_percent(values[0])} at {first}, "
        f"{_percent(values[-1])} at {last}"
    )


def _at(axis: Axis, place: float) -> str:
    return f"{place_text(axis.name, place)}{' entries' if axis.name == 'size' else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _with_interval(estimate: Estimate) -> str:
    if estimate.interval is None:
        return _percent(estimate.value)
    low, high = (min(1.0, max(0.0, end)) for end in estimate.interval)
    return f"{_percent(estimate.value)} ({100 * low:.1f}–{100 * high:.1f})"


def answers_table(found: ScenarioCurve) -> Table:
    """Return who answers the reads at the scenario's own setting, by number of isolates."""
    table: Table = [("isolates", "order", "L1", "L2", "neither", "loads")]

    def row(name: str, order: str, shares: Shares) -> tuple[str, ...]:
        each = (shares.l1, shares.l2, shares.origin, shares.loaded)
        return (name, order, *map(_with_interval, each))

    for name in found.isolates:
        shown = f"{name} *" if name == found.own else name
        table.append(row(shown, "real", found.at_own[name]))
        if name == found.own and found.simulated is not None:
            table.append(row(shown, "simulated", found.simulated))
        if name in found.mixed_at_own:
            table.append(row(shown, "random", found.mixed_at_own[name]))
        if name in found.theory_at_own:
            l1, both = found.theory_at_own[name]
            shares = (_percent(1 - l1), _percent(l1 - both), _percent(both), _percent(both))
            table.append((shown, "theory", *shares))
    return table


def axis_table(found: ScenarioCurve, axis: Axis) -> Table:
    """Return the misses at every place: of L1 by isolates, and of both tiers."""
    base = next(iter(axis.real)) if axis.name == "l2_ttl" else found.base
    columns: list[tuple[str, list[float]]] = [
        (f"L1, {isolates_text(name)}", [1 - each.l1.value for each in shares])
        for name, shares in axis.real.items()
    ]
    if axis.mixed:
        columns.append(("random order", [1 - each.l1.value for each in axis.mixed]))
    if axis.theory:
        columns.append(("theory", [pair[0] for pair in axis.theory]))
    columns.append(
        (f"both, {isolates_text(base)}", [each.origin.value for each in axis.real[base]])
    )
    if axis.mixed:
        columns.append(("both, random order", [each.origin.value for each in axis.mixed]))
    if axis.theory:
        columns.append(("both, theory", [pair[1] for pair in axis.theory]))
    head = {"size": "entries", "ttl": "TTL of L1", "l2_ttl": "TTLs of L2"}[axis.name]
    table: Table = [(head, *(name for name, _ in columns))]
    for at, place in enumerate(axis.places):
        mark = " *" if place == axis.own else ""
        row = (f"{place_text(axis.name, place)}{mark}", *(_percent(v[at]) for _, v in columns))
        table.append(row)
    return table


def answer_of(found: ScenarioCurve, aim: float | None) -> str:
    """Return who answers at the scenario's setting, and with what L1 answers *aim* of the reads."""
    shares = found.at_own[found.own]
    answer = (
        f"With {isolates_text(found.own)}, L1 answers {_with_interval(shares.l1)} of the cache "
        f"reads, L2 {_percent(shares.l2.value)}, and {_percent(shares.origin.value)} wait for the "
        "database."
    )
    if aim is None:
        return answer
    reach = [name for name in found.isolates if found.at_own[name].l1.value >= aim]
    told = listed([isolates_text(name) for name in reach]) or "none of these numbers of isolates"
    return (
        f"{answer} At this size and TTL, L1 answers {100 * aim:g} % or more with {told}; the table "
        "says which other sizes and TTLs do it."
    )


def aim_table(found: ScenarioCurve, aim: float) -> Table:
    """Return from which size and TTL on L1 answers *aim* of the reads, by number of isolates."""
    wanted = f"{100 * aim:g} %"
    table: Table = [
        ("isolates", "L1 as it is", f"{wanted} from a size of", f"{wanted} from a TTL of")
    ]
    for name in found.isolates:
        now = _with_interval(found.at_own[name].l1)
        if name == _REQUEST:
            table.append((name, now, "never", "never"))
            continue
        ways = [
            _from(axis, [shares.l1.value for shares in axis.real[name]], aim)
            for axis in (found.axis("size"), found.axis("ttl"))
        ]
        table.append((name, now, *ways))
    return table


def _from(axis: Axis, values: Sequence[float], aim: float) -> str:
    """Return from which place on all values reach *aim*."""
    first = len(values)
    while first and values[first - 1] >= aim:
        first -= 1
    if first == len(values):
        return f"none (at most {_percent(max(values))})"
    place = place_text(axis.name, axis.places[first])
    if first == 0:
        return f"{place} or less"
    before = place_text(axis.name, axis.places[first - 1])
    return f"{place} ({_percent(values[first - 1])} at {before})"


def notes_of(found: ScenarioCurve) -> list[str]:
    """Return what a reader has to know of how the curves came about."""
    notes = []
    if found.why:
        notes.append(
            f"Every point is a whole simulation, and there is no theory: neither a pass nor theory "
            f"knows {found.why}."
        )
    else:
        notes.append(
            "A pass goes over the reads that the simulation draws, with its times of L2 and loads, "
            "and lets nothing wait for a server. Theory has independent reads at constant rates, "
            "and stores that take no time."
        )
    if not found.is_trace:
        notes.append(
            "The traffic is drawn: its reads are independent, so that it has no locality. Give "
            "--trace FILE to see that of recorded traffic."
        )
    elif found.theory_at_own and found.span < max(ttl for _, ttl in found.scenario.tiers.l2.ttl):
        notes.append(
            f"The trace's accesses before the run and in it last {axis_duration(found.span)}, less "
            "than L2's longest TTL: fewer lives end than in the steady state that theory describes."
        )
    if len(found.scenario.traffic.stages) > 1 or any(
        fault.kind.is_of_traffic for fault in found.scenario.faults
    ):
        notes.append(
            "Theory takes the mean rate of each key; stages and faults of the traffic change it "
            "during the run."
        )
    if found.own == _REQUEST:
        notes.append(
            "The scenario's L1 dies with its request; the curves over its size and TTL are those "
            f"of an L1 that lives in each of {isolates_text(found.base)}."
        )
    return [*notes, *found.notes]


def rows_of(found: ScenarioCurve) -> list[dict[str, object]]:
    """Return `answers_table` as JSON holds it."""

    def told(estimate: Estimate) -> dict[str, object]:
        ends = None if estimate.interval is None else list(estimate.interval)
        return {"share": estimate.value, "interval": ends}

    def of(shares: Shares) -> dict[str, object]:
        return {name: told(getattr(shares, name)) for name in ("l1", "l2", "origin", "loaded")}

    rows: list[dict[str, object]] = []
    for name in found.isolates:
        row: dict[str, object] = {"isolates": name, "is_own": name == found.own,
                                  "real": of(found.at_own[name])}  # fmt: skip
        if name == found.own and found.simulated is not None:
            row["simulated"] = of(found.simulated)
        if name in found.mixed_at_own:
            row["random"] = of(found.mixed_at_own[name])
        if name in found.theory_at_own:
            l1, both = found.theory_at_own[name]
            row["theory"] = {"l1": 1 - l1, "l2": l1 - both, "origin": both}
        rows.append(row)
    return rows
