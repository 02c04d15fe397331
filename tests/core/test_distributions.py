"""Claims about service times: samples have the mean and the quantiles that were asked for."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from scipy import stats

from core.distributions import (
    TABLE_SIZE,
    Distribution,
    Latency,
    constant,
    empirical,
    exponential,
    parse_distribution,
    quantiles,
)

SECONDS = st.integers(1, 10**11).map(lambda ns: ns / 1e9)
TABLES = st.lists(SECONDS, min_size=2, max_size=50).map(sorted)
LARGEST_UNIFORM = 1 - 2**-53
GRID = 1e-9


class Model(BaseModel, arbitrary_types_allowed=True):
    """A field as a scenario file has it."""

    latency: Latency


def read_back(distribution: Distribution) -> Distribution:
    """Return *distribution* after a journey through a file."""
    text = Model(latency=distribution).model_dump_json()
    return Model.model_validate(json.loads(text)).latency


def refusal(value: Any) -> str:
    """Return what a scenario file is told about *value*."""
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"latency": value})
    (fault,) = caught.value.errors()
    message = fault["msg"]
    assert len(message.splitlines()) == 1
    return message


@given(table=TABLES, uniform=st.floats(0, 1, exclude_max=True))
def test_a_sample_lies_where_numpy_interpolates(table: list[float], uniform: float) -> None:
    expected = np.interp(uniform, np.linspace(0, 1, len(table)), table)
    assert Distribution(table, None).sample(uniform) == pytest.approx(expected, rel=1e-9)


@given(table=TABLES)
def test_the_largest_uniform_stays_inside_the_table(table: list[float]) -> None:
    distribution = Distribution(table, None)
    assert distribution.sample(0.0) == table[0]
    assert table[-2] <= distribution.sample(LARGEST_UNIFORM) <= table[-1]


@pytest.mark.parametrize("size", [*range(2, 70), *range(500, 530), *range(1_000, 1_050)])
def test_no_uniform_reaches_beyond_a_table_of_any_size(size: int) -> None:
    table = [float(i) for i in range(size)]
    assert Distribution(table, None).sample(LARGEST_UNIFORM) <= size - 1


@given(table=TABLES)
def test_the_mean_is_that_of_evenly_spread_samples(table: list[float]) -> None:
    distribution = Distribution(table, None)
    # Midpoints of equal steps integrate a piecewise linear function exactly.
    steps = 4 * (len(table) - 1)
    samples = [distribution.sample((i + 0.5) / steps) for i in range(steps)]
    assert distribution.mean == pytest.approx(math.fsum(samples) / steps, rel=1e-9)


@given(samples=st.lists(st.floats(0, 100), min_size=2, max_size=40))
def test_an_empirical_table_keeps_the_mean_of_few_samples(samples: list[float]) -> None:
    assert empirical(samples).mean == pytest.approx(np.mean(samples), rel=1e-9, abs=2 * GRID)


@pytest.mark.parametrize("count", [3, 1_000, 1_023, 1_024, 1_025, 3_000, 50_000])
def test_an_empirical_table_keeps_mean_and_quantiles_of_many_samples(count: int) -> None:
    samples = np.random.default_rng(count).lognormal(-4, 1, count)
    distribution = empirical(samples.tolist())
    assert distribution.mean == pytest.approx(samples.mean(), rel=1e-6)
    assert len(distribution.table) == count * max(1, TABLE_SIZE // count) or count > TABLE_SIZE
    assert len(distribution.table) <= TABLE_SIZE
    if count >= 1_000:
        for q in (0.1, 0.5, 0.9, 0.95):
            low, high = np.quantile(samples, [q - 0.01, q + 0.01])
            assert low <= distribution.sample(q) <= high


def test_an_outlier_among_few_samples_moves_the_mean_and_no_other_quantile() -> None:
    distribution = empirical([0.001] * 39 + [0.010])
    assert distribution.mean == pytest.approx(49e-3 / 40, rel=1e-6)
    for q in (0.05, 0.5, 0.95):
        assert distribution.sample(q) == 0.001


def test_an_empirical_table_of_one_value_is_that_constant() -> None:
    distribution = empirical([0.005] * 50)
    assert distribution.constant == 0.005
    assert distribution.sample(0.7) == 0.005


@pytest.mark.parametrize(
    ("samples", "reason"),
    [([], "two samples or more"), ([0.5], "two samples or more"), ([0.5, -0.1], "at least 0 s")],
)
def test_what_makes_no_table_is_refused(samples: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        empirical(samples)


@given(
    p50=st.floats(1e-4, 1),
    p95=st.floats(1.0, 20.0),
    p99=st.floats(1.0, 5.0),
)
def test_quantiles_pass_through_the_points_within_the_resolution_of_the_table(
    p50: float, p95: float, p99: float
) -> None:
    points = {"p50": p50, "p95": p50 * p95, "p99": p50 * p95 * p99}
    distribution = quantiles(points)
    # The table's 1024 points stand 1/1023 apart: a point lies between its two neighbours.
    step = 1 / (TABLE_SIZE - 1)
    for name, value in points.items():
        q = float(name[1:]) / 100
        around = distribution.sample(q - step), distribution.sample(min(q + step, LARGEST_UNIFORM))
        assert around[0] - GRID <= value <= around[1] + GRID


def test_two_quantiles_make_a_log_normal() -> None:
    distribution = quantiles({"p50": 0.010, "p99": 0.030})
    sigma = math.log(3) / stats.norm.ppf(0.99)
    log_normal = stats.lognorm(sigma, scale=0.010)
    for q in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
        assert distribution.sample(q) == pytest.approx(log_normal.ppf(q), rel=0.005)
    assert distribution.mean == pytest.approx(log_normal.mean(), rel=0.01)
    assert distribution.table[-1] == pytest.approx(log_normal.ppf(0.9999), rel=1e-6)


def test_quantiles_may_be_given_in_any_order() -> None:
    rising = {"p9": 0.001, "p50": 0.005, "p99": 0.020, "p99.9": 0.050}
    assert quantiles(rising) == quantiles(dict(reversed(rising.items())))


@given(mean=st.floats(1e-5, 1e3))
def test_an_exponential_has_its_mean(mean: float) -> None:
    distribution = exponential(mean)
    assert distribution.mean == pytest.approx(mean, rel=1e-6, abs=GRID)
    # A memoryless median, but for the tail that is cut and the mean that makes up for it.
    assert distribution.sample(0.5) == pytest.approx(mean * math.log(2), rel=0.01)


def test_an_exponential_is_within_half_a_percent_of_the_law() -> None:
    distribution = exponential(0.02)
    samples = [distribution.sample((i + 0.5) / 10_000) for i in range(10_000)]
    statistic = stats.kstest(samples, "expon", args=(0, 0.02)).statistic
    assert statistic < 0.005


@given(table=TABLES, factor=st.sampled_from([0.0, 0.5, 1.0, 1.7, 10.0]))
def test_scaling_scales_every_quantile(table: list[float], factor: float) -> None:
    scaled = Distribution(table, None).scaled(factor)
    assert scaled.table == pytest.approx([value * factor for value in table], abs=GRID)
    assert read_back(scaled) == scaled


SOURCES = st.one_of(
    SECONDS.map(constant),
    SECONDS.map(exponential),
    st.lists(SECONDS, min_size=2).map(empirical),
    st.builds(lambda a, b: quantiles({"p50": a, "p99": a + b}), SECONDS, SECONDS),
)


@given(distribution=SOURCES)
def test_a_distribution_reads_back_from_a_file_as_itself(distribution: Distribution) -> None:
    again = read_back(distribution)
    assert again == distribution
    assert hash(again) == hash(distribution)
    assert (again.mean, again.constant) == (distribution.mean, distribution.constant)
    assert read_back(again).source == again.source


@pytest.mark.parametrize(
    ("written", "samples"),
    [
        ("5ms", (0.005, 0.005)),
        ("0s", (0.0, 0.0)),
        ({"table": ["1ms", "2ms", "4ms"]}, (0.001, 0.002)),
        ({"table": ["3ms", "3ms"]}, (0.003, 0.003)),
    ],
)
def test_what_a_file_writes_is_what_is_sampled(written: Any, samples: tuple[float, float]) -> None:
    distribution = parse_distribution(written)
    assert (distribution.sample(0.0), distribution.sample(0.5)) == samples


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "is not a latency"),
        (None, "is not a latency"),
        ({}, "is not a latency"),
        ([], "is not a latency"),
        ("5", "not a duration"),
        ("fast", "not a duration"),
        ("-5ms", "is negative"),
        ({"p50": "5ms"}, "two or more quantiles"),
        ({"p50": "5ms", "p99": "4ms"}, "must rise"),
        ({"p50": "0s", "p99": "4ms"}, "more than 0"),
        ({"p50": "5ms", "p99": 20}, "has no unit"),
        ({"p50": "5ms", "p99": "-1ms"}, "is negative"),
        ({"p50": "5ms", "p100": "20ms"}, "'p100' is not a quantile"),
        ({"p50": "5ms", "p0": "1ms"}, "'p0' is not a quantile"),
        ({"p50": "5ms", "q99": "20ms"}, "'q99' is not a quantile"),
        ({"p50": "5ms", "p": "20ms"}, "'p' is not a quantile"),
        ({"p50": "5ms", "p²": "20ms"}, "'p²' is not a quantile"),
        ({"p50": "5ms", "p50.0": "6ms"}, "same quantile"),
        ({"p50": {"p50": "5ms"}, "p99": "20ms"}, "has no unit"),
        ({"p50": ["5ms"], "p99": "20ms"}, "has no unit"),
        ({"p50": "1ns", "p50.001": "10000000000s"}, "too far apart"),
        ({"table": ["1ms"]}, "at least two values"),
        ({"table": []}, "at least two values"),
        ({"table": ["2ms", "1ms"]}, "never falls"),
        ({"table": "1ms"}, "stands alone"),
        ({"table": ["1ms", "2ms"], "p50": "1ms"}, "stands alone"),
        ({"table": ["1ms", 2]}, "has no unit"),
        ({"table": [["1ms"], ["2ms"]]}, "has no unit"),
        ({"table": [{"a": "1ms"}, "2ms"]}, "has no unit"),
        ({"distribution": "exponential"}, 'mean = "5ms"'),
        ({"distribution": "normal", "mean": "5ms"}, 'distribution = "exponential"'),
        ({"distribution": ["exponential"], "mean": "5ms"}, 'distribution = "exponential"'),
        ({"distribution": "exponential", "mean": "5ms", "p50": "1ms"}, 'mean = "5ms"'),
        ({"distribution": "exponential", "mean": "-5ms"}, "is negative"),
        ({"distribution": "exponential", "mean": {}}, "has no unit"),
    ],
)
def test_what_is_no_latency_is_refused_with_its_reason(value: Any, reason: str) -> None:
    assert reason in refusal(value)
