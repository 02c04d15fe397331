"""Claims about counted transitions: rare channels as one, and parts that belong together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution import transitions
from core.attribution.markov import removal_effects
from core.attribution.parameters import OTHER
from core.attribution.paths import Paths
from core.attribution.transitions import Transitions, count_transitions, merge, with_rare_merged
from core.errors import InputError
from tests.core.attribution.flat import channels_of, path_sets, paths_from

ORDERS = [1, 2, 3]


@pytest.mark.parametrize("order", ORDERS)
@given(path_sets(), st.integers(1, 4))
def test_rare_channels_merged_in_the_chain_are_those_merged_in_the_paths(
    order: int, paths: Paths, most: int
) -> None:
    merged = with_rare_merged(count_transitions(paths, order), most)
    walked = (paths.conversions + paths.nulls).tolist()
    touches = Counter[str]()
    for path, times in enumerate(walked):
        for name in channels_of(paths, path):
            touches[name] += times
    by_rank = sorted(paths.channels, key=lambda name: (-touches[name], name))
    names = tuple(sorted({OTHER, *by_rank[:most]})) if len(by_rank) > most else paths.channels
    codes = [
        names.index(paths.channels[code] if paths.channels[code] in names else OTHER)
        for code in paths.codes.tolist()
    ]
    expected = removal_effects(
        count_transitions(replace(paths, channels=names, codes=np.array(codes, np.int32)), order)
    )
    found = removal_effects(merged)
    assert found.channels == expected.channels
    assert found.conversions.tolist() == pytest.approx(expected.conversions.tolist(), abs=1e-12)
    assert found.value.tolist() == pytest.approx(expected.value.tolist(), abs=1e-12)


def test_channel_of_the_name_of_the_rest_belongs_to_it() -> None:
    named = Paths(
        channels=("a", "b", OTHER), codes=np.array([2, 2, 2, 0, 1], dtype=np.int32),
        offsets=np.array([0, 5]), conversions=np.ones(1), nulls=np.zeros(1), values=np.ones(1),
    )  # fmt: skip
    chain = count_transitions(named, 1)
    assert with_rare_merged(chain, 1).channels == ("(other)", "a")
    assert with_rare_merged(chain, 3) is chain


def test_parts_with_too_many_channels_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [count_transitions(paths_from([(path, 1, 0, 0)]), 3) for path in ("abc", "def")]
    monkeypatch.setattr(transitions, "_MOST_CODES", 5**3)
    with pytest.raises(InputError, match="6 channels are too many for order 3"):
        merge(parts)


def test_transitions_of_different_orders_do_not_mix() -> None:
    one: Transitions = count_transitions(paths_from([("a", 1, 0, 0)]), 1)
    with pytest.raises(ValueError, match="one order"):
        merge([one, count_transitions(paths_from([("a", 1, 0, 0)]), 2)])
    with pytest.raises(ValueError, match="order 4"):
        count_transitions(paths_from([("a", 1, 0, 0)]), 4)
