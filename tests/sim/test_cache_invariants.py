"""What the tiered caches promise holds in random worlds of requests, changes and faults.

EDGEPROOF_SEEDS chooses the worlds: a number of them, or "first:end".
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.caching import stale
from core.caching.flights import Flight, Flights
from core.caching.invalidation import Invalidator
from core.caching.invalidation_log import InvalidationLog, Selector
from core.caching.kv import MemoryKV, StoreItem
from core.caching.lifetime import Lifetime, Standing
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType, Text
from core.caching.second_tier import SecondTier
from core.caching.statistics import COLUMNS
from core.caching.tiered import TieredCache
from core.context import Span
from core.wire import BYPASS
from sim.loop import SimLoop
from tests.sim.cache_checks import complaints
from tests.sim.cache_world import Platform, happen
from tests.sim.runs import simulated

CHUNKS = 10


def seeds() -> range:
    first, is_range, end = os.environ.get("EDGEPROOF_SEEDS", "1000").partition(":")
    return range(int(first), int(end)) if is_range else range(int(first))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_world_keeps_what_the_caches_promise(chunk: int) -> None:
    for seed in seeds()[chunk::CHUNKS]:
        found = complaints(seed)
        assert not found, (
            f"{len(found)} complaints, the first: {found[0]}\n"
            f"EDGEPROOF_SEEDS={seed}:{seed + 1} .venv/bin/pytest {__file__} -k every_world\n"
            f".venv/bin/python -m tests.sim.cache_world {seed}"
        )


def test_worlds_reach_every_corner() -> None:
    reached: Counter[str] = Counter()
    for seed in range(150):
        happened = happen(seed)
        for cache in happened.caches:
            statistics = cache.statistics
            for name in (
                "l2_errors", "l2_late", "l2_skipped", "l2_write_errors", "l2_refused",
                "load_errors", "refreshes", "refresh_errors", "overtaken", "l1_extended",
            ):  # fmt: skip
                reached[name] += getattr(statistics, name)
            for counts in statistics.outcomes.values():
                for column, number in zip(COLUMNS, counts, strict=True):
                    reached[f"answered {column}"] += number
            reached["evicted"] += cache.l1.statistics.evicted
            reached["opened"] += cache.l2.breaker.openings
        reached["gaps"] += len(happened.gaps)
        for group in (happened.reads, happened.loads, happened.changes):
            reached.update(f"{type(each).__name__} {each.how}" for each in group)
    del reached["answered none"]
    assert min(reached.values()) >= 5, reached


# The checks can fail: each of these mistakes is found in a few worlds.


def full_ttl_on_promotion(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TieredCache, "_fresh_until", lambda cache, envelope: cache.now() + 2.0)


def invalidation_that_lets_loads_in_flight_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(InvalidationLog, "refuses_load", lambda *_: False)


def invalidation_whose_flights_are_still_joined(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flights, "forget", lambda *_: None)


def l2_that_may_answer_with_what_was_invalidated(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(InvalidationLog, "refuses", lambda *_: False)


def writes_that_are_not_taken_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SecondTier, "_is_overtaken", lambda *_: False)


def absence_that_is_set_and_not_deleted(patch: pytest.MonkeyPatch) -> None:
    async def drop(*_: Any) -> None:
        """Forget to."""

    patch.setattr(SecondTier, "drop", drop)


def bypass_that_counts_twice(patch: pytest.MonkeyPatch) -> None:
    count = TieredCache.count

    def twice(cache: TieredCache, read: Any, code: int) -> None:
        count(cache, read, code)
        if code == BYPASS:
            cache.statistics.outcomes[read.kind.name][BYPASS] += 1

    patch.setattr(TieredCache, "count", twice)


def flights_that_nobody_can_join(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flights, "begin", lambda _, key, tags: Flight(key, tags))


def followers_answered_last_come_first_served(patch: pytest.MonkeyPatch) -> None:
    resolve = Flight.resolve

    def reversed_resolve(flight: Flight, value: Any) -> None:
        flight._followers.reverse()
        resolve(flight, value)

    patch.setattr(Flight, "resolve", reversed_resolve)


def leader_that_leaves_without_a_word(patch: pytest.MonkeyPatch) -> None:
    fail = Flight.fail

    def silent(flight: Flight, error: BaseException) -> None:
        if isinstance(error, Exception):
            fail(flight, error)

    patch.setattr(Flight, "fail", silent)


def l1_without_its_bound_in_bytes(patch: pytest.MonkeyPatch) -> None:
    keep = MemoryCache.set

    def unbounded(l1: MemoryCache, *given: Any, **named: Any) -> None:
        bound, l1.max_bytes = l1.max_bytes, 10**9
        keep(l1, *given, **named)
        l1.max_bytes = bound

    patch.setattr(MemoryCache, "set", unbounded)


def soft_limit_that_is_ignored(patch: pytest.MonkeyPatch) -> None:
    begin = SecondTier.__init__

    def patient(tier: SecondTier, *given: Any, **named: Any) -> None:
        begin(tier, *given, **{**named, "soft_timeout": 0.0})

    patch.setattr(SecondTier, "__init__", patient)


def process_that_is_deaf(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Invalidator, "apply", lambda *_: None)


def process_that_thinks_it_missed_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Invalidator, "forget_after_gap", lambda *_: None)


def stale_values_that_nobody_renews(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stale, "refresh", lambda *_: None)


def stale_values_without_an_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lifetime, "standing", lambda *_: Standing.STALE)


MISTAKES: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    full_ttl_on_promotion: "s old with a TTL",
    invalidation_that_lets_loads_in_flight_pass: "began before change",
    invalidation_whose_flights_are_still_joined: "began before change",
    l2_that_may_answer_with_what_was_invalidated: "began before change",
    writes_that_are_not_taken_back: "L2 still has load",
    absence_that_is_set_and_not_deleted: "in L2",
    bypass_that_counts_twice: "its reads were",
    flights_that_nobody_can_join: "at once",
    followers_answered_last_come_first_served: "which waited longer",
    leader_that_leaves_without_a_word: "it hangs",
    l1_without_its_bound_in_bytes: "L1 holds more than its bounds",
    soft_limit_that_is_ignored: "s for L2",
    process_that_is_deaf: "began before change",
    process_that_thinks_it_missed_nothing: "outlived change",
    stale_values_that_nobody_renews: "renews nothing",
    stale_values_without_an_end: "s old with a TTL",
}
CAUGHT_WITHIN = 200


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_mistake_is_caught_in_one_of_the_first_worlds(
    mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    assert any(
        MISTAKES[mistake] in what for seed in range(CAUGHT_WITHIN) for what in complaints(seed)
    )


# What these worlds have found, each as small as it gets.


@dataclass
class Small:
    """One isolate above a store in memory, on simulated time."""

    loop: SimLoop
    policy: CachePolicy
    put_takes: float = 0.0
    load_takes: float = 1.0
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = Platform(self.loop, seed=1)
        self.store = LateStore(self.clock.now, self.loop, self.put_takes)
        self.cache = TieredCache(
            MemoryCache(max_entries=100, max_bytes=10**6), self.store, self.clock, self.policy,
            retain=lambda _: None, uniform=self.clock.uniform,
        )  # fmt: skip
        self.kind = CacheType(name="a", ttl=4.0, codec=Text())

    async def load(self, keys: Sequence[str] = ("a:0",)) -> dict[str, bytes]:
        self.loads += keys
        await asyncio.sleep(self.load_takes)
        return dict.fromkeys(keys, b"v")

    async def load_one(self) -> bytes:
        return (await self.load())["a:0"]

    async def get(self, at: float) -> float:
        """Read a:0 at a time; return when it was answered."""
        await self.loop.until(at)
        await self.cache.get(self.kind, "a:0", self.load_one, Span(), "config")
        return self.loop.time()


class LateStore(MemoryKV):
    """A store whose puts take their time."""

    __slots__ = ("_loop", "_takes")

    def __init__(self, now: Callable[[], float], loop: SimLoop, takes: float) -> None:
        super().__init__(now)
        self._loop = loop
        self._takes = takes

    async def put(self, *items: StoreItem) -> None:
        await self._loop.until(self._loop.time() + self._takes)
        await super().put(*items)


def test_target_may_name_a_key_twice_while_it_is_loaded() -> None:
    with simulated() as loop:
        small = Small(loop, CachePolicy(l1_ttl=9.0))

        async def main() -> None:
            reading = loop.create_task(small.get(0.0))
            await asyncio.sleep(0.5)
            await small.cache.invalidator.invalidate(Selector(keys=("a:0", "a:0")))
            await reading

        loop.run(main())


def test_batch_draws_early_refresh_under_its_own_address() -> None:
    with simulated() as loop:
        small = Small(loop, CachePolicy(l1_ttl=9.0, early_refresh=1.0))

        async def read_again() -> dict[str, Any]:
            return await small.cache.get_many(small.kind, ("a:0",), small.load, Span(), "config")

        async def main() -> Any:
            await small.get(0.0)
            await asyncio.sleep(1.0)
            # In a task whose context knows of no operation.
            return await loop.create_task(read_again(), context=Context())

        assert loop.run(main()) == {"a:0": b"v"}


def test_absence_that_is_not_kept_replaces_what_l2_had() -> None:
    with simulated() as loop:
        small = Small(loop, CachePolicy(l1_ttl=9.0, negative_ttl=0.0, await_put=True))

        async def main() -> list[bytes | None]:
            await small.get(0.0)
            await small.cache.set_many(small.kind, {"a:0": None})
            return await small.store.get("a:0")

        assert loop.run(main()) == [None]


def test_reader_of_one_key_does_not_wait_for_the_load_of_another() -> None:
    with simulated() as loop:
        small = Small(loop, CachePolicy(l1_ttl=0.5, await_put=True), load_takes=0.25)

        async def main() -> tuple[float, float]:
            await small.get(0.0)
            small.load_takes = 3.0
            slow = SlowGets(small.store, loop)
            small.cache.l2.kv = slow
            await asyncio.sleep(1.0)
            batch = loop.create_task(
                small.cache.get_many(small.kind, ("a:0", "a:1"), small.load, Span(), "config")
            )
            await asyncio.sleep(0.125)
            return await small.get(1.375), len(await batch)

        # L2 answers 0.5 s after 1.25 s; a:1 is loaded until 4.75 s.
        assert loop.run(main()) == (1.75, 2)


class SlowGets(MemoryKV):
    """A store of which reads take half a second."""

    __slots__ = ("_loop", "_store")

    def __init__(self, store: MemoryKV, loop: SimLoop) -> None:
        super().__init__(loop.time)
        self._store = store
        self._loop = loop

    async def get(self, *keys: str) -> list[bytes | None]:
        await self._loop.until(self._loop.time() + 0.5)
        return await self._store.get(*keys)


def test_followers_do_not_wait_for_the_leaders_write() -> None:
    with simulated() as loop:
        small = Small(loop, CachePolicy(l1_ttl=9.0, await_put=True), put_takes=8.0)

        async def main() -> tuple[float, float]:
            return await asyncio.gather(small.get(0.0), small.get(0.5))

        assert tuple(loop.run(main())) == (9.0, 1.0)
