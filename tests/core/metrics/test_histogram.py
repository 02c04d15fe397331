"""Claims about the latency histogram: small, mergeable, and 0.2 % from the truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.histogram import LatencyHistogram, bucket_of, bucket_value

SECONDS = st.one_of(
    st.floats(0, 1e-6),
    st.floats(1e-6, 1.0),
    st.floats(0, 1e5),
    # The edges of buckets, and the points where two roundings could differ.
    st.integers(0, 2**40).map(lambda ns: ns * 1e-9),
    st.builds(lambda e, d: ((1 << e) + d) * 1e-9, st.integers(0, 45), st.integers(-2, 2)),
).map(lambda x: max(x, 0.0))
LATENCIES = st.lists(SECONDS | st.just(math.inf), max_size=60)
SOME = st.lists(SECONDS | st.just(math.inf), min_size=1, max_size=60)
QUANTILES = st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]) | st.floats(0, 1)


def recorded(seconds: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in seconds:
        if math.isinf(value):
            histogram.fail()
        else:
            histogram.record(value)
    return histogram


def nearest_rank(seconds: list[float], q: float) -> float:
    """Return the smallest value that has a share of at least *q* at or below it."""
    return next(
        value
        for rank, value in enumerate(sorted(seconds), start=1)
        if rank >= q * len(seconds) - 1e-9
    )


@given(seconds=SOME, q=QUANTILES)
def test_quantile_is_within_a_fifth_of_a_percent_of_the_order_statistic(
    seconds: list[float], q: float
) -> None:
    expected = nearest_rank(seconds, q)
    found = recorded(seconds).quantile(q)
    if math.isinf(expected):
        assert math.isinf(found)
    else:
        assert abs(found - expected) <= 2**-9 * expected + 0.51e-9


@given(st.lists(SECONDS | st.sampled_from([math.inf, -math.inf, -1.0, -1e-9, -1e200]), min_size=1))
def test_infinite_latencies_are_failures_and_negative_ones_are_0(seconds: list[float]) -> None:
    one_by_one = LatencyHistogram()
    for value in seconds:
        one_by_one.record(value)
    expected = recorded([max(0.0, value) for value in seconds])
    assert one_by_one.to_json() == expected.to_json()


def test_latency_that_is_no_number_is_refused_and_changes_nothing() -> None:
    histogram = recorded([0.5, math.inf])
    before = histogram.to_json()
    with pytest.raises(ValueError, match=r"a latency is NaN; .* fail\(\)"):
        histogram.record(math.nan)
    assert histogram.to_json() == before


@given(nanoseconds=st.integers(0, 2**53))
def test_a_bucket_holds_values_within_a_512th_of_its_middle(nanoseconds: int) -> None:
    middle = bucket_value(bucket_of(nanoseconds)) * 1e9
    assert abs(middle - nanoseconds) <= nanoseconds / 512 * (1 + 1e-9)


@given(nanoseconds=st.integers(0, 2**53))
def test_buckets_ascend_without_gaps(nanoseconds: int) -> None:
    assert bucket_of(nanoseconds + 1) - bucket_of(nanoseconds) in (0, 1)


@given(seconds=SOME)
def test_quantiles_never_fall(seconds: list[float]) -> None:
    values = recorded(seconds).quantiles([i / 20 for i in range(21)])
    assert values == sorted(values)


def test_failed_requests_rank_behind_every_success() -> None:
    histogram = recorded([0.001] * 94 + [9e4])
    histogram.fail(5)
    assert histogram.count == 100
    assert histogram.quantile(0.95) == pytest.approx(9e4, rel=2**-9)
    assert histogram.quantile(0.951) == math.inf
    assert histogram.maximum == math.inf
    assert histogram.mean == pytest.approx((94 * 0.001 + 9e4) / 95)


def test_a_run_of_failures_alone_has_infinite_quantiles_and_no_mean() -> None:
    histogram = recorded([math.inf] * 3)
    assert histogram.quantile(0.0) == math.inf
    with pytest.raises(ValueError, match="nothing was recorded"):
        _ = histogram.mean


@given(seconds=LATENCIES)
def test_recording_one_by_one_equals_recording_an_array(seconds: list[float]) -> None:
    array = LatencyHistogram.of(np.array(seconds, dtype=np.float64).reshape(1, -1))
    assert array.to_json() == recorded(seconds).to_json()


def test_a_negative_latency_counts_as_0() -> None:
    for histogram in (recorded([-1.0]), LatencyHistogram.of(np.array([-1.0]))):
        assert (histogram.count, histogram.quantile(1.0), histogram.mean) == (1, 0.0, 0.0)


def test_what_is_no_number_is_a_failure() -> None:
    assert LatencyHistogram.of(np.array([math.nan, 0.1, math.inf])).failed == 2


@given(one=LATENCIES, other=LATENCIES)
def test_merging_equals_recording_all(one: list[float], other: list[float]) -> None:
    merged = recorded(one)
    merged.add(recorded(other))
    assert merged.to_json() == recorded(one + other).to_json()


@given(before=LATENCIES, after=LATENCIES)
def test_since_is_what_was_added(before: list[float], after: list[float]) -> None:
    total = recorded(before + after)
    rest, expected = total.since(recorded(before)), recorded(after)
    assert (rest.counts, rest.failed) == (expected.counts, expected.failed)
    assert rest.total_ns == expected.total_ns
    if rest.counts:
        assert rest.maximum_ns == total.maximum_ns >= expected.maximum_ns


@given(seconds=LATENCIES)
def test_a_histogram_reads_back_from_json(seconds: list[float]) -> None:
    data = recorded(seconds).to_json()
    assert LatencyHistogram.from_json(json.loads(json.dumps(data))).to_json() == data


@given(seconds=SOME)
def test_order_of_recording_does_not_show(seconds: list[float]) -> None:
    one, other = recorded(seconds).to_json(), recorded(seconds[::-1]).to_json()
    assert json.dumps(one) == json.dumps(other)


@given(seconds=st.lists(SECONDS, min_size=1))
def test_mean_and_maximum_are_exact_to_the_nanosecond(seconds: list[float]) -> None:
    histogram = recorded(seconds)
    mean = math.fsum(seconds) / len(seconds)
    assert histogram.mean == pytest.approx(mean, rel=1e-12, abs=0.51e-9)
    assert histogram.maximum == pytest.approx(max(seconds), rel=1e-12, abs=0.51e-9)


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        recorded([1.0]).quantile(q)


def test_an_empty_histogram_has_no_figures() -> None:
    empty = LatencyHistogram()
    assert empty.count == 0
    with pytest.raises(ValueError, match="nothing was recorded"):
        empty.quantile(0.5)
    for figure in ("mean", "maximum"):
        with pytest.raises(ValueError, match="nothing was recorded"):
            getattr(empty, figure)


def test_size_depends_on_the_spread_of_latencies_and_not_on_their_number() -> None:
    rng = np.random.default_rng(1)
    seconds = np.clip(rng.lognormal(-4, 1, 1_000_000), 0.001, 1.0)
    histogram = LatencyHistogram.of(seconds)
    assert histogram.count == 1_000_000
    assert len(histogram.counts) <= 257 * np.log2(1.0 / 0.001)


def test_counts_up_to_a_bound_are_those_of_the_values_and_leave_failures_out() -> None:
    seconds = [0.0, 3e-7, 0.00099, 0.0011, 0.02, 3.0]
    histogram = LatencyHistogram.of(np.array(seconds))
    histogram.fail(2)
    bounds = (0.0001, 0.001, 0.0025, 0.05, 2.0, 10.0)
    expected = [sum(value <= bound for value in seconds) for bound in bounds]
    assert histogram.at_most(bounds) == expected
    assert histogram.count == 8
    assert LatencyHistogram().at_most(bounds) == [0] * 6
