"""Verdicts on a run, and the comparison of a prediction with its measurement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.metrics.closeness import error_ends, paired_interval, relative_error, side_within
from core.metrics.kpi import Interval, Kpi, Metric, Outcome, Verdict, judge, overall
from core.metrics.ratio import Ratio
from core.metrics.record import RunRecord, estimate_of_metric
from core.metrics.run_ends import figures, run_ends


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One KPI, as predicted and as measured; None where a run has no such side.

    error is predicted/measured - 1, for ratios the difference; None where either is missing or
    they mean different things (`incomparable`). error_ends: the least and the greatest error that
    a flawed measurement leaves open, None without flaws. error_interval: its 95 % interval, where
    the prediction has further runs of the same requests. is_error_in_doubt: whether these decide if
    the prediction is near enough (`core.metrics.closeness`).
    """

    kpi: Kpi
    predicted: Verdict | None
    measured: Verdict | None
    error: float | None
    error_ends: Interval | None = None
    is_error_in_doubt: bool = False
    error_interval: Interval | None = None


def verdicts(record: RunRecord, kpis: Sequence[Kpi], *, one_run: bool = False) -> list[Verdict]:
    """Judge *record* on each of *kpis*.

    Flawed runs are judged with the requests in doubt at their best and at their worst, each run
    with its own: the same outcome both times is the outcome, any other is INVALID. Where the flaws
    of a run leave everything open, it is INVALID throughout.

    The mean over its replications is judged, with the interval of the mean, or where the record
    says so that for one more run; with *one_run* the
    record's own run alone, which has no interval.
    """
    return [_verdict(record, kpi, one_run=one_run) for kpi in kpis]


def _verdict(record: RunRecord, kpi: Kpi, *, one_run: bool) -> Verdict:
    own = figures(record, kpi.metric)[: 1 if one_run else None]
    verdict = _judged(kpi, own, one_more=record.one_more)
    if record.audit is None or not record.audit.invalid:
        return verdict
    ends = run_ends(record, kpi.metric)
    if ends is None:
        return replace(verdict, outcome=Outcome.INVALID)
    low, high = (_judged(kpi, values[: 1 if one_run else None]) for values in ends)
    if low.value is None or high.value is None:
        return verdict
    outcomes = (low.outcome, high.outcome)
    return replace(
        verdict,
        outcome=low.outcome if low.outcome is high.outcome else Outcome.INVALID,
        possible=(low.value, high.value),
        at_ends=outcomes if kpi.target.is_upper else outcomes[::-1],
        misses_at_ends=low.misses and high.misses,
    )


def _judged(kpi: Kpi, values: Sequence[float | None], *, one_more: bool = False) -> Verdict:
    """Judge the mean of *values*, one of each run, None where a run did not see it."""
    seen = [value for value in values if value is not None]
    if not seen:
        return judge(kpi, None)
    found = estimate_of_metric(kpi.metric, seen, one_more=one_more)
    return judge(kpi, found.value, found.interval, runs=found.runs)


def incomparable(metric: Metric, predicted: RunRecord, measured: RunRecord) -> str | None:
    """Return why *metric* means another thing on either side, None if it means the same."""
    if isinstance(metric.what, Ratio) and metric.what.has_reads:
        sides = ((predicted, measured, "prediction"), (measured, predicted, "measurement"))
        for side, other, name in sides:
            if lacking := sorted(set(other.reads) - set(side.reads)):
                reads = "read" if len(lacking) == 1 else "reads"
                return f"the {name} has no cache {reads} {', '.join(lacking)}"
    if metric.series == "l3" and ("l3wait" in predicted.stages) != ("l3wait" in measured.stages):
        name = "measurement" if "l3wait" in predicted.stages else "prediction"
        return f"without l3wait the {name}'s l3 may hold waiting, which the other side leaves out"
    return None


def not_compared(
    metrics: Iterable[Metric], predicted: RunRecord | None, measured: RunRecord | None
) -> list[str]:
    """Return a line for each of *metrics* that both sides have and that cannot be compared."""
    if predicted is None or measured is None:
        return []
    return [
        f"Not compared: {metric.name}: {reason}."
        for metric in metrics
        if predicted.metric(metric) is not None
        and measured.metric(metric) is not None
        and (reason := incomparable(metric, predicted, measured)) is not None
    ]


def compare(
    kpis: Sequence[Kpi], predicted: RunRecord | None, measured: RunRecord | None
) -> list[ComparisonRow]:
    """Return one row per KPI with the verdict on either side.

    Beside one measured run stands the one predicted run that has the same requests; alone, or
    beside repeated measurements, a prediction is the mean over its replications. So are those.
    """
    is_beside = measured is not None and measured.runs == 1
    left = verdicts(predicted, kpis, one_run=is_beside) if predicted else [None] * len(kpis)
    right = verdicts(measured, kpis) if measured else [None] * len(kpis)
    rows = []
    for kpi, p, m in zip(kpis, left, right, strict=True):
        row = ComparisonRow(kpi=kpi, predicted=p, measured=m, error=None)
        if predicted and measured and incomparable(kpi.metric, predicted, measured) is None:
            row = _with_error(row)
            if is_beside and predicted.paired:
                row = _with_interval(row, predicted)
        rows.append(row)
    return rows


def _with_interval(row: ComparisonRow, predicted: RunRecord) -> ComparisonRow:
    p, m, name = row.predicted, row.measured, row.kpi.name
    if p is None or m is None or p.value is None or m.value is None or row.error_ends is not None:
        return row
    luck = [run[name] for run in predicted.paired if name in run]
    return replace(row, error_interval=paired_interval(row.kpi.metric, p.value, m.value, luck))


def _with_error(row: ComparisonRow) -> ComparisonRow:
    p, m, metric = row.predicted, row.measured, row.kpi.metric
    if p is None or m is None or p.value is None or m.value is None:
        return row
    row = replace(row, error=relative_error(metric, p.value, m.value))
    if m.possible is not None:
        return replace(
            row,
            error_ends=error_ends(metric, p.value, m.possible),
            is_error_in_doubt=side_within(metric, p.value, m.possible) is None,
        )
    is_open = m.outcome is Outcome.INVALID
    return replace(
        row, error_ends=(-math.inf, math.inf) if is_open else None, is_error_in_doubt=is_open
    )


def outcome(rows: Sequence[ComparisonRow], required: Sequence[str] = ()) -> Outcome:
    """Return the outcome of the side that counts: the measured one where there is one.

    A KPI that was NOT_MEASURED is ignored unless its name is in *required*: then it FAILs. Where
    requests are in doubt, the run is judged with all of them at their best and at their worst: the
    same outcome both times is the outcome, any other is INVALID.
    """
    best, worst = outcome_at_ends(rows, required)
    return best if best is worst else Outcome.INVALID


def outcome_at_ends(
    rows: Sequence[ComparisonRow], required: Sequence[str] = ()
) -> tuple[Outcome, Outcome]:
    """Return the outcome of the side that counts with all that is in doubt at best, and at worst.

    INVALID both times where the flaws leave everything open.
    """
    best, worst = [], []
    for row in rows:
        verdict = row.measured or row.predicted
        if verdict is None:
            continue
        missing = verdict.outcome is Outcome.NOT_MEASURED and row.kpi.name in required
        same = (verdict.outcome, verdict.outcome)
        one, other = (Outcome.FAIL, Outcome.FAIL) if missing else verdict.at_ends or same
        best.append(one)
        worst.append(other)
    return overall(best), overall(worst)
