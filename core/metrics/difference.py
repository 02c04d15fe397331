"""How far two runs lie apart: KPI by KPI and endpoint by endpoint, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from core.metrics.change_interval import half_width
from core.metrics.charge import CHARGES
from core.metrics.estimate import Estimate
from core.metrics.failed_share import FailedShare
from core.metrics.kpi import Interval, Kpi, Metric, Outcome, judge, parse_metric
from core.metrics.record import RunRecord, estimate_of_metric
from core.metrics.run_ends import Figure, Values, figures, is_open, run_ends

_BEYOND = 10
"""Samples that have to lie beyond a percentile of an endpoint before it is judged."""

_QUANTILES = (0.5, 0.95, 0.99)
_TIERS = ("hit_ratio", "ratio(l1)", "ratio(l2)", "ratio(miss)")

Kind = Literal["kpi", "endpoint", "tier", "cost"]


class Change(StrEnum):
    """What became of one figure from A to B, as the limit has it."""

    SAME = "SAME"
    BETTER = "BETTER"
    WORSE = "WORSE"
    UNDECIDED = "UNDECIDED"
    NOT_COMPARED = "NOT_COMPARED"
    INVALID = "INVALID"


_SEVERITY = (Change.BETTER, Change.SAME, Change.UNDECIDED, Change.WORSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure in both runs.

    name: the metric, or what is counted of an endpoint. share: that, where no metric tells it.
    unit: how a value is shown. before, after: None where a run could not see it. change:
    after/before - 1, for ratios the difference; None if either is missing or infinite. interval:
    95 % of the change, None where a run stands alone. is_paired: whether runs of equal numbers were
    subtracted. harm: 1 where more is worse, -1 where less is, 0 where neither is. why: why it is
    not judged, or is WORSE beside the limit. possible: the least and the greatest change that the
    flaws of the runs leave open. at_ends: the mildest and the gravest outcome then; None without
    flaws.
    """

    name: str
    kind: Kind
    metric: Metric
    kpi: Kpi | None = None
    share: FailedShare | None = None
    before: Estimate | None = None
    after: Estimate | None = None
    change: float | None = None
    interval: Interval | None = None
    is_paired: bool = False
    harm: int = 1
    outcome: Change = Change.NOT_COMPARED
    why: str = ""
    possible: Interval | None = None
    at_ends: tuple[Change, Change] | None = None

    @property
    def figure(self) -> Figure:
        """What is compared."""
        return self.share or self.metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """All figures of two runs, and what they come to at the limit of *limit* (0.05: 5 %).

    invalid: the flaws of the runs, if they could change the answer; doubts: if they could not.
    """

    rows: tuple[Difference, ...]
    limit: float
    invalid: tuple[str, ...]
    doubts: tuple[str, ...] = ()

    @property
    def worse(self) -> tuple[Difference, ...]:
        """What is worse in B, by more than the limit."""
        return tuple(row for row in self.rows if row.outcome is Change.WORSE)

    @property
    def undecided(self) -> tuple[Difference, ...]:
        """What may or may not be worse by more than the limit."""
        return tuple(row for row in self.rows if row.outcome is Change.UNDECIDED)

    @property
    def compared(self) -> tuple[Difference, ...]:
        """What was judged at all."""
        return tuple(row for row in self.rows if row.outcome is not Change.NOT_COMPARED)


