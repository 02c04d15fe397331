"""Claims about verdicts: intervals cover the truth, and what is no number is never a pass."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeproof.paired.verdicts import ENOUGH, FEWEST, Pairs, Word, judged, log_interval

LIMIT = 0.05


def measured(
    ratio: float, *, processes: int = FEWEST, between: float = 0.005, within: float = 0.02,
    seed: int = 1, pairs: int = 40,
) -> list[Pairs]:  # fmt: skip
    """Return pairs of several processes, each with an offset of its own."""
    generator = np.random.default_rng(seed)
    found: list[Pairs] = []
    for _ in range(processes):
        offset = generator.normal(0, between)
        ratios = ratio * np.exp(offset + generator.normal(0, within, pairs))
        speeds = generator.choice([590.0, 1030.0], pairs)  # a shared machine's two speeds
        found.append([(float(s), float(s * r)) for s, r in zip(speeds, ratios, strict=True)])
    return found


@pytest.mark.parametrize(
    ("ratio", "word"), [(1.0, Word.SAME), (1.3, Word.SLOWER), (0.7, Word.FASTER)]
)
def test_a_clear_difference_is_named_and_its_absence_too(ratio: float, word: Word) -> None:
    found = judged(measured(ratio), limit=LIMIT, benchmarks=3)
    assert found.word is word
    assert found.interval is not None
    assert found.interval[0] <= ratio <= found.interval[1]
    assert found.is_beyond(LIMIT) == (word is Word.SLOWER)


def test_intervals_of_a_suite_hold_together_where_processes_differ() -> None:
    benchmarks, suites = 4, 60
    wrong = 0
    for suite in range(suites):
        intervals = [
            judged(measured(1.0, seed=suite * 9 + n, pairs=9), limit=LIMIT, benchmarks=benchmarks)
            for n in range(benchmarks)
        ]
        wrong += any(found.word in (Word.SLOWER, Word.FASTER) for found in intervals)
    assert wrong <= 5


def test_pairs_of_one_process_are_not_taken_for_independent() -> None:
    processes = measured(1.0, pairs=200, between=0.02)
    found = judged(processes, limit=LIMIT, benchmarks=1)
    assert found.interval is not None
    ratios = [head / base for pairs in processes for base, head in pairs]
    as_if_independent = 2 * 1.96 * 1.25 * float(np.std(ratios)) / math.sqrt(len(ratios))
    assert found.interval[1] - found.interval[0] > 4 * as_if_independent


def test_more_benchmarks_make_each_interval_wider() -> None:
    one, fifty = (judged(measured(1.0), limit=LIMIT, benchmarks=n).interval for n in (1, 50))
    assert one is not None
    assert fifty is not None
    assert fifty[0] < one[0] < one[1] < fifty[1]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("side", [0, 1])
def test_a_time_that_is_no_positive_number_is_undecided(value: float, side: int) -> None:
    processes = [list(pairs) for pairs in measured(1.0)]
    pair = list(processes[3][5])
    pair[side] = value
    processes[3][5] = (pair[0], pair[1])
    found = judged(processes, limit=LIMIT, benchmarks=1)
    assert (found.word, found.interval) == (Word.UNDECIDED, None)
    assert "no positive number" in found.reason


def test_too_few_processes_are_undecided_however_clear_they_look() -> None:
    found = judged(measured(3.0, processes=FEWEST - 1), limit=LIMIT, benchmarks=1)
    assert found.word is Word.UNDECIDED
    assert str(FEWEST) in found.reason
    assert judged([], limit=LIMIT, benchmarks=1).word is Word.UNDECIDED


def test_a_wide_interval_around_1_is_no_pass() -> None:
    found = judged(measured(1.0, between=0.2), limit=LIMIT, benchmarks=1)
    assert found.word is Word.UNDECIDED
    assert not found.is_decided(LIMIT)


def test_a_slowdown_below_the_limit_is_slower_and_not_beyond_it() -> None:
    found = judged(measured(1.02, between=0.001, within=0.005), limit=LIMIT, benchmarks=1)
    assert found.word is Word.SLOWER
    assert not found.is_beyond(LIMIT)
    assert found.is_decided(LIMIT)


def test_a_slowdown_as_large_as_the_limit_is_decided_after_enough_processes() -> None:
    early, late = (
        judged(measured(1.04, processes=n), limit=LIMIT, benchmarks=1) for n in (FEWEST, ENOUGH)
    )
    assert early.is_beyond(LIMIT)
    assert not early.is_decided(LIMIT)
    assert late.is_beyond(LIMIT)
    assert late.is_decided(LIMIT)


def test_the_same_pairs_give_the_same_interval() -> None:
    logs = [[math.log(b / a) for a, b in pairs] for pairs in measured(1.1)]
    assert log_interval(logs, level=0.99) == log_interval(logs, level=0.99)
