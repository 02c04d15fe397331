"""Claims about L1: it behaves as cachetools' LRU with an expiry per entry, within its bounds."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict

import pytest
from cachetools import TLRUCache
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.caching.memory import (
    ENTRY_OVERHEAD,
    Entry,
    Life,
    MemoryCache,
    MemoryStatistics,
    expired_entry,
)
from core.context import Purpose
from core.streams import Stream

KEYS = st.sampled_from(["a", "b", "bb", "b:1", "ключ", "d" * 50])
WAITS = st.sampled_from([0.0, 0.25, 1.0, 5.0])
LIVES = st.sampled_from([-1.0, 0.0, 0.25, 1.0, 6.0, 100.0])
SIZES = st.sampled_from([0, 1, 10, 200, 1_000])
TAGS = st.lists(st.sampled_from(["site", "user:1", "user:2"]), max_size=3).map(tuple)
# How long an entry is kept beyond its expiry, and its tags; None: it has no life.
BEYOND = st.none() | st.tuples(st.sampled_from([0.0, 0.25, 4.0, 100.0]), TAGS)

ModelEntry = tuple[str, int, float, int, Life | None]


def coldest_first(cache: MemoryCache) -> list[str]:
    return [*cache._old, *cache._young]


def parts(entry: Entry | None) -> tuple[object, float, int, Life | None] | None:
    return None if entry is None else (entry.value, float(entry), entry.size, entry.life)


def life_until(until: float, *tags: str) -> Life:
    return Life(until=until, fresh_until=until, l1_until=until, load_seconds=0.1, tags=tags)


class AgainstPlainModel(RuleBasedStateMachine):
    """MemoryCache beside a list of entries, coldest first, that is searched from end to end."""

    @initialize(
        max_entries=st.integers(1, 4), max_bytes=st.sampled_from([1, 250, 700, 1_000, 10_000])
    )
    def start(self, max_entries: int, max_bytes: int) -> None:
        self.cache = MemoryCache(max_entries=max_entries, max_bytes=max_bytes)
        self.entries: list[ModelEntry] = []
        self.now = 0.0
        self.sets = 0
        self.replaced = 0
        self.left_expired = 0
        self.peak = 0
        self.seen = MemoryStatistics()

    def position(self, key: str) -> int | None:
        return next((i for i, entry in enumerate(self.entries) if entry[0] == key), None)

    def life(self, expires: float, beyond: tuple[float, tuple[str, ...]] | None) -> Life | None:
        return None if beyond is None else life_until(expires + beyond[0], *beyond[1])

    @rule(wait=WAITS)
    def wait(self, wait: float) -> None:
        self.now += wait

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        found = self.cache.get(key, self.now)
        position = self.position(key)
        if position is None:
            self.seen.misses += 1
            assert found is None
            return
        entry = self.entries[position]
        if entry[2] <= self.now:
            self.seen.expired += 1
            if entry[4] is None or entry[4].until <= self.now:
                del self.entries[position]
                self.left_expired += 1
            assert found is None
            return
        self.entries.append(self.entries.pop(position))
        self.seen.hits += 1
        assert parts(found) == entry[1:]

    @rule(key=KEYS)
    def retained(self, key: str) -> None:
        found = self.cache.retained(key, self.now)
        position = self.position(key)
        entry = None if position is None else self.entries[position]
        if entry is not None and entry[2] <= self.now and entry[4] and self.now < entry[4].until:
            assert parts(found) == entry[1:]
        else:
            assert found is None

    @rule(key=KEYS, life=LIVES, size=SIZES, beyond=BEYOND)
    def set(
        self, key: str, life: float, size: int, beyond: tuple[float, tuple[str, ...]] | None
    ) -> None:
        self.sets += 1
        expires = self.now + life
        kept = self.life(expires, beyond)
        self.cache.set(key, self.sets, expires=expires, size=size, life=kept)
        if (position := self.position(key)) is not None:
            self.entries.pop(position)
            self.replaced += 1
        full = size + len(key.encode()) + ENTRY_OVERHEAD
        if full > self.cache.max_bytes:
            self.seen.refused += 1
            return
        self.entries.append((key, self.sets, expires, full, kept))
        while len(self.entries) > self.cache.max_entries or self.bytes() > self.cache.max_bytes:
            self.entries.pop(0)
            self.seen.evicted += 1
        self.peak = max(self.peak, self.bytes())

    @rule(key=KEYS, beyond=BEYOND.filter(lambda beyond: beyond is not None))
    def replace_life(self, key: str, beyond: tuple[float, tuple[str, ...]]) -> None:
        position = self.position(key)
        if position is None:
            return
        entry = self.entries[position]
        life = self.life(entry[2], beyond)
        assert life is not None
        self.cache.replace_life(key, life)
        self.entries[position] = (*entry[:4], life)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        position = self.position(key)
        assert self.cache.delete(key) == (position is not None)
        if position is not None:
            self.entries.pop(position)
            self.seen.invalidated += 1

    @rule(prefix=st.sampled_from(["", "b", "b:", "z", "*"]))
    def delete_prefix(self, prefix: str) -> None:
        left = [entry for entry in self.entries if not entry[0].startswith(prefix)]
        self.invalidated(self.cache.delete_prefix(prefix), left)

    @rule(tag=st.sampled_from(["site", "user:1", "user", ""]))
    def delete_tag(self, tag: str) -> None:
        left = [entry for entry in self.entries if entry[4] is None or tag not in entry[4].tags]
        self.invalidated(self.cache.delete_tag(tag), left)

    @rule()
    def clear(self) -> None:
        self.invalidated(self.cache.clear(), [])

    def invalidated(self, gone: int, left: list[ModelEntry]) -> None:
        assert gone == len(self.entries) - len(left)
        self.entries = left
        self.seen.invalidated += gone

    def bytes(self) -> int:
        return sum(entry[3] for entry in self.entries)

    @invariant()
    def bounds_hold_and_statistics_add_up(self) -> None:
        if not hasattr(self, "cache"):
            return
        cache, statistics = self.cache, self.cache.statistics
        assert coldest_first(cache) == [entry[0] for entry in self.entries]
        assert (len(cache), cache.bytes) == (len(self.entries), self.bytes())
        assert len(cache) <= cache.max_entries
        assert cache.bytes <= cache.peak_bytes == self.peak <= cache.max_bytes
        assert sum(cache.bytes_by_kind().values()) == cache.bytes
        assert asdict(statistics) == asdict(self.seen)
        left = self.left_expired + statistics.evicted + statistics.invalidated
        assert self.sets - statistics.refused - self.replaced - left == len(cache)

    @invariant()
    def index_of_tags_is_that_of_the_entries(self) -> None:
        if not hasattr(self, "cache"):
            return
        index: dict[str, set[str]] = {}
        for key, _, _, _, life in self.entries:
            for tag in life.tags if life else ():
                index.setdefault(tag, set()).add(key)
        assert self.cache._tags == index


AgainstPlainModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
test_cache_agrees_with_a_plain_model = AgainstPlainModel.TestCase


class Oracle(TLRUCache[str, tuple[int, float]]):
    """cachetools' LRU with an expiry per entry, which tells whom it evicts."""

    def __init__(self, size: int, machine: AgainstCachetools) -> None:
        super().__init__(size, ttu=lambda _, value, now: now + value[1], timer=lambda: machine.now)
        self.evicted: list[str] = []

    def popitem(self) -> tuple[str, tuple[int, float]]:
        pair: tuple[str, tuple[int, float]] = super().popitem()
        self.evicted.append(pair[0])
        return pair


