"""Claims about L1: it behaves as cachetools' LRU with an expiry per entry, within its bounds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from cachetools import TLRUCache
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.caching.memory import ENTRY_OVERHEAD, MemoryCache, MemoryStatistics

KEYS = st.sampled_from(["a", "b", "bb", "b:1", "c", "d" * 50])
WAITS = st.sampled_from([0.0, 0.25, 1.0, 5.0])
LIVES = st.sampled_from([-1.0, 0.0, 0.25, 1.0, 6.0, 100.0])
SIZES = st.sampled_from([0, 1, 10, 200, 1_000])


class AgainstPlainModel(RuleBasedStateMachine):
    """MemoryCache beside a list of entries, coldest first, that is searched from end to end."""

    @initialize(
        max_entries=st.integers(1, 4), max_bytes=st.sampled_from([1, 250, 700, 1_000, 10_000])
    )
    def start(self, max_entries: int, max_bytes: int) -> None:
        self.cache = MemoryCache(max_entries=max_entries, max_bytes=max_bytes)
        self.entries: list[tuple[str, int, float, int]] = []
        self.now = 0.0
        self.sets = 0
        self.replaced = 0
        self.peak = 0
        self.seen = MemoryStatistics()

    def position(self, key: str) -> int | None:
        return next((i for i, entry in enumerate(self.entries) if entry[0] == key), None)

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
        entry = self.entries.pop(position)
        if entry[2] <= self.now:
            self.seen.expired += 1
            assert found is None
            return
        self.entries.append(entry)
        self.seen.hits += 1
        assert found == entry[1:]

    @rule(key=KEYS, life=LIVES, size=SIZES)
    def set(self, key: str, life: float, size: int) -> None:
        self.sets += 1
        self.cache.set(key, self.sets, expires=self.now + life, size=size)
        if (position := self.position(key)) is not None:
            self.entries.pop(position)
            self.replaced += 1
        full = size + len(key) + ENTRY_OVERHEAD
        if full > self.cache.max_bytes:
            self.seen.refused += 1
            return
        self.entries.append((key, self.sets, self.now + life, full))
        while len(self.entries) > self.cache.max_entries or self.bytes() > self.cache.max_bytes:
            self.entries.pop(0)
            self.seen.evicted += 1
        self.peak = max(self.peak, self.bytes())

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
        gone = len(self.entries) - len(left)
        assert self.cache.delete_prefix(prefix) == gone
        self.entries = left
        self.seen.invalidated += gone

    @rule()
    def clear(self) -> None:
        assert self.cache.clear() == len(self.entries)
        self.seen.invalidated += len(self.entries)
        self.entries = []

    def bytes(self) -> int:
        return sum(entry[3] for entry in self.entries)

    @invariant()
    def bounds_hold_and_statistics_add_up(self) -> None:
        if not hasattr(self, "cache"):
            return
        cache, statistics = self.cache, self.cache.statistics
        assert (len(cache), cache.bytes) == (len(self.entries), self.bytes())
        assert len(cache) <= cache.max_entries
        assert cache.bytes <= cache.peak_bytes == self.peak <= cache.max_bytes
        assert asdict(statistics) == asdict(self.seen)
        left = statistics.expired + statistics.evicted + statistics.invalidated
        assert self.sets - statistics.refused - self.replaced - left == len(cache)


AgainstPlainModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
test_cache_agrees_with_a_plain_model = AgainstPlainModel.TestCase


OPERATIONS = st.lists(
    st.tuples(WAITS, st.sampled_from(["get", "set", "delete"]), KEYS, LIVES.filter(lambda x: x > 0))
)


@settings(max_examples=200)
@given(operations=OPERATIONS, size=st.integers(1, 4))
def test_cache_answers_as_cachetools_does(
    operations: list[tuple[float, str, str, float]], size: int
) -> None:
    now = 0.0

    def expiry(_: str, value: tuple[int, float], time: float) -> float:
        return time + value[1]

    oracle: TLRUCache[str, Any] = TLRUCache(size, ttu=expiry, timer=lambda: now)
    cache = MemoryCache(max_entries=size, max_bytes=10**6)
    for number, (wait, operation, key, life) in enumerate(operations):
        now += wait
        # cachetools sheds what has expired whenever it likes; ours only when it is in the way.
        # Without the dead the two orders of use are the same.
        dead = {k for k, (_, expires, _) in list(cache._entries.items()) if expires <= now}
        for k in dead:
            assert cache.get(k, now) is None
        if operation == "get":
            found = cache.get(key, now)
            assert (None if found is None else found[0]) == (oracle.get(key) or (None,))[0]
        elif operation == "set":
            cache.set(key, number, expires=now + life, size=0)
            oracle[key] = (number, life)
        else:
            assert cache.delete(key) == (oracle.pop(key, None) is not None)
        assert set(cache._entries) == set(oracle)


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
    assert entry[0] is value


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
