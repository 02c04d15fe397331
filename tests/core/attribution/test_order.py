"""Claims about the order of the chain: what was planted is found, and no more than that."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from core.attribution import order as module
from core.attribution.order import FOLDS, chosen_order, fold_counts, order_of
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths, chosen_paths
from core.context import Purpose
from core.streams import Stream
from tests.core.attribution.flat import channels_of, path_sets

NAMES = "abcd"


def journeys(order: int, seed: int, count: int = 3_000) -> Paths:
    """Return journeys whose next channel depends on the last *order* ones; 0: on none."""
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(4, 0.3), size=5**order)
    lengths = rng.geometric(0.2, count)
    codes: list[int] = []
    for length in lengths.tolist():
        state = 0
        for _ in range(length):
            channel = int(rng.choice(4, p=table[state]))
            codes.append(channel)
            state = (state * 5 + channel + 1) % 5**order
    converts = (rng.random(count) < 0.3).astype(np.float64)
    return Paths(
        channels=tuple(NAMES), codes=np.array(codes, dtype=np.int32),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        conversions=converts, nulls=1 - converts, values=converts,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_journeys_without_structure_have_order_one(seed: int) -> None:
    assert order_of(journeys(0, seed), Parameters())[1].order == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("order", [1, 2, 3])
def test_planted_order_is_found(order: int, seed: int) -> None:
    parameters, choice = order_of(journeys(order, seed), Parameters())
    assert parameters.order == choice.order == order
    assert choice.said.startswith(f"--order auto chooses {order}: ")


@given(path_sets())
def test_folds_add_up_to_the_journeys(paths: Paths) -> None:
    folds = fold_counts(paths, Parameters())
    assert len(folds) == FOLDS
    assert sum(fold.conversions for fold in folds) == pytest.approx(paths.conversions.sum())
    assert sum(fold.paths for fold in folds) == pytest.approx(
        paths.conversions.sum() + paths.nulls.sum()
    )


@settings(max_examples=40)
@given(path_sets(max_paths=5), path_sets(max_paths=5))
def test_scores_are_those_of_plain_python(paths: Paths, others: Paths) -> None:
    parts = [fold_counts(paths, Parameters()), fold_counts(others, Parameters(), part=1)]
    choice = chosen_order(parts)
    expected = _plain([paths, others])
    if expected is not None:
        assert list(choice.scores) == pytest.approx(expected)


def _plain(parts: list[Paths]) -> list[float] | None:
    """Return the scores by dictionaries over journeys, which the folds are taken from."""
    folds: list[list[tuple[list[str], str, float]]] = [[] for _ in range(FOLDS)]
    for number, paths in enumerate(parts):
        stream = Stream(1, Purpose.FOLDS, replication=number).generator()
        for end, amounts in (("+", paths.conversions), ("-", paths.nulls)):
            for fold, dealt in zip(folds, module._dealt(amounts, stream), strict=True):
                fold += [(channels_of(paths, n), end, float(dealt[n])) for n in range(len(paths))]
    names = {name for paths in parts for name in paths.channels}
    outcomes = len(names) + 2
    found = []
    for held in range(FOLDS):
        sizes = sum(walks for _, _, walks in folds[held])
        if sizes <= 0:
            continue
        train = [row for number, fold in enumerate(folds) if number != held for row in fold]
        seen: Counter[tuple[tuple[str, ...], str]] = Counter()
        left: Counter[tuple[str, ...]] = Counter()
        for steps, end, walks in train:
            for place, outcome in enumerate([*steps, end]):
                before = ["", "", "", *steps[:place]]
                for order in range(4):
                    state = (str(order), *before[len(before) - order :])
                    seen[state, outcome] += walks  # type: ignore[assignment]  # counts may be fractions
                    left[state] += walks  # type: ignore[assignment]  # as above
        scores = [0.0, 0.0, 0.0]
        for steps, end, walks in folds[held]:
            for place, outcome in enumerate([*steps, end]):
                before = ["", "", "", *steps[:place]]
                chance, shorter = 1.0 / outcomes, math.inf
                for order in range(4):
                    state = (str(order), *before[len(before) - order :])
                    if shorter - left[state] > 1e-9 * shorter or order == 0:
                        chance = (seen[state, outcome] + chance) / (left[state] + 1.0)
                    shorter = left[state]
                    if order:
                        scores[order - 1] += walks * math.log(chance) / sizes
        found.append(scores)
    return np.mean(found, axis=0).tolist() if found else None


def test_choice_depends_on_the_data_alone() -> None:
    paths = journeys(2, 7, 500)
    again = chosen_paths(paths, np.arange(len(paths)))
    first = chosen_order([fold_counts(paths, Parameters())])
    assert first == chosen_order([fold_counts(replace(again), Parameters())])
