"""Claims about ratios in pairs: the interval covers the truth, and processes are the unit."""

from __future__ import annotations

import numpy as np
import pytest

from bench.paired import paired_ratio


def test_the_interval_covers_the_true_ratio_where_processes_differ() -> None:
    generator = np.random.default_rng(7)
    covered = alone = 0
    for seed in range(200):
        of_process = generator.normal(0.99, 0.02, (10, 1))
        blocks = of_process + generator.normal(0, 0.002, (10, 3))
        ratio = paired_ratio(blocks.tolist(), seed=seed)
        covered += ratio.low <= 0.99 <= ratio.high
        # What an interval from pairs that are taken for independent would have said.
        drawn = np.median(generator.choice(blocks.ravel(), (500, 30)), axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        alone += bool(low <= 0.99 <= high)
    assert covered / 200 >= 0.90
    assert alone / 200 < 0.85


def test_the_same_ratios_give_the_same_interval() -> None:
    blocks = [[0.99, 1.0, 1.02], [0.98, 1.01, 1.0]] * 4
    assert paired_ratio(blocks) == paired_ratio(blocks)
    assert str(paired_ratio([[1.0, 1.0]] * 8)) == "1.000 (1.000 to 1.000)"


@pytest.mark.parametrize(
    "blocks",
    [[], [[1.0, 1.0]] * 7, [[]] * 8, [[1.0, 0.0]] * 8, [*[[1.0]] * 8, [float("nan")]]],
)
def test_what_gives_no_interval_is_refused(blocks: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"ratio|interval"):
        paired_ratio(blocks)


def test_more_confidence_takes_a_wider_interval_and_no_more_than_resamples_tell() -> None:
    blocks = np.random.default_rng(3).normal(1, 0.02, (8, 5)).tolist()
    usual, wide = paired_ratio(blocks), paired_ratio(blocks, confidence=0.99)
    assert wide.low < usual.low < usual.median == wide.median < usual.high < wide.high
    with pytest.raises(ValueError, match="confidence"):
        paired_ratio(blocks, confidence=0.9999)
