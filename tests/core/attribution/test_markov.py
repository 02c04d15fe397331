"""Claims about the Markov chain: exact, by its invariants and by an oracle in fractions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attribution import markov
from core.attribution.account import account_of
from core.attribution.fitted import FEWER, FittedModel, fit
from core.attribution.markov import Removal, removal_effects
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths
from core.attribution.transitions import count_transitions, merge
from core.errors import InputError
from tests.core.attribution.flat import channels_of, path_sets, paths_from

ORDERS = [1, 2, 3]
State = tuple[str, ...]


class Oracle:
    """The chain as a dictionary of fractions, solved by Gaussian elimination."""

    def __init__(self, paths: Paths, order: int) -> None:
        self.counts: dict[State, Counter[State]] = defaultdict(Counter)
        self.converted: Counter[State] = Counter()
        self.value: Counter[State] = Counter()
        self.left: Counter[State] = Counter()
        for number in range(len(paths)):
            conversions = Fraction(float(paths.conversions[number]))
            walked = conversions + Fraction(float(paths.nulls[number]))
            state: State = ()
            for channel in channels_of(paths, number):
                after = (*state, channel)[-order:]
                self.counts[state][after] += walked  # type: ignore[assignment]  # counts may be fractions
                self.left[state] += walked  # type: ignore[assignment]  # as above
                state = after
            self.left[state] += walked  # type: ignore[assignment]  # as above
            self.converted[state] += conversions  # type: ignore[assignment]  # as above
            self.value[state] += Fraction(float(paths.values[number]))  # type: ignore[assignment]  # as above

    def brought(self, without: str | None, rewards: Counter[State]) -> Fraction:
        """Return what a path brings from the start if states with *without* are gone."""
        states = [s for s in self.left if without not in s and self.left[s]]
        if () not in states:
            return Fraction(0)
        states.sort(key=len)
        place = {state: number for number, state in enumerate(states)}
        rows = []
        for state in states:
            row = [Fraction(0)] * (len(states) + 1)
            row[place[state]] += 1
            for after, count in self.counts[state].items():
                if after in place:
                    row[place[after]] -= Fraction(count) / self.left[state]
            row[-1] = Fraction(rewards[state]) / self.left[state]
            rows.append(row)
        for pivot in range(len(rows)):
            best = next(r for r in range(pivot, len(rows)) if rows[r][pivot])
            rows[pivot], rows[best] = rows[best], rows[pivot]
            rows[pivot] = [x / rows[pivot][pivot] for x in rows[pivot]]
            for other in range(len(rows)):
                factor = rows[other][pivot]
                if other != pivot and factor:
                    rows[other] = [
                        x - factor * y for x, y in zip(rows[other], rows[pivot], strict=True)
                    ]
        return rows[0][-1]

    def effects(self, channels: Sequence[str], rewards: Counter[State]) -> list[Fraction]:
        whole = self.brought(None, rewards)
        if not whole:
            return [Fraction(0)] * len(channels)
        return [1 - self.brought(channel, rewards) / whole for channel in channels]


def found(paths: Paths, order: int) -> Removal:
    return removal_effects(count_transitions(paths, order))


def by_channel(removal: Removal) -> dict[str, tuple[float, float]]:
    pairs = zip(removal.conversions.tolist(), removal.value.tolist(), strict=True)
    return dict(zip(removal.channels, pairs, strict=True))


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=60)
@given(path_sets(max_paths=5))
def test_effects_equal_exact_fractions(order: int, paths: Paths) -> None:
    oracle = Oracle(paths, order)
    removal = found(paths, order)
    for own, rewards in ((removal.conversions, oracle.converted), (removal.value, oracle.value)):
        exact = [float(effect) for effect in oracle.effects(paths.channels, rewards)]
        assert own.tolist() == pytest.approx(exact, abs=1e-12)


def rare(walks: float) -> Paths:
    """Return paths of two rare channels beside one that is walked *walks* times."""
    return paths_from([
        (["big"], walks, walks, walks), (["x"], 3, 17, 17), (["y"], 5, 1, 2), (["x", "y"], 4, 8, 3),
    ])  # fmt: skip


def model_and_exact(paths: Paths, order: int) -> tuple[FittedModel, list[float]]:
    """Return the fitted model, and its exact weights in the order of the channels."""
    model = fit(count_transitions(paths, order), Parameters(order=order))
    oracle = Oracle(paths, order)
    return model, [float(e) for e in oracle.effects(paths.channels, oracle.converted)]


@pytest.mark.parametrize("walks", [1e3, 1e8, 1e12])
def test_rare_channels_share_paths_out_exactly(walks: float) -> None:
    paths = rare(walks)
    model, exact = model_and_exact(paths, 1)
    assert [model.weights[c] for c in paths.channels] == pytest.approx(exact, rel=1e-9)
    (own,) = (
        row for row in account_of(paths, Parameters(), models=["data_driven"]).rows
        if row.channel == "x"
    )  # fmt: skip
    assert own.conversions == pytest.approx(3 + 4 * exact[1] / (exact[1] + exact[2]), rel=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_models_keep_twelve_decimals_of_every_order(order: int) -> None:
    for walks in (1e3, 1e8):
        paths = rare(walks)
        model, exact = model_and_exact(paths, order)
        assert 0 < min(exact) < 20 / walks
        assert [model.weights[c] for c in paths.channels] == pytest.approx(exact, abs=1e-12)
        assert model.conversion_rate == pytest.approx(
            float(paths.conversions.sum() / (paths.conversions + paths.nulls).sum()), abs=1e-12
        )


@pytest.mark.parametrize("order", ORDERS)
@given(path_sets())
def test_conversion_probability_from_the_start_is_the_observed_rate(
    order: int, paths: Paths
) -> None:
    removal = found(paths, order)
    walked = float((paths.conversions + paths.nulls).sum())
    if walked:
        rate = float(paths.conversions.sum()) / walked
        assert removal.conversion_rate == pytest.approx(rate, abs=1e-12)
        assert removal.value_rate == pytest.approx(float(paths.values.sum()) / walked, abs=1e-11)


@pytest.mark.parametrize("order", ORDERS)
@given(path_sets())
def test_removing_self_loops_changes_nothing(order: int, paths: Paths) -> None:
    transitions = count_transitions(paths, order)
    moves = transitions.sources != transitions.targets
    without = replace(
        transitions, sources=transitions.sources[moves], targets=transitions.targets[moves],
        counts=transitions.counts[moves],
    )  # fmt: skip
    one, other = removal_effects(transitions), removal_effects(without)
    assert other.conversions.tolist() == pytest.approx(one.conversions.tolist(), abs=1e-12)
    assert other.value.tolist() == pytest.approx(one.value.tolist(), abs=1e-12)
    assert other.conversion_rate == pytest.approx(one.conversion_rate, abs=1e-12)


@pytest.mark.parametrize("order", ORDERS)
@given(path_sets(), st.permutations(range(4)))
def test_order_of_the_channels_changes_nothing(
    order: int, paths: Paths, shuffled: list[int]
) -> None:
    places = [place for place in shuffled if place < len(paths.channels)]
    names = ["" for _ in paths.channels]
    for old, new in enumerate(places):
        names[new] = paths.channels[old]
    other = replace(
        paths, channels=tuple(names), codes=np.array(places, dtype=np.int32)[paths.codes]
    )
    one, two = by_channel(found(paths, order)), by_channel(found(other, order))
    for name in paths.channels:
        assert two[name] == pytest.approx(one[name], abs=1e-12)


@given(path_sets())
def test_one_inverse_gives_what_deleting_each_channel_gives(paths: Paths) -> None:
    transitions = count_transitions(paths, 1)
    leaving = transitions.converted + transitions.lost
    np.add.at(leaving, transitions.sources, transitions.counts)
    leaving[leaving == 0] = 1.0
    rewards = np.stack([transitions.converted, transitions.value], axis=1) / leaving[:, None]
    chances = transitions.counts / leaving[transitions.sources]
    deleted, _ = markov._by_deletion(transitions, chances, rewards)
    removal = removal_effects(transitions)
    assert np.allclose(removal.conversions, deleted[:, 0], atol=1e-12)
    assert np.allclose(removal.value, deleted[:, 1], atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("most", [20_000, 1])
def test_sums_and_elimination_give_what_dense_solutions_give(
    order: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    rows = [
        (["abcdefgh"[c] for c in rng.integers(0, 8, rng.integers(1, 9))], 1.0, 5.0, 2.0)
        for _ in range(400)
    ]
    transitions = count_transitions(paths_from(rows), order)
    monkeypatch.setattr(markov, "_DENSE_STATES", 10_000)
    dense = removal_effects(transitions)
    monkeypatch.setattr(markov, "_DENSE_STATES", 0)
    monkeypatch.setattr(markov, "_MOST_SUMS", most)
    sparse = removal_effects(transitions)
    assert np.allclose(sparse.conversions, dense.conversions, atol=1e-13)
    assert np.allclose(sparse.value, dense.value, atol=1e-13)
    assert sparse.conversion_rate == pytest.approx(dense.conversion_rate, abs=1e-15)


def _wandering(rng: np.random.Generator) -> list[str]:
    return ["abcdefghijkl"[c] for c in rng.integers(0, 12, rng.geometric(1 / 250))]


def _in_turns(rng: np.random.Generator) -> list[str]:
    """Return a journey whose channels take turns: no single eigenvalue leads its chain."""
    return (list("abcdefg") * 200)[: rng.integers(1, 900)]


@pytest.mark.parametrize("how", ["extrapolated", "gmres", "elimination"])
@pytest.mark.parametrize("journey", [_wandering, _in_turns])
def test_long_journeys_are_solved_as_dense_solutions_are(
    journey: Callable[[np.random.Generator], list[str]], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    rows = [(journey(rng), 1.0, 5.0, 2.0) for _ in range(120)]
    transitions = count_transitions(paths_from(rows), 2)
    monkeypatch.setattr(markov, "_DENSE_STATES", 10_000)
    dense = removal_effects(transitions)
    monkeypatch.setattr(markov, "_DENSE_STATES", 0)
    monkeypatch.setattr(markov, "_MOST_PRODUCTS", 0)
    if how != "extrapolated":
        monkeypatch.setattr(markov, "_MOST_TERMS", 0)
    if how == "elimination":
        monkeypatch.setattr("scipy.sparse.linalg.gmres", lambda system, rest, **_: (0 * rest, 1))
    sparse = removal_effects(transitions)
    assert np.allclose(sparse.conversions, dense.conversions, atol=1e-13)
    assert np.allclose(sparse.value, dense.value, atol=1e-13)
    assert sparse.conversion_rate == pytest.approx(dense.conversion_rate, abs=1e-14)


@pytest.mark.parametrize("order", ORDERS)
@given(path_sets(whole=True), st.integers(0, 8))
def test_parts_merge_into_the_whole(order: int, paths: Paths, cut: int) -> None:
    cut = min(cut, len(paths))
    parts = [count_transitions(_part(paths, s), order) for s in (slice(0, cut), slice(cut, None))]
    merged, whole = merge(parts), count_transitions(paths, order)
    assert merged.conversions == whole.conversions
    assert merged.paths == whole.paths
    one, other = by_channel(removal_effects(whole)), by_channel(removal_effects(merged))
    for name, effects in other.items():
        assert effects == pytest.approx(one[name], abs=1e-12)
    assert all(one[name] == (0.0, 0.0) for name in set(one) - set(other))


def _part(paths: Paths, numbers: slice) -> Paths:
    """Return some of *paths*, with the channels that they have alone."""
    chosen = range(*numbers.indices(len(paths)))
    return paths_from(
        [
            (
                channels_of(paths, n), float(paths.conversions[n]), float(paths.values[n]),
                float(paths.nulls[n]),
            )
            for n in chosen
        ]
    )  # fmt: skip


def test_known_chain_has_its_known_effects() -> None:
    # a alone converts 1 of 2, b alone 1 of 2, a then b 2 of 2; without a only b alone is left.
    paths = paths_from([("a", 1, 10, 1), ("b", 1, 10, 1), ("ab", 2, 60, 0)])
    second = found(paths, 2)
    assert second.conversion_rate == pytest.approx(4 / 6)
    for effects in by_channel(second).values():
        assert effects == pytest.approx((1 - (1 / 6) / (4 / 6), 1 - 10 / 80))


def test_nothing_that_converts_leaves_no_effects() -> None:
    removal = found(paths_from([("ab", 0, 0, 3)]), 1)
    assert removal.conversions.tolist() == [0.0, 0.0]
    assert found(paths_from([]), 1).conversion_rate == 0


def test_too_many_states_are_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markov, "MAX_STATES", 3)
    with pytest.raises(InputError, match="order 2 has 4 states, more than 3; merge rare channels"):
        found(paths_from([("aba", 1, 0, 0)]), 2)


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=30)
@given(path_sets(max_paths=5))
def test_names_that_never_occur_change_nothing_however_many_they_are(
    order: int, paths: Paths
) -> None:
    # With so many, pairs of states' codes do not fit into 64 bits from order 2 on.
    crowd = tuple(f"x{number}" for number in range(60_000))
    wide = replace(paths, channels=(*paths.channels, *crowd))
    one, other = count_transitions(paths, order), count_transitions(wide, order)
    for name in ("sources", "targets", "counts", "converted", "lost", "value"):
        assert getattr(other, name).tolist() == getattr(one, name).tolist()


def test_too_many_channels_are_fitted_as_fewer_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.attribution.markov.MAX_CHANNELS", 8)
    monkeypatch.setitem(FEWER, 1, 3)
    names = tuple(f"c{number}" for number in range(12))
    codes = [code for number in range(12) for code in [*range(number + 1)]]
    lengths = np.arange(1, 13)
    crowd = Paths(
        channels=names, codes=np.array(codes, np.int32),
        offsets=np.concatenate(([0], np.cumsum(lengths))),
        conversions=np.ones(12), nulls=np.ones(12), values=np.ones(12),
    )  # fmt: skip
    account = account_of(crowd, Parameters(), minimum=1)
    assert account.fitted is not None
    assert sorted(account.fitted.weights) == ["(other)", "c0", "c1", "c2"]
    said = "data_driven takes 9 rare channels as one, (other), where their removal figures stand"
    assert said in account.notices
    rows = [row for row in account.rows if row.model == "data_driven"]
    assert sum(row.conversions for row in rows) == pytest.approx(12)
    assert sum(row.removal_conversions or 0 for row in rows) == pytest.approx(12)
    assert account_of(crowd, Parameters(), minimum=1, models=["linear"]).fitted is None
    told_apart = account_of(crowd, Parameters(), minimum=1, most=5).fitted
    assert told_apart is not None
    assert len(told_apart.weights) == 6
