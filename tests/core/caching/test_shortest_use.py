"""Claims about the shortest use of a tiered cache: nothing but what it is made of."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import assert_type

import pytest

from core.caching import CachePolicy, CacheType, Json, MemoryCache, MemoryKV, TieredCache
from core.caching.read import Load
from core.clock import ManualClock

KIND = CacheType(name="config", ttl=60.0, codec=Json())


def cache_of(kv: MemoryKV, clock: ManualClock) -> TieredCache:
    l1 = MemoryCache(max_entries=10, max_bytes=10_000)
    return TieredCache(l1, kv, clock, CachePolicy(l1_ttl=30.0))


async def load_later() -> dict[str, int]:
    await asyncio.sleep(0)
    return {"a": 1}


@pytest.mark.parametrize("load", [load_later, lambda: {"a": 1}], ids=["coroutine", "plain"])
def test_loader_may_be_a_plain_function(load: Load) -> None:
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


def test_value_has_the_type_that_the_loader_gives() -> None:
    async def length(text: str) -> int | None:
        return len(text) or None

    async def main() -> None:
        clock = ManualClock()
        cache = cache_of(MemoryKV(clock.now), clock)
        later = await cache.get(KIND, "config:s1", lambda: length("ab"))
        assert assert_type(later, int | None) == 2
        assert assert_type(await cache.get(KIND, "config:s2", lambda: "x"), str) == "x"

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
            found = await cache.get_many(KIND, ["a", "bb", "none"], load)
            assert found == {"a": 1, "bb": 2, "none": None}
        assert asked == [("a", "bb", "none")]

    asyncio.run(main())


def test_error_of_a_plain_loader_reaches_every_reader() -> None:
    async def main() -> None:
        clock = ManualClock()
        cache = cache_of(MemoryKV(clock.now), clock)

        def fail() -> str:
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
