"""Claims about KPIs: one notation, and verdicts that follow from it."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.kpi import (
    ALIASES,
    SERIES,
    Bound,
    Kpi,
    Metric,
    Outcome,
    judge,
    overall,
    parse_bound,
    parse_kpi,
    parse_metric,
)
from core.metrics.ratio import RATIOS

BELOW = parse_kpi("p95_track", "< 100ms", "> 200ms")
ABOVE = parse_kpi("hit_ratio", ">= 95%", "< 85%")
VALUES = st.floats(0, 1)


@pytest.mark.parametrize(("short", "general"), ALIASES.items())
def test_a_short_name_and_its_general_notation_are_the_same_metric(
    short: str, general: str
) -> None:
    metric = parse_metric(short)
    assert metric == parse_metric(general) == parse_metric(f" {general} ")
    assert (metric.name, metric.general) == (short, general)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("function", ["p50", "p5", "p99.9", "p99.999", "mean", "max"])
def test_every_series_has_percentiles_mean_and_maximum(function: str, series: str) -> None:
    metric = parse_metric(f"{function}({series})")
    assert metric == Metric(function, series)
    assert parse_metric(metric.name) == metric
    assert metric.unit == "seconds"
    is_percentile = function.startswith("p")
    assert metric.quantile == (float(function[1:]) / 100 if is_percentile else None)


@pytest.mark.parametrize("series", [ratio.name for ratio in RATIOS])
def test_ratios_have_no_unit_and_no_quantile(series: str) -> None:
    metric = parse_metric(f"ratio({series})")
    assert (metric.unit, metric.quantile) == ("ratio", None)


def test_peak_memory_is_in_bytes_and_no_percentile() -> None:
    metric = parse_metric("peak_memory")
    assert (metric.unit, metric.quantile) == ("bytes", None)
    assert metric.parse_value("96MB") == 96e6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hit",
        "p95",
        "p95()",
        "p95(checkout)",
        "p95 (track)",
        "p100(track)",
        "p0(track)",
        "p00(track)",
        "p0.0(track)",
        "P95(track)",
        "mean(hit)",
        "ratio(track)",
        "peak(track)",
        "p95(memory)",
        "median(track)",
        "p95(track",
        "p95(track))",
        "p95.(track)",
        "p９５(track)",
    ],
)
def test_what_is_no_metric_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match="is not a metric; use hit_ratio") as caught:
        parse_metric(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("comparison", ["<", "<=", ">", ">="])
@given(line=VALUES, value=VALUES)
def test_a_bound_holds_as_python_compares(comparison: str, line: float, value: float) -> None:
    bound = parse_bound(f"{comparison} {line!r}", parse_metric("hit_ratio"))
    expected = {
        "<": value < line,
        "<=": value <= line,
        ">": value > line,
        ">=": value >= line,
    }[comparison]
    assert bound.holds(value) == expected
    assert bound.holds(line) == ("=" in comparison)


@pytest.mark.parametrize("text", ["< 100ms", "<100ms", "  <  100 ms ", "< 0.1s"])
def test_spaces_and_units_of_a_bound_do_not_matter(text: str) -> None:
    assert parse_bound(text, BELOW.metric) == Bound("<", 0.1)


@pytest.mark.parametrize(
    ("metric", "text", "reason"),
    [
        ("p95_track", "100ms", "is not a bound"),
        ("p95_track", "= 100ms", "is not a bound"),
        ("p95_track", "<", "is not a bound"),
        ("p95_track", "=< 100ms", "is not a bound"),
        ("p95_track", "< 100", "is not a duration"),
        ("p95_track", "< 5%", "is not a duration"),
        ("peak_memory", "< 5ms", "is not a size"),
        ("hit_ratio", "> 5ms", "is not a ratio"),
        ("hit_ratio", "> nan", "is not a ratio"),
    ],
)
def test_a_bound_of_another_unit_is_refused(metric: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_bound(text, parse_metric(metric))


@pytest.mark.parametrize(
    ("target", "alert", "reason"),
    [
        ("< 100ms", "< 200ms", "same way"),
        ("> 100ms", ">= 50ms", "same way"),
        ("< 100ms", "> 50ms", "inside target"),
        ("> 100ms", "< 150ms", "inside target"),
    ],
)
def test_a_kpi_that_contradicts_itself_is_refused(target: str, alert: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_kpi("p95_track", target, alert)


def test_target_and_alert_may_meet() -> None:
    kpi = parse_kpi("p95_track", "< 100ms", ">= 100ms")
    assert [judge(kpi, v).outcome for v in (0.099, 0.1, 0.101)] == [
        *(Outcome.PASS, Outcome.FAIL, Outcome.FAIL)
    ]


@pytest.mark.parametrize(
    ("kpi", "value", "outcome"),
    [
        (BELOW, 0.0999, Outcome.PASS),
        (BELOW, 0.1, Outcome.WARN),
        (BELOW, 0.2, Outcome.WARN),
        (BELOW, 0.2001, Outcome.FAIL),
        (BELOW, math.inf, Outcome.FAIL),
        (BELOW, None, Outcome.NOT_MEASURED),
        (BELOW, math.nan, Outcome.NOT_MEASURED),
        (ABOVE, 0.95, Outcome.PASS),
        (ABOVE, 0.9499, Outcome.WARN),
        (ABOVE, 0.85, Outcome.WARN),
        (ABOVE, 0.8499, Outcome.FAIL),
    ],
)
def test_a_point_is_judged_by_the_side_it_is_on(
    kpi: Kpi, value: float | None, outcome: Outcome
) -> None:
    verdict = judge(kpi, value)
    assert verdict.outcome is outcome
    assert verdict.interval is None
    assert (verdict.value is None) == (outcome is Outcome.NOT_MEASURED)


@given(low=st.floats(0, 0.4), width=st.floats(0, 0.4), share=st.floats(0, 1))
def test_an_interval_decides_only_where_all_of_it_agrees(
    low: float, width: float, share: float
) -> None:
    interval = (low, low + width)
    verdict = judge(BELOW, low + share * width, interval)
    inside = {judge(BELOW, low + i / 50 * width).outcome for i in range(51)}
    inside.add(judge(BELOW, interval[1]).outcome)
    if len(inside) == 1:
        assert {verdict.outcome} == inside
    else:
        assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.interval == interval


@pytest.mark.parametrize("value", [0.04, 0.0701, math.inf])
def test_a_value_outside_its_interval_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match=r"p95_track is .* outside its interval"):
        judge(BELOW, value, (0.05, 0.07))


def test_nothing_measured_stays_so_whatever_the_interval() -> None:
    verdict = judge(BELOW, None, (0.0, 0.01))
    assert (verdict.outcome, verdict.interval) == (Outcome.NOT_MEASURED, None)


ORDER = (
    Outcome.INVALID,
    Outcome.FAIL,
    Outcome.WARN,
    Outcome.INCONCLUSIVE,
    Outcome.PASS,
    Outcome.NOT_MEASURED,
)


@pytest.mark.parametrize(("worse", "better"), list(permutations(range(len(ORDER)), 2)))
def test_the_worse_outcome_stands_for_both(worse: int, better: int) -> None:
    assert overall([ORDER[worse], ORDER[better]]) is ORDER[min(worse, better)]


@given(outcomes=st.lists(st.sampled_from(Outcome)))
def test_the_overall_outcome_is_the_worst_of_what_was_measured(outcomes: list[Outcome]) -> None:
    assert overall(iter(outcomes)) is min(outcomes, key=ORDER.index, default=Outcome.NOT_MEASURED)


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("p95_track", 0.0165, "16.5 ms"),
        ("hit_ratio", 0.9731, "97.31 %"),
        ("peak_memory", 33.1e6, "33.1 MB"),
    ],
)
def test_a_value_is_shown_in_the_unit_of_its_metric(metric: str, value: float, text: str) -> None:
    assert parse_metric(metric).format(value) == text


@pytest.mark.parametrize(
    ("metric", "target", "value", "text"),
    [
        ("cost_per_million", "< $2", 2.0, "$2.00"),
        ("cost(per_month)", "< $1250.50", 1250.5, "$1,250"),
        ("cost_per_million", "< $0.004", 0.004, "$0.0040"),
        ("subrequests", "<= 50", 50.0, "50"),
        ("rows_written_per_day", "< 100k", 100_000.0, "100,000"),
        ("rows_read_per_day", "< 5M", 5_000_000.0, "5.00 M"),
        ("database_growth_per_day", "< 2GB", 2e9, "2.00 GB"),
        ("most(key_writes)", "<= 1", 1.0, "1"),
    ],
)
def test_money_and_counts_are_read_and_written_with_their_units(
    metric: str, target: str, value: float, text: str
) -> None:
    kpi = parse_kpi(metric, target, f"> {target.split()[1]}")
    assert kpi.target.value == value
    assert kpi.metric.format(value) == text


@pytest.mark.parametrize(
    ("metric", "target", "told"),
    [
        ("cost_per_million", "< 2", "'2' is not money; write it in dollars"),
        ("cost_per_million", "< 2ms", "'2ms' is not money"),
        ("subrequests", "< $2", "'\\$2' is not a count"),
        ("subrequests", "< 50ms", "'50ms' is not a count"),
    ],
)
def test_money_without_its_sign_and_counts_with_a_unit_are_refused(
    metric: str, target: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        parse_kpi(metric, target, "> $3" if metric.startswith("cost") else "> 99")


def test_cost_is_told_of_the_whole_run() -> None:
    with pytest.raises(ValueError, match="cost is told of the whole run; leave out the part"):
        parse_metric("cost_per_million(stage 2)")
