"""Claims about the counts of the tiered cache: every read is counted once, in one column."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from core.caching.policy import CacheType, Text
from core.caching.read import CacheRead
from core.caching.statistics import (
    COLUMNS,
    NEGATIVE_COLUMN,
    STALE_COLUMN,
    TieredStatistics,
)
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, NEGATIVE, READ_OUTCOMES, STALE
from tests.core.caching.rig import KEY, Rig, forbidden

hits = st.builds(
    lambda outcome, negative, stale: outcome | negative | stale,
    st.sampled_from([L1_HIT, L2_HIT]),
    st.sampled_from([0, NEGATIVE]),
    st.sampled_from([0, STALE]),
)
codes = st.one_of(hits, st.sampled_from([MISS, COLLAPSED, BYPASS]))
mixes = st.lists(st.tuples(st.sampled_from(["config", "lookup_data"]), codes), max_size=60)
counters = [part.name for part in fields(TieredStatistics) if part.name != "outcomes"]


def counted(mix: list[tuple[str, int]]) -> TieredStatistics:
    (cache,) = Rig(isolates=1).caches
    for name, code in mix:
        kind = CacheType(name=name, ttl=1.0, codec=Text())
        cache.count(CacheRead(kind, KEY, forbidden, None, "", ()), code)
    return cache.statistics


@given(mix=mixes)
def test_the_shares_of_any_mix_of_reads_add_up_to_1(mix: list[tuple[str, int]]) -> None:
    outcomes = counted(mix).outcomes
    assert sum(sum(counts[: len(READ_OUTCOMES)]) for counts in outcomes.values()) == len(mix)
    for name, counts in outcomes.items():
        reads = sum(name == other for other, _ in mix)
        assert abs(sum(count / reads for count in counts[: len(READ_OUTCOMES)]) - 1) < 1e-12


@given(mix=mixes)
def test_each_column_holds_the_reads_that_ended_so(mix: list[tuple[str, int]]) -> None:
    outcomes = counted(mix).outcomes
    assert set(outcomes) == {name for name, _ in mix}
    for name, counts in outcomes.items():
        ended = [code for other, code in mix if other == name]
        assert len(counts) == len(COLUMNS)
        for outcome in range(len(READ_OUTCOMES)):
            assert counts[outcome] == sum(code & 15 == outcome for code in ended)
        assert counts[NEGATIVE_COLUMN] == sum(code & NEGATIVE > 0 for code in ended)
        assert counts[STALE_COLUMN] == sum(code & STALE > 0 for code in ended)


@given(mix=mixes, others=mixes, numbers=st.lists(st.integers(0, 9), min_size=2, max_size=2))
def test_what_two_isolates_count_adds_up(
    mix: list[tuple[str, int]], others: list[tuple[str, int]], numbers: list[int]
) -> None:
    first, second = counted(mix), counted(others)
    for place, name in enumerate(counters):
        setattr(first, name, numbers[0] + place)
        setattr(second, name, numbers[1] * place)
    first.add(second)
    assert first.outcomes == counted(mix + others).outcomes
    assert second.outcomes == counted(others).outcomes
    for place, name in enumerate(counters):
        assert getattr(first, name) == numbers[0] + place + numbers[1] * place


def test_columns_are_named_for_the_outcomes_that_they_count() -> None:
    assert [COLUMNS[code] for code in (L1_HIT, L2_HIT, MISS, COLLAPSED, BYPASS)] == [
        *("l1", "l2", "miss", "collapsed", "bypass")
    ]
    assert (COLUMNS[NEGATIVE_COLUMN], COLUMNS[STALE_COLUMN]) == ("negative", "stale")
