"""Planted changes of level are found where they are; noise of any shape makes none."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bench.changes import LEVEL, Change, changes

SERIES = 5
HISTORIES = 200


def noise(seed: int, count: int, spread: float = 0.02) -> NDArray[np.float64]:
    """Return *count* figures around 1 with some that are far off, as on a shared machine."""
    generator = np.random.default_rng(seed)
    return np.exp(spread * generator.standard_t(2.5, size=count))


def places(found: tuple[Change, ...]) -> list[int]:
    return [change.index for change in found]


@pytest.mark.parametrize("count", [9, 25])
def test_unchanged_figures_show_a_change_in_at_most_the_stated_share(count: int) -> None:
    alarms = sum(
        any(changes({str(k): noise(SERIES * seed + k, count) for k in range(SERIES)}).values())
        for seed in range(HISTORIES)
    )
    # More than this would be seen in one of a thousand such tests if the share were LEVEL.
    assert alarms <= stats.binom.ppf(0.999, HISTORIES, LEVEL)


def test_six_figures_never_show_a_change_for_20_orders_are_too_few() -> None:
    for order in permutations([1.0, 1.01, 1.02, 2.0, 2.01, 2.02]):
        if order[0] == 1.0:
            assert changes({"a": order}) == {"a": ()}


@pytest.mark.parametrize("size", [0.9, 1.1])
@pytest.mark.parametrize("at", [10, 20, 25])
def test_planted_step_is_found_at_its_place(at: int, size: float) -> None:
    for seed in range(20):
        series = {str(k): noise(1000 * seed + k, 30, 0.01) for k in range(SERIES)}
        series["0"][at:] *= size
        (change,) = changes(series, at_least=0.03)["0"]
        assert abs(change.index - at) <= 1
        assert change.ratio == pytest.approx(size, rel=0.03)
        assert change.probability <= LEVEL / SERIES


def test_rise_that_is_taken_back_is_two_changes() -> None:
    for seed in range(10):
        values = noise(seed, 40, 0.01)
        values[15:25] *= 1.1
        found = changes({"a": values}, at_least=0.03)["a"]
        assert np.abs(np.array(places(found)) - [15, 25]).max() <= 1
        assert found[0].ratio > 1 > found[1].ratio


@pytest.mark.parametrize("outliers", [1, 2])
@pytest.mark.parametrize("factor", [1.5, 50.0])
def test_outliers_at_the_end_are_no_change_however_far_off(outliers: int, factor: float) -> None:
    values = [1 + 0.001 * (number * 7 % 5) for number in range(20)]
    values[-outliers:] = [factor + number for number in range(outliers)]
    assert changes({"a": values}) == {"a": ()}


def test_outlier_does_not_hide_a_step() -> None:
    values = noise(3, 30, 0.01)
    values[15:] *= 1.1
    values[[4, 20]] *= 100
    assert places(changes({"a": values})["a"]) == [15]


def test_ties_are_no_change_and_hide_none() -> None:
    assert changes({"a": [2.0] * 50}) == {"a": ()}
    assert places(changes({"a": [2.0] * 8 + [3.0] * 8})["a"]) == [8]
    assert changes({"a": [2.0, 3.0] * 12}) == {"a": ()}


@pytest.mark.parametrize("count", range(6))
def test_few_figures_show_no_change(count: int) -> None:
    assert changes({"a": [1.0, 1.0, 1.0, 9.0, 9.0][:count]}) == {"a": ()}


def test_equal_histories_give_equal_changes_whatever_the_unit() -> None:
    values = noise(1, 24)
    values[12:] *= 1.3
    once = changes({"a": values})
    assert changes({"a": values}) == once
    (other,) = changes({"a": 1e-9 * values})["a"]
    assert (other.index, other.probability) == (once["a"][0].index, once["a"][0].probability)
    assert other.ratio == pytest.approx(once["a"][0].ratio)


def test_small_change_is_left_out_and_its_neighbours_meet() -> None:
    values = np.concatenate([np.full(10, 1.0), np.full(10, 1.01), np.full(10, 2.0)])
    values *= np.exp(0.0001 * np.random.default_rng(1).standard_normal(30))
    assert places(changes({"a": values})["a"]) == [10, 20]
    (change,) = changes({"a": values}, at_least=0.02)["a"]
    assert change.index == 20
    assert change.before == pytest.approx(1.005, abs=0.001)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_figure_that_is_no_positive_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="b: a figure is no positive number"):
        changes({"a": [1.0], "b": [1.0, value]})


def test_nothing_has_no_changes() -> None:
    assert changes({}) == {}
