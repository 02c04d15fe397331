"""Claims about the check of warm-ups: what has settled is not blamed, what has not is told."""

from __future__ import annotations

import numpy as np
import pytest

from core.metrics.transient import WINDOWS, in_transit, mser5, window_means


def runs(
    beginning: float, lasting: float, number: int = 10, noise: float = 0.2
) -> list[np.ndarray]:
    """Return windows of mean 1 that begin at 1 + *beginning*, which decays within *lasting*."""
    shares = np.arange(WINDOWS) / WINDOWS
    drift = beginning * np.exp(-shares / lasting)
    draws = np.random.default_rng(1)
    return [1 + drift + noise * draws.standard_normal(WINDOWS) for _ in range(number)]


def test_mser5_cuts_a_beginning_and_nothing_else() -> None:
    draws = np.random.default_rng(2)
    level = draws.standard_normal(1_000)
    assert (mser5(level) or 0) <= 100
    begins_high = level + np.where(np.arange(1_000) < 200, 20.0, 0.0)
    cut = mser5(begins_high)
    assert cut is not None
    assert 200 <= cut <= 260
    assert mser5(np.arange(1_000.0)) is None  # it never settles
    assert mser5(np.ones(7)) == 0  # too few to tell


@pytest.mark.parametrize("seed", range(20))
def test_steady_runs_are_never_blamed(seed: int) -> None:
    draws = np.random.default_rng(seed)
    steady = [1 + 0.3 * draws.standard_normal(WINDOWS) for _ in range(10)]
    assert in_transit(steady, warm_up=5.0, total=55.0) is None


def test_a_beginning_longer_than_the_warm_up_is_told() -> None:
    found = in_transit(runs(2.0, 0.1), warm_up=5.0, total=55.0)
    assert found is not None
    assert found.until is not None
    assert 10 < found.until < 30
    assert found.change < -0.1


def test_a_beginning_within_the_warm_up_is_none() -> None:
    assert in_transit(runs(2.0, 0.01), warm_up=5.0, total=55.0) is None


def test_a_drift_to_the_end_is_told() -> None:
    drifting = [run + np.arange(WINDOWS) / WINDOWS for run in runs(0.0, 1.0)]
    found = in_transit(drifting, warm_up=5.0, total=55.0)
    assert found is not None
    assert found.change > 0.2


def test_windows_without_a_request_are_left_out() -> None:
    times = np.array([0.1, 0.2, 9.9])
    means = window_means(times, np.array([1.0, 3.0, 5.0]), 10.0)
    assert np.isnan(means).sum() == WINDOWS - 3
    assert in_transit([means] * 5, warm_up=1.0, total=10.0) is None
