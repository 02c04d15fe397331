"""Claims about Shapley credit: brute force over orders, conservation, and the sampling error."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given

from core.attribution import shapley as module
from core.attribution.grouping import channel_sets, distinct_paths, joined
from core.attribution.paths import Paths
from core.attribution.shapley import shapley
from core.errors import InputError
from tests.core.attribution.flat import channels_of, path_sets, paths_from


def brute_force(paths: Paths, prior: float) -> dict[str, float]:
    """Return the credit of each channel from every order of every journey's channels."""
    converted: Counter[frozenset[str]] = Counter()
    walked: Counter[frozenset[str]] = Counter()
    for number in range(len(paths)):
        key = frozenset(channels_of(paths, number))
        converted[key] += float(paths.conversions[number])  # type: ignore[assignment]  # fractions
        walked[key] += float(paths.conversions[number] + paths.nulls[number])  # type: ignore[assignment]  # as above

    seen = [channels for channels in walked if channels and walked[channels] > 0]
    total = sum(walked[channels] for channels in seen)
    overall = sum(converted[channels] for channels in seen) / total if total else 0.0
    rate = {s: (converted[s] + prior * overall) / (walked[s] + prior) for s in seen}

    def worth(coalition: frozenset[str]) -> float:
        return max((rate[s] for s in seen if s <= coalition), default=0.0)

    credit = dict.fromkeys(paths.channels, 0.0)
    for channels, amount in converted.items():
        whole = worth(channels)
        orders = list(permutations(sorted(channels)))
        for channel in channels:
            gain = sum(
                worth(frozenset((*order[: order.index(channel)], channel)))
                - worth(frozenset(order[: order.index(channel)]))
                for order in orders
            ) / len(orders)
            credit[channel] += amount * (gain / whole if whole else 1 / len(channels))
    return credit


@pytest.mark.parametrize("prior", [0.0, 5.0])
@given(path_sets())
def test_credit_equals_that_of_every_order(prior: float, paths: Paths) -> None:
    found = shapley(channel_sets(paths), prior=prior)
    own = dict(zip(found.channels, found.conversions.tolist(), strict=True))
    assert own == pytest.approx(brute_force(paths, prior), abs=1e-9)


@given(path_sets())
def test_every_conversion_and_value_is_shared_out_whole(paths: Paths) -> None:
    found = shapley(channel_sets(paths), prior=0.0)
    has_touch = paths.lengths > 0
    assert found.conversions.sum() == pytest.approx(paths.conversions[has_touch].sum())
    assert found.values.sum() == pytest.approx(paths.values[has_touch].sum())
    assert (found.conversions >= -1e-12).all()


def test_credit_does_not_depend_on_names() -> None:
    rows = [(["a"], 3, 3, 97), (["b"], 9, 9, 91), (["a", "b"], 20, 20, 80)]
    names = {"a": "z", "b": "y"}
    other = [([names[c] for c in channels], *rest) for channels, *rest in rows]
    one = shapley(channel_sets(paths_from(rows)), prior=0.0)
    two = shapley(channel_sets(paths_from(other)), prior=0.0)  # type: ignore[arg-type]  # as above
    by_name = dict(zip(two.channels, two.conversions.tolist(), strict=True))
    for channel, amount in zip(one.channels, one.conversions.tolist(), strict=True):
        assert by_name[names[channel]] == amount
    # By hand: worth a 3 %, b 9 %, both 20 %: a gets (3 + 11) / 2 of 20, b (9 + 17) / 2.
    assert one.conversions.tolist() == pytest.approx([3 + 20 * 7 / 20, 9 + 20 * 13 / 20])


def test_sampled_credit_lies_within_its_error_of_the_exact_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    rows: list[tuple[list[str], float, float, float]] = []
    for _ in range(60):
        chosen = rng.choice(10, int(rng.integers(1, 5)), replace=False)
        rows.append((["abcdefghij"[c] for c in chosen], float(rng.integers(1, 40)), 5.0, 60.0))
    rows.append((list("abcdefghij"), 100.0, 100.0, 50.0))
    sets = channel_sets(paths_from(rows))
    exact = shapley(sets)
    assert (exact.sampled, exact.errors.max()) == (0, 0)
    monkeypatch.setattr(module, "MOST_EXACT", 4)
    sampled = shapley(sets)
    assert sampled.sampled == 1
    assert "are sampled; the largest standard error" in sampled.notices()[0]
    off = np.abs(sampled.conversions - exact.conversions)
    assert (off <= 4 * sampled.errors).all()
    assert 0 < sampled.errors.max() < 2
    assert off.max() > 0
    assert sampled.conversions.sum() == pytest.approx(exact.conversions.sum())


def test_rate_of_a_set_that_was_seen_once_is_not_believed() -> None:
    rows = [(["a"], 300, 300, 700), (["b"], 300, 300, 700), (["a", "b"], 300, 300, 700)]
    found = shapley(channel_sets(paths_from([*rows, (["c"], 1, 1, 0), (["c", "a"], 3, 3, 7)])))
    credit = dict(zip(found.channels, found.conversions.tolist(), strict=True))
    assert credit["a"] == pytest.approx(450 + 1.5, abs=0.2)  # c is worth about what a is
    bare = shapley(
        channel_sets(paths_from([*rows, (["c"], 1, 1, 0), (["c", "a"], 3, 3, 7)])), prior=0.0
    )
    assert dict(zip(bare.channels, bare.conversions.tolist(), strict=True))["a"] < 451


def test_journeys_that_never_convert_share_their_value_alike() -> None:
    found = shapley(channel_sets(paths_from([(["a", "b"], 0, 8, 5)])))
    assert found.values.tolist() == [4, 4]


def test_memory_does_not_grow_with_channels_times_sets() -> None:
    channels = 5_000
    rows = [([f"c{n}", f"c{n * 7 % channels}"], 0, 0, 1) for n in range(1, channels)]
    rows += [([f"c{n}" for n in range(start, start + 20)], 9, 9, 1) for start in range(5)]
    sets = channel_sets(paths_from(rows))
    tracemalloc.start()
    found = shapley(sets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # a table of both has 25 MB
    assert found.conversions.sum() == pytest.approx(45)


def test_set_of_too_many_channels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CHANNELS", 2)
    with pytest.raises(InputError, match=r"--shapley: a journey has 3 channels, more than 2; give"):
        shapley(channel_sets(paths_from([(["a", "b", "c"], 1, 1, 1)])))


@given(path_sets(), path_sets())
def test_groups_are_those_of_plain_python(one: Paths, other: Paths) -> None:
    both = joined([one, other])
    parts = [(paths, n) for paths in (one, other) for n in range(len(paths))]
    by_path: Counter[tuple[str, ...]] = Counter()
    by_set: Counter[tuple[str, ...]] = Counter()
    for paths, n in parts:
        channels = channels_of(paths, n)
        walks = float(paths.conversions[n] + 10 * paths.nulls[n] + 100 * paths.values[n])
        by_path[tuple(channels)] += walks  # type: ignore[assignment]  # counts may be fractions
        by_set[tuple(sorted(set(channels)))] += walks  # type: ignore[assignment]  # as above
    for grouped, expected in ((distinct_paths(both), by_path), (channel_sets(both), by_set)):
        found = {
            tuple(channels_of(grouped, n)): float(
                grouped.conversions[n] + 10 * grouped.nulls[n] + 100 * grouped.values[n]
            )
            for n in range(len(grouped))
        }
        assert found == pytest.approx(dict(expected))
        assert len(found) == len(grouped)