class AgainstCachetools(RuleBasedStateMachine):
    """MemoryCache beside cachetools.TLRUCache: the same hits, expiries and victims, in order."""

    @initialize(size=st.integers(1, 4), is_bounded_in_bytes=st.booleans())
    def start(self, size: int, is_bounded_in_bytes: bool) -> None:
        self.now = 0.0
        self.number = 0
        self.oracle = Oracle(size, self)
        each = ENTRY_OVERHEAD + 100
        bounds = (10**6, size * each) if is_bounded_in_bytes else (size, 10**6)
        self.cache = MemoryCache(max_entries=bounds[0], max_bytes=bounds[1])
        self.evicted: list[str] = []

    @rule(wait=WAITS)
    def wait(self, wait: float) -> None:
        self.now += wait
        # cachetools sheds what has expired before it evicts; ours only when it is in the way.
        expired = {key for key, _ in self.oracle.expire(self.now)}
        gone = self.cache.statistics.expired
        for key in coldest_first(self.cache):
            if key not in self.oracle:
                assert self.cache.get(key, self.now) is None
                expired.remove(key)
                gone += 1
        assert not expired
        assert self.cache.statistics.expired == gone

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        found, expected = self.cache.get(key, self.now), self.oracle.get(key)
        assert (found and found.value) == (expected and expected[0])

    @rule(key=KEYS, life=LIVES.filter(lambda life: life > 0))
    def set(self, key: str, life: float) -> None:
        self.number += 1
        before = coldest_first(self.cache)
        self.cache.set(key, self.number, expires=self.now + life, size=100 - len(key.encode()))
        self.evicted += [old for old in before if old not in coldest_first(self.cache)]
        self.oracle[key] = (self.number, life)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.cache.delete(key) == (self.oracle.pop(key, None) is not None)

    @invariant()
    def both_hold_the_same(self) -> None:
        if not hasattr(self, "cache"):
            return
        assert self.evicted == self.oracle.evicted
        assert self.cache.statistics.evicted == len(self.evicted)
        assert sorted(coldest_first(self.cache)) == sorted(self.oracle)


