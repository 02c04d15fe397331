"""Claims about judging whole records, and about a prediction beside its measurement."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.closeness import relative_error
from core.metrics.histogram import LatencyHistogram
from core.metrics.kpi import Metric, Outcome, Verdict, judge, parse_kpi, parse_metric
from core.metrics.ratio import Ratio
from core.metrics.record import Audit, RunRecord, Windows
from core.metrics.verdict import (
    ComparisonRow,
    compare,
    incomparable,
    not_compared,
    outcome,
    verdicts,
)

KPIS = (
    parse_kpi("p95_track", "< 100ms", "> 200ms"),
    parse_kpi("hit_ratio", ">= 95%", "< 85%"),
    parse_kpi("p95_queue", "< 500ms", "> 2s"),
)


def audit(*invalid: str) -> Audit:
    return Audit(
        lag_p50=0.0, lag_p99=0.0, lag_limit=0.005, cpu_share=0.1, planned=1, sent=1, dropped=(),
        rendered_hash="", inversions=0, largest_displacement=0, delay_error_mean=None,
        generator_speed=None, service_speed=None, invalid=invalid,
    )  # fmt: skip


def record(seconds: float, hits: int, **changes: Any) -> RunRecord:
    """Return a record whose tracking takes *seconds* and of whose 100 reads *hits* hit."""
    base = RunRecord(
        engine="simulate", scenario={"name": "x"}, scenario_hash="", seed=1, workload_hash="",
        planned=1, duration=1.0, latencies={"track": LatencyHistogram.of(np.array([seconds]))},
        stages={}, reads={"lookup": {"l1": hits, "miss": 100 - hits}}, memory_peak=None,
        windows=Windows(start=0.0, width=1.0, requests=(), failed=(), p50=(), p95=(), p99=(),
                        l1=(), l2=(), missed=()),
    )  # fmt: skip
    return replace(base, **changes)


def outcomes(judged: list[Verdict]) -> list[Outcome]:
    return [verdict.outcome for verdict in judged]


def test_a_record_is_judged_on_each_kpi_in_their_order() -> None:
    judged = verdicts(record(0.05, 90), KPIS)
    assert [verdict.kpi for verdict in judged] == list(KPIS)
    assert outcomes(judged) == [Outcome.PASS, Outcome.WARN, Outcome.NOT_MEASURED]


def test_replications_make_the_verdict_that_of_the_interval() -> None:
    spread = tuple({"p95_track": value} for value in (0.09, 0.1, 0.11))
    judged = verdicts(record(0.05, 96, replications=spread), KPIS)
    assert outcomes(judged)[:2] == [Outcome.INCONCLUSIVE, Outcome.PASS]
    assert judged[0].interval is not None
    assert judged[1].interval is None


FIGURES = st.one_of(
    st.floats(1e-6, 10), st.sampled_from([0.1, 0.2, 0.95, 0.85, 0.5, 2.0, math.inf])
)


@given(
    own=st.floats(1e-6, 10),
    hits=st.integers(0, 100),
    runs=st.lists(st.fixed_dictionaries({}, optional={
        "p95_track": FIGURES, "hit_ratio": st.floats(0, 1), "p95_queue": FIGURES,
    }), max_size=12),
)  # fmt: skip
def test_a_figure_lies_in_its_interval_and_never_passes_where_it_misses(
    own: float, hits: int, runs: list[dict[str, float]]
) -> None:
    judged = verdicts(record(own, hits, replications=tuple(runs)), KPIS)
    for verdict in judged:
        if verdict.value is None:
            assert verdict.outcome is Outcome.NOT_MEASURED
            continue
        alone = judge(verdict.kpi, verdict.value).outcome
        assert verdict.outcome in (alone, Outcome.INCONCLUSIVE)
        if verdict.interval is None:
            assert (verdict.runs, verdict.outcome) == (1, alone)
            continue
        low, high = verdict.interval
        assert low <= verdict.value <= high
        ends = {judge(verdict.kpi, end).outcome for end in (low, high)}
        assert verdict.outcome is (alone if ends == {alone} else Outcome.INCONCLUSIVE)
        assert verdict.misses == (Outcome.PASS not in {*ends, alone})


def test_beside_a_measurement_stands_one_run_without_the_interval_of_others() -> None:
    others = tuple({"p95_track": value} for value in (0.3, 0.31, 0.32))
    predicted = record(0.05, 96, replications=others)
    measured = record(0.05, 96)
    (alone, *_), (beside, *_) = compare(KPIS, predicted, None), compare(KPIS, predicted, measured)
    assert alone.predicted is not None
    assert beside.predicted is not None
    assert alone.predicted.value == pytest.approx((0.05 + 0.93) / 4, rel=0.01)
    assert alone.predicted.interval is not None
    assert (beside.predicted.runs, beside.predicted.interval) == (1, None)
    repeated = record(0.05, 96, replications=others)
    (of_means, *_) = compare(KPIS, predicted, repeated)
    assert of_means.predicted == alone.predicted
    assert of_means.measured is not None
    assert (of_means.measured.runs, of_means.measured.interval) == (4, alone.predicted.interval)
    assert beside.predicted.value == pytest.approx(0.05, rel=0.01)
    assert beside.error == 0


@pytest.mark.parametrize("reasons", [("lag",), ("lag", "drops")])
def test_a_run_that_cannot_be_trusted_is_invalid_throughout_and_keeps_its_figures(
    reasons: tuple[str, ...],
) -> None:
    trusted = verdicts(record(0.3, 50, audit=audit()), KPIS)
    invalid = verdicts(record(0.3, 50, audit=audit(*reasons)), KPIS)
    assert outcomes(trusted) == [Outcome.FAIL, Outcome.FAIL, Outcome.NOT_MEASURED]
    assert outcomes(invalid) == [Outcome.INVALID] * 3
    assert [v.value for v in invalid] == [v.value for v in trusted]


@pytest.mark.parametrize(
    ("metric", "predicted", "measured", "error"),
    [
        ("p95_track", 0.11, 0.10, 0.1),
        ("p95_track", 0.05, 0.10, -0.5),
        ("hit_ratio", 0.97, 0.95, 0.02),
        ("hit_ratio", 0.5, 0.0, 0.5),
        ("peak_memory", 90e6, 60e6, 0.5),
    ],
)
def test_the_error_is_relative_and_for_ratios_a_difference(
    metric: str, predicted: float, measured: float, error: float
) -> None:
    assert relative_error(parse_metric(metric), predicted, measured) == pytest.approx(error)


@pytest.mark.parametrize(
    ("predicted", "measured"),
    [(None, 0.1), (0.1, None), (math.inf, 0.1), (0.1, math.inf), (0.1, 0.0), (math.inf, math.inf)],
)
def test_there_is_no_error_where_a_side_is_missing_or_infinite(
    predicted: float | None, measured: float | None
) -> None:
    assert relative_error(parse_metric("p95_track"), predicted, measured) is None


def test_a_comparison_has_both_sides_and_their_error() -> None:
    rows = compare(KPIS, record(0.06, 97), record(0.05, 95))
    assert [row.kpi for row in rows] == list(KPIS)
    assert rows[0].error == pytest.approx(0.2, abs=0.005)
    assert rows[1].error == pytest.approx(0.02)
    assert rows[2].error is None
    assert all(row.predicted and row.measured for row in rows)


@pytest.mark.parametrize("side", [0, 1])
def test_a_comparison_with_one_side_has_no_error(side: int) -> None:
    only = record(0.06, 97)
    rows = compare(KPIS, only if side == 0 else None, only if side == 1 else None)
    assert {row.error for row in rows} == {None}
    assert all((row.predicted is None) == (side == 1) for row in rows)


def row(
    metric: int, predicted: float | None, measured: float | None, *, both: bool = True
) -> ComparisonRow:
    kpi = KPIS[metric]
    return ComparisonRow(
        kpi=kpi,
        predicted=judge(kpi, predicted),
        measured=judge(kpi, measured) if both else None,
        error=None,
    )


def test_the_measured_side_counts_where_there_is_one() -> None:
    assert outcome([row(0, 0.3, 0.05)]) is Outcome.PASS
    assert outcome([row(0, 0.05, 0.3)]) is Outcome.FAIL
    assert outcome([row(0, 0.3, None, both=False)]) is Outcome.FAIL


def test_what_was_not_measured_is_ignored_unless_it_is_required() -> None:
    rows = [row(0, 0.05, 0.05), row(2, 0.1, None)]
    assert outcome(rows) is Outcome.PASS
    assert outcome(rows, ["p95_track"]) is Outcome.PASS
    assert outcome(rows, ["p95_queue"]) is Outcome.FAIL


def test_nothing_at_all_is_not_measured() -> None:
    empty = ComparisonRow(kpi=KPIS[0], predicted=None, measured=None, error=None)
    assert outcome([empty]) is Outcome.NOT_MEASURED
    assert outcome([]) is Outcome.NOT_MEASURED


def test_ratios_of_different_reads_are_not_compared() -> None:
    predicted, measured = record(0.05, 90), record(0.05, 60)
    assert compare(KPIS, predicted, measured)[1].error == pytest.approx(0.3)
    more = replace(measured, reads={**measured.reads, "journey": {"l1": 5}})
    row = compare(KPIS, predicted, more)[1]
    assert row.error is None
    assert row.measured is not None
    assert row.measured.value == pytest.approx(65 / 105)
    metrics = [kpi.metric for kpi in KPIS]
    assert not_compared(metrics, predicted, more) == [
        "Not compared: hit_ratio: the prediction has no cache read journey."
    ]
    assert not_compared(metrics, more, predicted) == [
        "Not compared: hit_ratio: the measurement has no cache read journey."
    ]
    assert not_compared(metrics, predicted, measured) == []
    assert not_compared(metrics, predicted, None) == []


@pytest.mark.parametrize("text", ["ratio(l1)", "ratio(miss)", "p95(l3)", "mean(l3)"])
def test_metric_that_leaves_something_out_on_one_side_is_not_compared(text: str) -> None:
    times = LatencyHistogram.of(np.array([0.01]))
    predicted = record(0.05, 90, stages={"l3": times, "l3wait": times})
    measured = record(0.05, 60, stages={"l3": times}, reads={"journey": {"l1": 5}})
    metric = parse_metric(text)
    assert incomparable(metric, predicted, predicted) is None
    assert incomparable(metric, predicted, measured) is not None
    assert incomparable(parse_metric("error_ratio"), predicted, measured) is None
    (line,) = not_compared([metric], predicted, measured)
    assert line.startswith(f"Not compared: {metric.name}: ")


def test_ratio_that_counts_no_cache_reads_is_compared_whatever_reads_there_are() -> None:
    predicted, measured = record(0.05, 90), record(0.05, 60, reads={"journey": {"l1": 5}})
    for counted, is_comparable in (("counters.lost", True), ("reads.collapsed", False)):
        own = Ratio(name="own", title="own", counted=(counted,), of=("requests",))
        found = incomparable(Metric("ratio", "own", own), predicted, measured)
        assert (found is None) == is_comparable
