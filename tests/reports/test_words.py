"""A prediction is predicted, and a measurement is met or missed."""

from __future__ import annotations

import pytest

from core.metrics.kpi import Outcome, judge, parse_kpi, parse_metric
from core.metrics.verdict import ComparisonRow, compare
from reports import words
from tests.reports import records

TRACK = parse_kpi("p95_track", "< 100ms", "> 200ms")
HIT = parse_kpi("hit_ratio", ">= 95%", "< 85%")


def rows(track: float, hit: float, *, is_measured: bool) -> list[ComparisonRow]:
    verdicts = [judge(TRACK, track), judge(HIT, hit)]
    return [
        ComparisonRow(
            kpi=v.kpi,
            predicted=None if is_measured else v,
            measured=v if is_measured else None,
            error=None,
        )
        for v in verdicts
    ]


@pytest.mark.parametrize(
    ("track", "hit", "measured", "predicted"),
    [
        (
            0.05, 0.97,
            "Both KPIs meet their targets, as measured",
            "Both KPIs are predicted to meet their targets",
        ),
        (
            0.15, 0.97,
            "1 of 2 KPIs met as measured: p95_track misses its target",
            "1 of 2 KPIs predicted to be met: p95_track is predicted to miss its target",
        ),
        (
            0.3, 0.8,
            "0 of 2 KPIs met as measured: p95_track and hit_ratio cross their alert lines",
            "0 of 2 KPIs predicted to be met: p95_track and hit_ratio are predicted to cross "
            "their alert lines",
        ),
    ],
)  # fmt: skip
def test_a_prediction_is_predicted_and_never_met(
    track: float, hit: float, measured: str, predicted: str
) -> None:
    assert words.outcome_sentence(rows(track, hit, is_measured=True)) == measured
    assert words.outcome_sentence(rows(track, hit, is_measured=False)) == predicted


def test_what_a_predicted_figure_is_stands_beside_it() -> None:
    alone = compare(records.KPIS, records.predicted(), None)
    assert words.basis(alone) == (
        "Predicted: mean of 11 replications, and the 95 % confidence interval of the mean."
    )
    one = compare(records.KPIS, records.predicted(replications=0), None)
    assert words.basis(one) == "Predicted: one run, without an interval."
    both = compare(records.KPIS, records.predicted(), records.measured())
    assert words.basis(both) == (
        "Predicted: one run, of the requests that were measured; it has no interval."
    )
    assert words.basis(compare(records.KPIS, None, records.measured())) == ""


def test_kpi_that_only_some_replications_saw_says_so() -> None:
    seen = judge(TRACK, 0.05, (0.04, 0.06), runs=3)
    row = ComparisonRow(kpi=TRACK, predicted=seen, measured=None, error=None)
    others = compare((HIT,), records.predicted(), None)
    assert words.basis([row, *others]).endswith(
        "Not every replication saw all of them: p95_track in 3."
    )


def test_title_says_what_a_report_is_about() -> None:
    assert words.side_title(records.predicted()) == "predicted, mean of 11 replications"
    assert words.side_title(records.predicted(replications=0)) == "predicted, one run"
    assert words.side_title(records.measured()) == "measured"


def test_metrics_that_leave_waiting_out_are_named() -> None:
    metrics = [parse_metric(text) for text in ("p95_track", "p95(l3)", "p95_cpu", "p95_query")]
    (line,) = words.waiting_left_out(metrics)
    assert line.startswith("Waiting is left out of p95(l3) (for the database) and p95_cpu (for")
    assert words.waiting_left_out([parse_metric("p95_track")]) == []


def test_junit_reason_of_a_prediction_is_predicted() -> None:
    verdict = judge(TRACK, 0.231)
    assert verdict.outcome is Outcome.FAIL
    assert words.distance(verdict) == "p95_track is 231 ms, target < 100ms"
    assert words.distance(verdict, is_predicted=True) == (
        "p95_track is predicted to be 231 ms, target < 100ms"
    )


@pytest.mark.parametrize(
    ("metric", "target", "value", "text"),
    [
        ("cost_per_million", "< $2", 1.998, "$1.998"),  # $2.00 would miss its target
        ("cost_per_million", "< $2", 1.234, "$1.23"),
        ("cost_per_month", "< $5000", 2424.4, "$2,424"),
        ("subrequests", "<= 50", 6.0, "6"),
        ("rows_written_per_day", "< 100k", 66_300_000.0, "66.3 M"),
        ("queries", "<= 1000", 1000.4, "1000.4"),
    ],
)
def test_money_and_counts_are_shown_on_their_side_of_the_line(
    metric: str, target: str, value: float, text: str
) -> None:
    kpi = parse_kpi(metric, target, target.replace("<=", ">").replace("<", ">"))
    assert words.number_of(kpi, value) == text
    assert words.interval(kpi.metric, value, (0.9 * value, 1.1 * value), text)
