"""Claims about the shortest use of a tiered cache: nothing but what it is made of."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_type

import pytest

from core.caching import CachePolicy, CacheType, MemoryCache, MemoryKV, TieredCache
from core.caching.invalidation import Removed
from core.clock import ManualClock

KIND = CacheType[dict[str, int]](name="config")
LENGTHS = CacheType[int](name="length")


def cache_of(kv: MemoryKV, clock: ManualClock) -> TieredCache:
    l1 = MemoryCache(max_entries=10, max_bytes=10_000)
    return TieredCache(l1, kv, clock, CachePolicy(l1_ttl=30.0))


async def load_later() -> dict[str, int]:
    await asyncio.sleep(0)
    return {"a": 1}


@pytest.mark.parametrize("load", [load_later, lambda: {"a": 1}], ids=["coroutine", "plain"])
def test_loader_may_be_a_plain_function(load: Callable[[], Awaitable[dict[str, int]]]) -> None:
    async def main() -> None:
        clock = ManualClock()
        kv = MemoryKV(clock.now)
        assert await cache_of(kv, clock).get(KIND, "config:s1", load) == {"a": 1}
        gc.collect()  # a task that nobody holds would go
        for _ in range(5):
            await asyncio.sleep(0)

        def fail() -> dict[str, int]:
            raise AssertionError("L2 has it")

        found = await cache_of(kv, clock).get(KIND, "config:s1", fail)
        assert assert_type(found, dict[str, int]) == {"a": 1}

    asyncio.run(main())


def test_cache_needs_no_arguments() -> None:
    async def main() -> None:
        cache = TieredCache()
        for _ in range(2):
            assert await cache.get(KIND, "s1", load_later) == {"a": 1}
        assert (cache.statistics.loads, cache.l1.statistics.hits) == (1, 1)
        await asyncio.sleep(0)
        assert cache.statistics.l2_write_errors == 0
        assert await cache.delete_many(KIND, ["s1"]) == Removed(1, 0)  # it has no L2
        await cache.get(KIND, "s1", load_later)
        assert cache.statistics.loads == 2

    asyncio.run(main())


def test_cache_takes_stores_that_are_still_empty() -> None:
    clock = ManualClock()
    l1, kv = MemoryCache(max_entries=10, max_bytes=10_000), MemoryKV(clock.now)
    cache = TieredCache(l1, kv)
    assert (cache.l1, cache.l2.kv) == (l1, kv)


class Length:
    async def __call__(self) -> int | None:
        return 2


async def letters() -> str:
    return "ab"


def test_value_has_the_type_of_the_cache_type() -> None:
    def one() -> int:
        return 1

    def none() -> int | None:
        return None

    async def main() -> None:
        cache = TieredCache()
        assert assert_type(await cache.get(LENGTHS, "plain", one), int) == 1
        assert assert_type(await cache.get(LENGTHS, "absent", none), int | None) is None
        assert assert_type(await cache.get(LENGTHS, "later", Length()), int | None) == 2
        gathered = await asyncio.gather(*(cache.get(LENGTHS, "later", Length()) for _ in range(2)))
        assert assert_type(gathered, list[int | None]) == [2, 2]
        many = await cache.get_many(LENGTHS, ["a"], lambda keys: dict.fromkeys(keys, 3))
        assert assert_type(many, dict[str, int | None]) == {"a": 3}
        # mypy refuses a loader or a value of another type: an ignore without use is its error.
        await cache.get(LENGTHS, "wrong", letters)  # type: ignore[arg-type]  # str is no int
        texts = {"wrong": "ab"}
        await cache.set_many(LENGTHS, texts)  # type: ignore[misc]  # str is no int

    asyncio.run(main())


def test_loader_of_many_may_be_a_plain_function() -> None:
    async def main() -> None:
        clock = ManualClock()
        cache = cache_of(MemoryKV(clock.now), clock)
        asked = []

        def load(keys: Sequence[str]) -> dict[str, int]:
            asked.append(keys)
            return {key: len(key) for key in keys if key != "none"}

        for _ in range(2):
            found = await cache.get_many(LENGTHS, ["a", "bb", "none"], load)
            assert found == {"a": 1, "bb": 2, "none": None}
        assert asked == [("a", "bb", "none")]

    asyncio.run(main())


def test_error_of_a_plain_loader_reaches_every_reader() -> None:
    async def main() -> None:
        clock = ManualClock()
        cache = cache_of(MemoryKV(clock.now), clock)

        def fail() -> dict[str, int]:
            raise LookupError("no such site")

        reads = (cache.get(KIND, "config:s1", fail) for _ in range(3))
        found = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(error) for error in found] == [LookupError] * 3

    asyncio.run(main())


def test_background_work_is_held_until_it_is_done() -> None:
    async def main() -> None:
        clock = ManualClock()
        cache = cache_of(MemoryKV(clock.now), clock)
        ran = []

        async def work() -> None:
            await asyncio.sleep(0)
            ran.append(True)

        cache.retain(asyncio.get_running_loop().create_task(work()))
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ran == [True]

    asyncio.run(main())