def differences(
    before: RunRecord,
    after: RunRecord,
    *,
    kpis: Sequence[Kpi],
    limit: float,
) -> Differences:
    """Return how every one of *kpis*, endpoint and tier changed from *before* to *after*.

    A figure is WORSE if it is worse by more than *limit* (a fraction; of ratios the difference),
    with all of its interval where there is one, or if it is a KPI that crosses its alert line and
    met its target before. It is UNDECIDED if the interval straddles the limit. Of flawed runs it is
    judged with the requests in doubt of either at their best and at their worst: INVALID where
    these decide whether it is worse.
    """
    is_paired = (
        before.runs == after.runs > 1
        and before.engine == after.engine
        and before.seed == after.seed
    )
    rows = [
        *_of_kpis(kpis),
        *_of_endpoints(before, after),
        *_of_tiers(before, after),
        *_of_costs(before, after, kpis),
    ]
    flaws = tuple(
        f"{side}: {reason}"
        for side, record in (("A", before), ("B", after))
        if record.audit is not None
        for reason in record.audit.invalid
    )
    sides = (before, after)
    judged = []
    for row in rows:
        a, b = (figures(record, row.figure) for record in sides)
        found = _with_alert(_judged(row, a, b, limit=limit, is_paired=is_paired))
        if flaws:
            found = _in_doubt(row, found, sides, limit=limit, is_paired=is_paired)
        judged.append(found)
    ends = [row.at_ends or (row.outcome, row.outcome) for row in judged]
    best, worst = (_answer([pair[end] for pair in ends]) for end in (0, 1))
    decide = best is not worst or any(map(is_open, sides))
    return Differences(
        rows=tuple(judged), limit=limit, invalid=flaws if decide else (),
        doubts=() if decide else flaws,
    )  # fmt: skip


def _of_kpis(kpis: Sequence[Kpi]) -> list[Difference]:
    return [
        Difference(
            name=kpi.name, kind="kpi", metric=kpi.metric, kpi=kpi,
            harm=1 if kpi.target.is_upper else -1,
        )
        for kpi in kpis
    ]  # fmt: skip


def _of_endpoints(before: RunRecord, after: RunRecord) -> list[Difference]:
    rows = []
    for name in dict.fromkeys((*before.latencies, *after.latencies)):
        sides = [record.latencies.get(name) for record in (before, after)]
        for q in _QUANTILES:
            metric = Metric(f"p{100 * q:g}", name)
            # Of all runs; each has about as many as the one whose histogram there is.
            fewest = min(
                0 if histogram is None else histogram.count * record.runs
                for histogram, record in zip(sides, (before, after), strict=True)
            )
            is_few = (1 - q) * fewest < _BEYOND
            rows.append(
                Difference(
                    name=metric.general, kind="endpoint", metric=metric,
                    why=f"fewer than {_BEYOND} samples lie beyond it" if is_few else "",
                )
            )  # fmt: skip
        share, metric = FailedShare(name), parse_metric("error_ratio")
        rows.append(
            Difference(
                name=share.name, kind="endpoint", metric=metric, share=share,
            )
        )  # fmt: skip
    return rows


def _of_tiers(before: RunRecord, after: RunRecord) -> list[Difference]:
    harms = {"hit_ratio": -1, "ratio(miss)": 1}
    return [
        Difference(
            name=text, kind="tier", metric=metric, harm=harms.get(text, 0),
            why="" if text in harms else "neither more nor less of it is worse",
        )
        for text in _TIERS
        for metric in [parse_metric(text)]
        if before.estimate(metric) or after.estimate(metric)
    ]  # fmt: skip


def _of_costs(before: RunRecord, after: RunRecord, kpis: Sequence[Kpi]) -> list[Difference]:
    """Return the figures of cost; they are judged where a KPI names them, in its own row."""
    judged = {kpi.name for kpi in kpis}
    metrics = [Metric(each.function, each.name, each) for each in CHARGES]
    return [
        Difference(
            name=metric.name, kind="cost", metric=metric, harm=0,
            why="judged as a KPI" if metric.name in judged else "no KPI names it",
        )
        for metric in metrics
        if before.estimate(metric) and after.estimate(metric)
    ]  # fmt: skip


