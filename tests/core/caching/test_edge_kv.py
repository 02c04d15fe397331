"""Claims about the edge store: what other points of presence see and when, and its limits."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from core.caching.edge_kv import EdgeKV, FilledEdgeKV, WriteLimit
from core.caching.faulty_kv import FaultyKV
from core.caching.kv import MemoryKV, StoreItem
from core.clock import ManualClock
from core.errors import StoreError, StoreTimeout


class World:
    """Two points of presence, here and there, in front of one central store."""

    def __init__(
        self,
        *,
        cache_ttl: float = 60.0,
        max_cached: int = 1_000,
        min_ttl: Literal["clamp", "refuse"] = "clamp",
    ) -> None:
        self.clock = ManualClock(100.0)
        self.memory = MemoryKV(self.clock.now)
        self.central = FaultyKV(self.memory, asyncio.sleep)
        limit = WriteLimit(self.clock.now)
        self.here, self.there = (
            EdgeKV(
                self.central,
                self.clock.now,
                cache_ttl=cache_ttl,
                max_cached=max_cached,
                limit=limit,
                min_ttl=min_ttl,
            )
            for _ in range(2)
        )

    @property
    def reads(self) -> list[int]:
        """How many keys each read of the central store had."""
        return self.central.calls.get("get", [])

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


def item(key: str, value: bytes = b"v", ttl: float = 600.0, *tags: str) -> StoreItem:
    return StoreItem(key, value, ttl, tags)


def test_a_write_is_seen_at_once_here_and_elsewhere_when_the_read_cache_ends() -> None:
    async def main() -> None:
        world = World(cache_ttl=60.0)
        await world.here.put(item("k", b"old"))
        assert await world.there.get("k") == [b"old"]
        world.advance(10.0)
        await world.here.put(item("k", b"new"))
        assert await world.here.get("k") == [b"new"]
        world.advance(49.9)
        assert await world.there.get("k") == [b"old"]
        world.advance(0.1)
        assert await world.there.get("k") == [b"new"]

    asyncio.run(main())


def test_an_absence_is_cached_like_a_value() -> None:
    async def main() -> None:
        world = World(cache_ttl=30.0)
        assert await world.there.get("k") == [None]
        await world.here.put(item("k"))
        world.advance(29.9)
        assert await world.there.get("k") == [None]
        world.advance(0.1)
        assert await world.there.get("k") == [b"v"]

    asyncio.run(main())


@pytest.mark.parametrize("how", ["delete", "prefix", "tag"])
def test_a_delete_is_seen_at_once_here_and_later_elsewhere(how: str) -> None:
    async def main() -> None:
        world = World()
        await world.here.put(item("k", b"v", 600.0, "t"), item("other"))
        assert await world.there.get("k", "other") == [b"v", b"v"]
        if how == "delete":
            deleted = await world.here.delete("k")
        elif how == "prefix":
            deleted = await world.here.delete_prefix("k")
        else:
            deleted = await world.here.delete_tag("t")
        assert deleted == 1
        assert await world.here.get("k", "other") == [None, b"v"]
        assert await world.there.get("k", "other") == [b"v", b"v"]
        world.advance(60.0)
        assert await world.there.get("k", "other") == [None, b"v"]

    asyncio.run(main())


def test_a_tag_reaches_what_was_put_elsewhere_and_read_here() -> None:
    async def main() -> None:
        world = World()
        await world.there.put(item("k", b"v", 600.0, "t"), item("other", b"v", 600.0, "u"))
        assert await world.here.get("k", "other") == [b"v", b"v"]
        assert await world.here.delete_tag("t") == 1
        assert await world.here.get("k", "other") == [None, b"v"]
        assert world.reads == [2, 1]  # the other one stayed in the read cache

    asyncio.run(main())


def test_what_is_cached_is_not_asked_for_again_and_the_rest_in_one_round_trip() -> None:
    async def main() -> None:
        world = World()
        await world.there.put(*(item(key) for key in "abc"))
        await world.here.get("a")
        assert await world.here.get("c", "a", "none", "b", "c") == [b"v", b"v", None, b"v", b"v"]
        assert await world.here.get("a", "b", "c", "none") == [b"v", b"v", b"v", None]
        assert world.reads == [1, 3]

    asyncio.run(main())


def test_a_cached_value_ends_with_its_own_life() -> None:
    async def main() -> None:
        world = World()
        await world.here.put(item("k", b"v", 70.0))
        world.advance(20.0)
        assert await world.there.get("k") == [b"v"]
        world.advance(49.9)
        assert await world.there.get("k") == [b"v"]
        world.advance(0.1)
        assert await world.there.get("k") == [None]
        assert await world.here.get("k") == [None]

    asyncio.run(main())


@pytest.mark.parametrize("ttl", [0.5, 10.0, 59.9])
def test_a_ttl_under_60_s_is_asked_for_as_60_s(ttl: float) -> None:
    async def main() -> None:
        world = World()
        await world.here.put(item("k", b"v", ttl))
        world.advance(59.99)
        assert await world.here.get("k") == await world.there.get("k") == [b"v"]
        world.advance(0.02)
        assert await world.here.get("k") == await world.there.get("k") == [None]
        assert await world.memory.get("k") == [None]

    asyncio.run(main())


@pytest.mark.parametrize("ttl", [0.5, 59.0, 59.985])
def test_a_ttl_under_60_s_is_refused_where_it_is_not_clamped(ttl: float) -> None:
    async def main() -> None:
        world = World(min_ttl="refuse")
        with pytest.raises(StoreError, match=rf"400 the ttl of 'k' is {int(ttl)} s, at least 60"):
            await world.here.put(item("other"), item("k", b"v", ttl))
        assert await world.memory.get("k", "other") == [None, None]
        await world.here.put(item("other"), item("k", b"v", 60.0))  # nor did it count as a write
        assert await world.there.get("k", "other") == [b"v", b"v"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("at", "ttl", "lasts"),
    [
        (0.0, 60.0, 60.0), (0.8125, 60.0, 59.1875), (0.8125, 60.5, 59.1875), (0.5, 60.999, 59.5),
        (0.9375, 30.0, 59.0625), (0.25, 61.0, 60.75),
    ],
)  # fmt: skip
def test_a_life_is_counted_in_whole_seconds(at: float, ttl: float, lasts: float) -> None:
    async def main() -> None:
        world = World()
        world.advance(at)
        await world.here.put(item("k", b"v", ttl))
        world.advance(lasts - 0.0625)
        assert await world.here.get("k") == await world.there.get("k") == [b"v"]
        world.advance(0.0625)
        assert await world.here.get("k") == await world.there.get("k") == [None]
        assert await world.memory.get("k") == [None]
        assert await world.here.delete("k") == 0

    asyncio.run(main())


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_a_key_that_the_edge_store_refuses_is_refused(key: str) -> None:
    async def main() -> None:
        world = World()
        for operation in (
            world.here.get("k", key), world.here.put(item("k"), item(key)),
            world.here.delete("k", key),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=f"{key!r} is no key of the edge store"):
                await operation
        assert await world.memory.get("k") == [None]

    asyncio.run(main())


def test_a_value_over_25_mib_is_refused() -> None:
    async def main() -> None:
        world = World()
        largest = bytes(25 * 1024 * 1024)
        with pytest.raises(StoreError, match=r"413 the value of 'k' is 26,214,401 bytes long"):
            await world.here.put(item("other"), item("k", largest + b"v"))
        assert await world.memory.get("k", "other") == [None, None]
        await world.here.put(item("k", largest))
        assert await world.there.get("k") == [largest]

    asyncio.run(main())


@pytest.mark.parametrize("keys", [[f"k{number}" for number in range(101)], ["k"] * 101])
def test_more_than_100_keys_a_read_are_refused(keys: list[str]) -> None:
    async def main() -> None:
        world = World()
        assert await world.here.get(*keys[:100]) == [None] * 100
        with pytest.raises(ValueError, match=r"101 keys in one read; the edge store takes 100"):
            await world.here.get(*keys)

    asyncio.run(main())


def test_what_was_written_before_keeps_what_is_left_of_its_life() -> None:
    async def main() -> None:
        world = World(min_ttl="refuse")
        filled = FilledEdgeKV(world.central, world.clock.now)
        world.advance(0.25)
        for _ in range(2):  # no write of now: the limit does not count it
            await filled.put(item("k", b"v", 10.0))
        world.advance(9.875)
        assert await world.here.get("k") == [b"v"]
        world.advance(0.125)
        assert await world.here.get("k") == [None]

    asyncio.run(main())


@pytest.mark.parametrize("cache_ttl", [29.9, 0.0, -1.0, float("nan")])
def test_a_read_cache_under_30_s_is_refused(cache_ttl: float) -> None:
    with pytest.raises(ValueError, match=r"cache_ttl is .*at least 30 s"):
        World(cache_ttl=cache_ttl)


def test_a_read_cache_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="max_cached is 0"):
        World(max_cached=0)


@pytest.mark.parametrize("key", ["k" * 513, "é" * 257, "k" * 512 + "é"])
def test_a_key_over_512_bytes_is_refused_with_its_size(key: str) -> None:
    async def main() -> None:
        world = World()
        size = len(key.encode())
        for operation in (
            world.here.get("k", key), world.here.put(item("k"), item(key)),
            world.here.delete("k", key),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=f"is {size} bytes long.*at most 512"):
                await operation
        assert await world.memory.get("k") == [None]

    asyncio.run(main())


def test_a_key_of_512_bytes_is_taken() -> None:
    async def main() -> None:
        world = World()
        for key in ("k" * 512, "é" * 256):
            await world.here.put(item(key))
            assert await world.here.get(key) == [b"v"]
            assert await world.here.delete(key) == 1

    asyncio.run(main())


def test_a_second_write_of_a_key_within_a_second_is_refused_everywhere() -> None:
    async def main() -> None:
        world = World()
        await world.here.put(item("k", b"1"), item("other"))
        world.advance(0.75)
        with pytest.raises(StoreError, match=r"429 .*'k'.* retry in 0\.250 s") as caught:
            await world.there.put(item("new"), item("k", b"2"))
        assert not isinstance(caught.value, StoreTimeout)
        assert await world.here.get("k", "new") == [b"1", None]
        await world.there.put(item("new"))  # what was refused counts as no write
        world.advance(0.25)
        await world.there.put(item("k", b"3"))
        assert await world.there.get("k") == [b"3"]

    asyncio.run(main())


def test_each_store_has_a_write_limit_of_its_own_unless_one_is_shared() -> None:
    async def main() -> None:
        clock = ManualClock()
        central = MemoryKV(clock.now)
        for _ in range(2):
            await EdgeKV(central, clock.now).put(item("k"))

    asyncio.run(main())


def test_the_write_limit_keeps_only_the_writes_of_a_second() -> None:
    clock = ManualClock()
    limit = WriteLimit(clock.now)
    for number in range(1_000):
        limit.take([f"k{number}"])
        clock.advance(0.125)
    assert len(limit._written) == 8


def test_the_read_cache_drops_what_was_read_longest_ago() -> None:
    async def main() -> None:
        world = World(max_cached=2)
        await world.there.put(*(item(key, b"v", 600.0, "t") for key in "abc"))
        for key in "abc":
            await world.here.get(key)
        assert len(world.here) == 2
        await world.here.get("b", "c")
        await world.here.get("a")
        assert world.reads == [1, 1, 1, 1]
        assert await world.here.get("b", "c", "a") == [b"v", b"v", b"v"]
        assert len(world.here) == 2

    asyncio.run(main())


def test_the_read_cache_drops_what_has_ended() -> None:
    async def main() -> None:
        world = World()
        await world.here.get(*(f"k{number}" for number in range(100)))
        world.advance(60.0)
        await world.here.get("another")
        assert len(world.here) == 1
        assert len(world.here._tags._tags) == 0

    asyncio.run(main())


@pytest.mark.parametrize("how", ["put", "delete", "delete_prefix", "delete_tag"])
def test_a_read_that_was_on_its_way_does_not_bring_back_what_was_changed_here(how: str) -> None:
    async def main() -> None:
        world = World()
        await world.there.put(item("k", b"old", 600.0, "t"))
        answered, go_on = asyncio.Event(), asyncio.Event()

        class Slow(MemoryKV):
            async def get(self, *keys: str) -> list[bytes | None]:
                values = await world.memory.get(*keys)
                answered.set()
                await go_on.wait()
                return values

        here = EdgeKV(Slow(world.clock.now), world.clock.now)
        reading = asyncio.create_task(here.get("k"))
        await answered.wait()
        world.advance(2.0)
        if how == "put":
            await here.put(item("k", b"new"))
        elif how == "delete":
            await here.delete("k")
        elif how == "delete_prefix":
            await here.delete_prefix("k")
        else:
            await here.delete_tag("t")
        await world.memory.delete("k")
        go_on.set()
        seen = await reading
        if how in ("put", "delete"):
            assert seen == [b"new" if how == "put" else None]
        assert await here.get("k") == [b"new" if how == "put" else None]

    asyncio.run(main())


def test_a_write_that_may_have_failed_is_asked_for_again() -> None:
    async def main() -> None:
        world = World()
        await world.here.put(item("k", b"old"))
        world.advance(1.0)
        world.central.fail_next(1, "put", error=StoreTimeout)
        with pytest.raises(StoreTimeout):
            await world.here.put(item("k", b"new"))
        assert world.reads == []
        assert await world.here.get("k") == [b"old"]
        assert world.reads == [1]

    asyncio.run(main())


def test_what_the_edge_store_did_not_write_is_no_value() -> None:
    async def main() -> None:
        world = World()
        await world.memory.put(item("k", b"123456789"))
        assert await world.here.get("k") == [None]

    asyncio.run(main())
