"""Claims about the hold-out check: the AUC of plain Python, and the model that is known to win."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from core.attribution.account import account_of
from core.attribution.holdout import channel_values, check, conversion_rates
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths
from tests.core.attribution.flat import channels_of, path_sets, paths_from


def plain_auc(values: dict[str, float], later: Paths) -> float | None:
    """Return the AUC by comparing every pair of journeys."""
    scored = []
    for n in range(len(later)):
        channels = set(channels_of(later, n))
        if channels:
            score = 1 - math.prod(1 - values.get(channel, 0.0) for channel in channels)
            scored.append((score, float(later.conversions[n]), float(later.nulls[n])))
    won = pairs = 0.0
    for high, converted, _ in scored:
        for low, _, failed in scored:
            pairs += converted * failed
            tie = math.isclose(high, low, abs_tol=1e-11)
            won += converted * failed * (0.5 if tie else float(high > low))
    return won / pairs if pairs else None


@given(path_sets(), path_sets())
def test_auc_equals_that_of_every_pair(seen: Paths, later: Paths) -> None:
    credit = {
        row.channel: row.conversions
        for row in account_of(seen, Parameters(), models=["linear"], minimum=1).rows
    }
    values = dict(zip(seen.channels, channel_values(credit, seen).tolist(), strict=True))
    found = check({"linear": credit}, seen, later)
    expected = plain_auc(values, later)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found.auc["linear"] == pytest.approx(expected, abs=1e-9)
        assert found.behind["linear"] == (0.0, 0.0)


def test_error_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(2)
    values = {"a": 0.1, "b": 0.3, "c": 0.5}
    found = []
    for _ in range(300):
        drawn = rng.multinomial(400, np.array([2, 1, 2, 3, 5, 3]) / 16)
        rows = [([name], float(drawn[n]), 0.0, float(drawn[n + 3])) for n, name in enumerate("abc")]
        paths = paths_from(rows)
        whole = {name: value * (paths.conversions[n] + paths.nulls[n])
                 for n, (name, value) in enumerate(values.items())}  # fmt: skip
        result = check({"known": whole}, paths, paths)
        assert result is not None
        found.append((result.auc["known"], result.errors["known"]))
    aucs, errors = np.array(found).T
    assert errors.mean() == pytest.approx(aucs.std(), rel=0.15)


def planted(seed: int) -> Paths:
    """Return journeys that only "strong" makes convert; "last" follows every journey."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(2_000):
        channels = [name for name in ("strong", "weak", "other") if rng.random() < 0.5]
        converts = float(rng.random() < (0.5 if "strong" in channels else 0.05))
        rows.append(([*channels, "last"], converts, converts, 1 - converts))
    return paths_from(rows)


def test_model_that_finds_the_planted_cause_predicts_best() -> None:
    seen, later = planted(1), planted(2)
    account = account_of(seen, Parameters(), models=["last_click", "first_click", "data_driven"])
    credits = {
        model: {row.channel: row.conversions for row in account.rows if row.model == model}
        for model in account.models
    }
    found = check({**credits, "rate": conversion_rates(seen)}, seen, later)
    assert found is not None
    assert found.auc["last_click"] == 0.5  # every journey has the same score
    assert found.auc["data_driven"] > 0.7
    gap, error = found.behind["last_click"]
    assert gap > 5 * error > 0
    assert "predicts later conversions best: AUC 0.7" in found.said


def test_models_that_rank_alike_are_not_told_apart() -> None:
    paths = planted(3)
    rates = conversion_rates(paths)
    found = check({"one": rates, "two": rates}, paths, paths)
    assert found is not None
    assert found.said.endswith("and no model is clearly behind it")


def test_later_journeys_of_one_kind_cannot_be_ranked() -> None:
    paths = paths_from([(["a"], 3, 3, 0)])
    assert check({"linear": {"a": 3.0}}, paths, paths) is None


def test_certain_journeys_are_equal_whatever_else_they_hold() -> None:
    seen = paths_from([(["a"], 10, 0, 0), (["b"], 5, 0, 5)])
    later = paths_from([(["a"], 3, 0, 0), (["a", "b"], 0, 0, 4)])
    found = check({"rate": {"a": 10.0, "b": 5.0}}, seen, later)
    assert found is not None
    assert found.auc["rate"] == 0.5
