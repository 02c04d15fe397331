"""How far two runs lie apart: KPI by KPI and endpoint by endpoint, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from core.metrics.estimate import Estimate
from core.metrics.failed_share import FailedShare
from core.metrics.kpi import Interval, Kpi, Metric, Outcome, parse_metric
from core.metrics.record import RunRecord, estimate_of_metric
from core.metrics.run_ends import Figure, Values, figures
from core.metrics.verdict import verdicts

_BEYOND = 10
"""Samples that have to lie beyond a percentile of an endpoint before it is judged."""

_QUANTILES = (0.5, 0.95, 0.99)
_TIERS = ("hit_ratio", "ratio(l1)", "ratio(l2)", "ratio(miss)")

Kind = Literal["kpi", "endpoint", "tier"]


class Change(StrEnum):
    """What became of one figure from A to B, as the limit has it."""

    SAME = "SAME"
    BETTER = "BETTER"
    WORSE = "WORSE"
    UNDECIDED = "UNDECIDED"
    NOT_COMPARED = "NOT_COMPARED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure in both runs.

    name: the metric, or what is counted of an endpoint. share: that, where no metric tells it.
    unit: how a value is shown. before, after: None where a run could not see it. change:
    after/before - 1, for ratios the difference; None if either is missing or infinite. interval:
    95 % of the change, None where a run stands alone. is_paired: whether runs of equal numbers were
    subtracted. harm: 1 where more is worse, -1 where less is, 0 where neither is. why: why it is
    not judged, or is WORSE beside the limit.
    """

    name: str
    kind: Kind
    metric: Metric
    kpi: Kpi | None = None
    share: FailedShare | None = None
    before: Estimate | None
    after: Estimate | None
    change: float | None = None
    interval: Interval | None = None
    is_paired: bool = False
    harm: int = 1
    outcome: Change = Change.NOT_COMPARED
    why: str = ""

    @property
    def figure(self) -> Figure:
        """What is compared."""
        return self.share or self.metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """All figures of two runs, and what they come to at the limit of *limit* (0.05: 5 %)."""

    rows: tuple[Difference, ...]
    limit: float
    invalid: tuple[str, ...]

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
    met its target before. It is UNDECIDED if the interval straddles the limit.
    """
    is_paired = (
        before.runs == after.runs > 1
        and before.engine == after.engine
        and before.seed == after.seed
    )
    rows = [
        *_of_kpis(before, after, kpis),
        *_of_endpoints(before, after),
        *_of_tiers(before, after),
    ]
    invalid = tuple(
        f"{side}: {reason}"
        for side, record in (("A", before), ("B", after))
        if record.audit is not None
        for reason in record.audit.invalid
    )
    crossed = _crossed(before, after, kpis)
    judged = (_judged(row, before, after, limit=limit, is_paired=is_paired) for row in rows)
    return Differences(
        rows=tuple(_with_alert(row, crossed) for row in judged), limit=limit, invalid=invalid
    )


def _of_kpis(before: RunRecord, after: RunRecord, kpis: Sequence[Kpi]) -> list[Difference]:
    return [
        Difference(
            name=kpi.name, kind="kpi", metric=kpi.metric, kpi=kpi,
            before=before.estimate(kpi.metric), after=after.estimate(kpi.metric),
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
                    before=before.estimate(metric), after=after.estimate(metric),
                    why=f"fewer than {_BEYOND} samples lie beyond it" if is_few else "",
                )
            )  # fmt: skip
        share, metric = FailedShare(name), parse_metric("error_ratio")
        estimates = [_estimate(metric, figures(record, share)) for record in (before, after)]
        rows.append(
            Difference(
                name=share.name, kind="endpoint", metric=metric, share=share,
                before=estimates[0], after=estimates[1],
            )
        )  # fmt: skip
    return rows


def _of_tiers(before: RunRecord, after: RunRecord) -> list[Difference]:
    harms = {"hit_ratio": -1, "ratio(miss)": 1}
    return [
        Difference(
            name=text, kind="tier", metric=metric, harm=harms.get(text, 0),
            before=before.estimate(metric), after=after.estimate(metric),
            why="" if text in harms else "neither more nor less of it is worse",
        )
        for text in _TIERS
        for metric in [parse_metric(text)]
        if before.estimate(metric) or after.estimate(metric)
    ]  # fmt: skip


def _judged(
    row: Difference, before: RunRecord, after: RunRecord, *, limit: float, is_paired: bool
) -> Difference:
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
    a, b = (figures(record, row.figure) for record in (before, after))
    half = _half(a, b, is_ratio=is_ratio, is_paired=is_paired)
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


def _half(
    before: Sequence[float | None],
    after: Sequence[float | None],
    *,
    is_ratio: bool,
    is_paired: bool,
) -> float | None:
    """Return half the width of the change's 95 % interval, None where there is none.

    Of a quotient R = mean(b)/mean(a) by the delta method: the standard error of b - R a, over
    mean(a) (Cochran, "Sampling Techniques", 1977, 6.4); of a ratio's difference with R = 1. Paired
    with t(n-1); otherwise with both variances and Welch's degrees of freedom ("The generalization
    of Student's problem", 1947).
    """
    if is_paired:
        pairs = [
            (a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None
        ]
        a, b = [x for x, _ in pairs], [y for _, y in pairs]
    else:
        a, b = [x for x in before if x is not None], [y for y in after if y is not None]
    if min(len(a), len(b)) < 2 or any(map(math.isinf, (*a, *b))):
        return None
    from scipy.special import stdtrit  # slow to import, rarely needed

    mean = math.fsum(a) / len(a)
    factor = 1.0 if is_ratio else math.fsum(b) / len(b) / mean
    scale = 1.0 if is_ratio else mean
    if is_paired:
        squared = _variance([y - factor * x for x, y in pairs]) / len(pairs)
        freedom = float(len(pairs) - 1)
    else:
        parts = [(factor**2 * _variance(a) / len(a), len(a)), (_variance(b) / len(b), len(b))]
        squared = sum(part for part, _ in parts)
        below = sum(part**2 / (n - 1) for part, n in parts)
        freedom = squared**2 / below if below else 1.0
    return float(stdtrit(freedom, 0.975)) * math.sqrt(squared) / scale


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _crossed(before: RunRecord, after: RunRecord, kpis: Sequence[Kpi]) -> set[str]:
    """Return the KPIs that met their target in *before* and cross their alert line in *after*."""
    pairs = zip(verdicts(before, kpis), verdicts(after, kpis), strict=True)
    return {
        old.kpi.name
        for old, new in pairs
        if old.outcome is Outcome.PASS and new.outcome is Outcome.FAIL
    }


def _with_alert(row: Difference, crossed: set[str]) -> Difference:
    if row.kind != "kpi" or row.name not in crossed or row.outcome is Change.WORSE:
        return row
    return replace(row, outcome=Change.WORSE, why="met its target in A, crosses its alert in B")