def _judged(row: Difference, a: Values, b: Values, *, limit: float, is_paired: bool) -> Difference:
    """Return *row* with its figure in each run of A, *a*, and of B, *b*, judged."""
    row = replace(row, before=_estimate(row.metric, a), after=_estimate(row.metric, b))
    if row.before is None or row.after is None:
        sides = [side for side, e in (("A", row.before), ("B", row.after)) if e is None]
        return replace(row, why=f"{' and '.join(sides)} could not see it")
    old, new = row.before.value, row.after.value
    if math.isinf(old) or math.isinf(new):
        if row.why:
            return row
        outcome = Change.SAME if old == new else Change.WORSE if new > old else Change.BETTER
        return replace(row, outcome=outcome, why="infinite: requests failed")
    is_ratio = row.metric.unit == "ratio"
    if not is_ratio and old == 0:
        return replace(row, why="it was 0 in A") if new else replace(row, outcome=Change.SAME)
    change = new - old if is_ratio else new / old - 1
    half = half_width(a, b, is_ratio=is_ratio, is_paired=is_paired)
    least = -math.inf if is_ratio else -1.0  # no time is less than nothing
    interval = None if half is None else (max(change - half, least), change + half)
    outcome = Change.NOT_COMPARED if row.why else _outcome(change, interval, row.harm, limit)
    return replace(
        row, change=change, interval=interval, outcome=outcome,
        is_paired=interval is not None and is_paired,
    )  # fmt: skip


def _outcome(change: float, interval: Interval | None, harm: int, limit: float) -> Change:
    ends = sorted(harm * end for end in (interval or (change, change)))
    if ends[0] > limit:
        return Change.WORSE
    if ends[1] > limit:
        return Change.UNDECIDED
    return Change.BETTER if ends[1] < -limit else Change.SAME


def _estimate(metric: Metric, values: Values) -> Estimate | None:
    seen = [value for value in values if value is not None]
    return estimate_of_metric(metric, seen) if seen else None


def _with_alert(row: Difference) -> Difference:
    """Return *row*, WORSE if its KPI met its target in A and crosses its alert line in B."""
    kpi, ends = row.kpi, (row.before, row.after)
    if kpi is None or row.outcome is Change.WORSE:
        return row
    old, new = (
        Outcome.NOT_MEASURED if end is None else judge(kpi, end.value, end.interval).outcome
        for end in ends
    )
    if old is not Outcome.PASS or new is not Outcome.FAIL:
        return row
    return replace(row, outcome=Change.WORSE, why="met its target in A, crosses its alert in B")


def _in_doubt(
    row: Difference, found: Difference, sides: Sequence[RunRecord], *, limit: float, is_paired: bool
) -> Difference:
    """Return *found*, INVALID if the requests in doubt of either side could change the answer."""
    if found.outcome is Change.NOT_COMPARED:
        return found
    before, after = (run_ends(record, row.figure) for record in sides)
    if before is None or after is None:
        return replace(found, outcome=Change.INVALID, why="a flaw of a run leaves everything open")
    corners = [
        _with_alert(_judged(row, a, b, limit=limit, is_paired=is_paired))
        for a in before
        for b in after
    ]
    # Compared as recorded, and not at an end: A was 0 there.
    of_zero = Change.WORSE if row.harm > 0 else Change.BETTER
    outcomes = [of_zero if c.outcome is Change.NOT_COMPARED else c.outcome for c in corners]
    least, most = min(outcomes, key=_SEVERITY.index), max(outcomes, key=_SEVERITY.index)
    changes = [corner.change for corner in corners]
    seen = [change for change in changes if change is not None]
    found = replace(
        found, at_ends=(least, most),
        possible=(min(seen), max(seen)) if len(seen) == len(changes) else None,
    )  # fmt: skip
    if least is most or most is Change.SAME:
        why = found.why if found.outcome is most else ""
        return replace(found, outcome=most, why=why)
    return replace(
        found, outcome=Change.INVALID, why=f"{least} or {most}: the requests in doubt decide"
    )


def _answer(outcomes: Sequence[Change]) -> Change:
    """Return what figures with *outcomes* come to together."""
    for each in (Change.WORSE, Change.UNDECIDED):
        if each in outcomes:
            return each
    return Change.SAME if set(outcomes) - {Change.NOT_COMPARED} else Change.NOT_COMPARED