AgainstCachetools.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
test_cache_does_as_cachetools_does = AgainstCachetools.TestCase


@pytest.mark.parametrize("capacity", [1_000, 3_000])
def test_victims_are_exactly_the_least_recently_used_in_a_large_cache(capacity: int) -> None:
    cache = MemoryCache(max_entries=capacity, max_bytes=10**9)
    model: OrderedDict[str, None] = OrderedDict()
    for draw, fate in Stream(1, Purpose.DATA, width=2).rows(0, 40_000).tolist():
        key = f"k{int(draw**2 * 6_000)}"
        if fate < 0.02:
            assert cache.delete(key) == (model.pop(key, "") is None)
        elif cache.get(key, 0.0) is not None:
            model.move_to_end(key)
        else:
            cache.set(key, key, expires=1.0, size=0)
            assert key not in model
            model[key] = None
            if len(model) > capacity:
                model.popitem(last=False)
    assert coldest_first(cache) == list(model)
    assert cache.statistics.evicted > capacity


def test_retained_entry_is_no_hit_but_can_be_had_until_its_life_ends() -> None:
    cache = MemoryCache(max_entries=5, max_bytes=10_000)
    life = life_until(20.0)
    cache.set("a", b"x", expires=10.0, size=1, life=life)
    assert cache.retained("a", 9.0) is None  # it is not past its expiry
    for now in (10.0, 19.0):
        assert cache.get("a", now) is None
        assert parts(cache.retained("a", now)) == (b"x", 10.0, 2 + ENTRY_OVERHEAD, life)
    assert cache.statistics == MemoryStatistics(expired=2)
    assert cache.retained("a", 20.0) is None
    assert len(cache) == 1
    assert cache.get("a", 20.0) is None
    assert (len(cache), cache.bytes) == (0, 0)
    assert cache.statistics == MemoryStatistics(expired=3)


def test_asking_for_a_retained_entry_is_no_use_of_it() -> None:
    cache = MemoryCache(max_entries=2, max_bytes=10_000)
    cache.set("a", 1, expires=1.0, size=1, life=life_until(50.0))
    cache.set("b", 2, expires=50.0, size=1)
    assert cache.get("a", 2.0) is None
    assert cache.retained("a", 2.0) is not None
    cache.replace_life("a", life_until(60.0))
    cache.set("c", 3, expires=50.0, size=1)
    assert coldest_first(cache) == ["b", "c"]


def test_an_entry_that_ends_at_time_0_is_an_entry() -> None:
    cache = MemoryCache(max_entries=2, max_bytes=10_000)
    cache.set("a", b"x", expires=0.0, size=1, life=life_until(5.0))
    found = cache.get("a", -1.0)
    assert found is not None
    assert found.value == b"x"
    assert cache.get("a", 0.0) is None
    assert parts(cache.retained("a", 0.0)) == parts(found)


def test_entry_whose_value_was_known_to_be_absent_can_be_retained() -> None:
    cache = MemoryCache(max_entries=2, max_bytes=10_000)
    cache.set("a", None, expires=1.0, size=0, life=life_until(5.0))
    entry = cache.retained("a", 2.0)
    assert entry is not None
    assert entry.value is None


def test_tag_reaches_its_entries_only() -> None:
    cache = MemoryCache(max_entries=5, max_bytes=10_000)
    cache.set("a", 1, expires=9.0, size=1, life=life_until(9.0, "red"))
    cache.set("b", 2, expires=9.0, size=1, life=life_until(9.0, "red", "round"))
    cache.set("c", 3, expires=9.0, size=1, life=life_until(9.0, "round"))
    cache.set("d", 4, expires=9.0, size=1)
    assert cache.delete_tag("red") == 2
    assert cache.delete_tag("red") == 0
    assert coldest_first(cache) == ["c", "d"]
    cache.set("c", 3, expires=9.0, size=1)  # without a tag now
    assert cache.delete_tag("round") == 0
    assert cache.statistics.invalidated == 2


def test_life_of_an_entry_that_is_not_there_cannot_be_replaced() -> None:
    with pytest.raises(KeyError):
        MemoryCache(max_entries=1, max_bytes=1_000).replace_life("a", life_until(1.0))


