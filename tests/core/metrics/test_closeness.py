"""Claims about the interval of a prediction's error on the same requests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from core.metrics.closeness import paired_interval
from core.metrics.kpi import parse_metric

P95, HITS = parse_metric("p95(track)"), parse_metric("hit_ratio")


def test_interval_is_students_for_the_difference_of_two_runs() -> None:
    values = [0.030, 0.031, 0.029, 0.0305]
    found = paired_interval(P95, values[0], 0.028, values[1:])
    assert found is not None
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) * math.sqrt(2) / 0.028
    assert found == pytest.approx((0.030 / 0.028 - 1 - half, 0.030 / 0.028 - 1 + half))


def test_of_ratios_the_interval_is_in_points() -> None:
    found = paired_interval(HITS, 0.97, 0.96, [0.971, 0.969])
    assert found is not None
    assert sum(found) / 2 == pytest.approx(0.01)
    assert found[1] - found[0] < 0.02


def test_interval_holds_0_where_prediction_and_measurement_differ_by_luck_alone() -> None:
    draws, hits = np.random.default_rng(3), 0
    for _ in range(1_000):
        measured, predicted, *luck = draws.normal(1.0, 0.05, 7).tolist()
        low, high = paired_interval(P95, predicted, measured, luck) or (1.0, 1.0)
        hits += low <= 0 <= high
    assert 0.93 <= hits / 1_000 <= 0.97


@pytest.mark.parametrize(
    ("predicted", "measured", "luck"),
    [(0.03, 0.03, [0.03]), (0.03, math.inf, [0.03, 0.04]), (0.03, 0.03, [math.inf, 0.03])],
)
def test_without_runs_or_finite_figures_there_is_none(
    predicted: float, measured: float, luck: list[float]
) -> None:
    assert paired_interval(P95, predicted, measured, luck) is None
