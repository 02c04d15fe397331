"""Claims about the cache over an edge store: lives in whole seconds, 100 keys a read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from core.caching.edge_kv import EdgeKV
from core.caching.faulty_kv import FaultyKV
from core.caching.kv import MemoryKV
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType, Text
from core.caching.tiered import TieredCache
from core.clock import ManualClock

KIND = CacheType(name="page", ttl=60.0, codec=Text())


class World:
    """A cache over an edge store of its own; a load takes *load_takes* and finds *value*."""

    def __init__(
        self,
        *,
        min_ttl: Literal["clamp", "refuse"] = "clamp",
        is_known: bool = True,
        load_takes: float = 0.015,
    ) -> None:
        self.clock = ManualClock(100.25)
        self.memory = MemoryKV(self.clock.now)
        edge = EdgeKV(self.memory, self.clock.now, min_ttl=min_ttl)
        self.kv = FaultyKV(edge, asyncio.sleep)
        policy = CachePolicy(l1_ttl=5.0, negative_ttl=30.0, await_put=True, edge_store=is_known)
        self.cache = TieredCache(
            MemoryCache(max_entries=1_000, max_bytes=10**6),
            self.kv, self.clock, policy, retain=lambda _: None,
        )  # fmt: skip
        self.value: bytes | None = b"v"
        self.load_takes = load_takes
        self.loads = 0

    async def load(self) -> bytes | None:
        self.loads += 1
        self.clock.advance(self.load_takes)
        return self.value

    async def load_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        self.loads += 1
        return dict.fromkeys(keys, b"v")

    async def read(self) -> bytes | None:
        found: bytes | None = await self.cache.get(KIND, "a", self.load)
        return found


def test_an_absence_ends_after_its_own_ttl_though_the_store_has_it_for_60_s() -> None:
    async def main() -> None:
        world = World()
        world.value = None
        assert await world.read() is None
        world.value = b"there"
        world.clock.advance(29.0)
        assert await world.read() is None  # by L2: L1 has let go of it
        assert world.loads == 1
        world.clock.advance(1.5)
        assert await world.memory.get(KIND.key("a")) != [None]
        assert await world.read() == b"there"
        assert world.loads == 2

    asyncio.run(main())


@pytest.mark.parametrize("is_known", [True, False])
def test_what_a_load_leaves_of_a_ttl_of_60_s_is_asked_for_as_60_s(is_known: bool) -> None:
    async def main() -> None:
        world = World(min_ttl="refuse", is_known=is_known)
        assert await world.read() == b"v"
        world.clock.advance(10.0)
        assert await world.read() == b"v"
        # 59.985 s, not rounded up, would be 59 to the store, which refuses that.
        assert world.loads == (1 if is_known else 2)
        assert world.cache.statistics.l2_write_errors == (0 if is_known else 2)

    asyncio.run(main())


def test_a_load_that_leaves_less_than_the_store_takes_is_not_kept_and_is_counted() -> None:
    async def main() -> None:
        world = World(min_ttl="refuse", load_takes=1.5)
        assert await world.read() == b"v"
        assert world.cache.statistics.l2_write_errors == 1
        assert await world.memory.get(KIND.key("a")) == [None]

    asyncio.run(main())


def test_an_absence_is_not_kept_in_a_store_that_refuses_its_ttl() -> None:
    async def main() -> None:
        world = World(min_ttl="refuse")
        world.value = None
        assert await world.read() is None
        assert world.cache.statistics.l2_write_errors == 1
        assert await world.memory.get(KIND.key("a")) == [None]

    asyncio.run(main())


def test_many_keys_are_read_100_at_a_time_and_written_one_by_one() -> None:
    async def main() -> None:
        world = World()
        keys = [f"k{number}" for number in range(250)]
        found = await world.cache.get_many(KIND, keys, world.load_many)
        assert found == dict.fromkeys(keys, b"v")
        assert world.kv.calls["get"] == [100, 100, 50]
        statistics = world.cache.statistics
        assert (statistics.l2_reads, statistics.l2_writes) == (3, 250)
        world.clock.advance(6.0)
        assert await world.cache.get_many(KIND, keys, world.load_many) == found
        assert (world.loads, statistics.l2_reads, statistics.l2_errors) == (1, 6, 0)

    asyncio.run(main())


def test_of_a_read_in_parts_that_fails_in_one_everything_is_loaded() -> None:
    async def main() -> None:
        world = World()
        keys = [f"k{number}" for number in range(150)]
        world.kv.fail_next(1, "get")
        assert len(await world.cache.get_many(KIND, keys, world.load_many)) == 150
        assert (world.kv.calls["get"], world.loads) == ([100], 1)
        assert world.cache.statistics.l2_errors == 1

    asyncio.run(main())