def test_bytes_are_reported_by_kind_of_key() -> None:
    cache = MemoryCache(max_entries=5, max_bytes=10_000)
    cache.set("site:a", 1, expires=9.0, size=10)
    cache.set("site:b", 1, expires=9.0, size=20)
    cache.set("plain", 1, expires=9.0, size=0)
    assert cache.bytes_by_kind() == {
        "site": 2 * (ENTRY_OVERHEAD + 6) + 30,
        "plain": ENTRY_OVERHEAD + 5,
    }


def test_expired_entry_is_a_miss_and_goes() -> None:
    cache = MemoryCache(max_entries=5, max_bytes=10_000)
    cache.set("a", b"x", expires=10.0, size=1)
    assert cache.get("a", 9.999) is not None
    assert cache.get("a", 10.0) is None
    assert (len(cache), cache.bytes, cache.statistics.expired) == (0, 0, 1)


def test_the_least_recently_used_entry_goes_first() -> None:
    cache = MemoryCache(max_entries=2, max_bytes=10_000)
    cache.set("a", 1, expires=100.0, size=1)
    cache.set("b", 2, expires=1.0, size=1)
    assert cache.get("a", 0.0) is not None
    cache.set("c", 3, expires=50.0, size=1)
    assert [key for key in "abc" if cache.get(key, 0.5)] == ["a", "c"]


def test_reading_does_not_lengthen_a_life() -> None:
    cache = MemoryCache(max_entries=2, max_bytes=10_000)
    cache.set("a", 1, expires=10.0, size=1)
    for now in range(10):
        assert cache.get("a", float(now)) is not None
    assert cache.get("a", 10.0) is None


def test_a_value_over_the_byte_bound_is_refused_and_takes_its_old_value_along() -> None:
    cache = MemoryCache(max_entries=5, max_bytes=1_000)
    cache.set("a", "small", expires=100.0, size=1)
    cache.set("b", "kept", expires=100.0, size=1)
    cache.set("a", "large", expires=100.0, size=1_000)
    assert cache.get("a", 0.0) is None
    assert cache.get("b", 0.0) is not None
    assert cache.statistics == MemoryStatistics(hits=1, misses=1, refused=1)


def test_200_000_expired_entries_do_not_pile_up() -> None:
    cache = MemoryCache(max_entries=1_000, max_bytes=10**9)
    for number in range(200_000):
        cache.set(f"k{number}", number, expires=float(number), size=8)
    assert len(cache) == 1_000
    assert cache.statistics.evicted == 199_000


def test_values_are_handed_out_as_they_are() -> None:
    cache, value = MemoryCache(max_entries=1, max_bytes=1_000), b"bytes of its own"
    cache.set("a", value, expires=1.0, size=len(value))
    entry = cache.get("a", 0.0)
    assert entry is not None
    assert entry.value is value


@pytest.mark.parametrize(("entries", "size"), [(0, 1), (1, 0), (-1, 5)])
def test_a_cache_that_holds_nothing_is_refused(entries: int, size: int) -> None:
    with pytest.raises(ValueError, match="at least one entry"):
        MemoryCache(max_entries=entries, max_bytes=size)


@given(
    one=st.lists(st.integers(0, 99), min_size=6, max_size=6),
    other=st.lists(st.integers(0, 99), min_size=6, max_size=6),
)
def test_statistics_add_field_by_field(one: list[int], other: list[int]) -> None:
    total = MemoryStatistics(*one)
    total.add(MemoryStatistics(*other))
    assert list(asdict(total).values()) == [a + b for a, b in zip(one, other, strict=True)]


def test_a_cache_filled_with_what_has_ended_answers_nothing_and_evicts_it_first() -> None:
    cache = MemoryCache(max_entries=3, max_bytes=10_000)
    cache.fill_with_expired({key: expired_entry(key, "old", 10) for key in "abcd"})
    assert len(cache) == 3  # the coldest did not fit
    assert cache.bytes == cache.peak_bytes == 3 * (ENTRY_OVERHEAD + 1 + 10)
    assert cache.get("b", -1e9) is None
    assert (len(cache), cache.statistics.evicted) == (2, 0)
    cache.set("x", 1, 5.0, 10)
    cache.set("y", 2, 5.0, 10)
    assert (len(cache), cache.statistics.evicted) == (3, 1)
    assert cache.get("x", 0.0) is not None


def test_a_fill_keeps_the_bound_on_bytes() -> None:
    size = ENTRY_OVERHEAD + 1 + 10
    cache = MemoryCache(max_entries=100, max_bytes=2 * size)
    cache.fill_with_expired({key: expired_entry(key, "old", 10) for key in "abcd"})
    assert (len(cache), cache.bytes) == (2, 2 * size)
