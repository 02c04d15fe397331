"""Claims about keys by cache type: no two types share an entry, in either tier."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.caching import CachePolicy, CacheType, MemoryKV, Removed, Text, TieredCache
from core.caching.kv import NullKV, StoreItem
from core.clock import ManualClock

USERS = CacheType(name="users", codec=Text())
ORDERS = CacheType(name="orders", codec=Text())


class World:
    """A store and two caches over it, which stand for two processes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.kv = MemoryKV(self.clock.now)
        self.here, self.there = (
            TieredCache(None, self.kv, self.clock, CachePolicy(await_put=True)) for _ in range(2)
        )


async def user() -> bytes:
    await asyncio.sleep(0)
    return b"a user"


async def order() -> bytes:
    await asyncio.sleep(0)
    return b"an order"


def fail() -> bytes:
    raise AssertionError("a tier has it")


@pytest.mark.parametrize("key", ["1", "", "users:1", "orders:1", ":", "users", "usersx:1"])
def test_two_types_share_no_entry(key: str) -> None:
    async def main() -> None:
        world = World()
        loaded = world.here.get(USERS, key, user), world.here.get(ORDERS, key, order)
        assert [*await asyncio.gather(*loaded)] == [b"a user", b"an order"]  # nor a load in flight
        for cache in (world.here, world.there, world.there):  # L1, then L2, then L1
            assert await cache.get(USERS, key, fail) == b"a user"
            assert await cache.get(ORDERS, key, fail) == b"an order"
        assert len(world.kv) == 2
        assert await world.here.delete_many(USERS, [key]) == Removed(1, 1)
        assert await world.here.get(ORDERS, key, fail) == b"an order"
        assert await world.here.get(USERS, key, lambda: b"new") == b"new"

    asyncio.run(main())


def test_batches_of_two_types_share_no_entry() -> None:
    asked: list[tuple[str, ...]] = []

    def load(keys: Sequence[str]) -> dict[str, bytes]:
        asked.append(tuple(keys))
        return {key: b"loaded" for key in keys if key != "none"}

    async def main() -> None:
        world = World()
        await world.here.set_many(USERS, {"1": b"a user", "users:2": b"another"})
        wanted = ["1", "2", "users:2", "none"]
        found = await world.there.get_many(USERS, wanted, load)
        assert found == {"1": b"a user", "2": b"another", "users:2": b"another", "none": None}
        found = await world.there.get_many(ORDERS, wanted, load)
        assert found == dict.fromkeys(wanted[:3], b"loaded") | {"none": None}
        assert asked == [("none",), tuple(wanted)]

    asyncio.run(main())


def test_key_that_begins_with_its_type_stays_as_it_is() -> None:
    async def main() -> None:
        world = World()
        config = CacheType(name="security_config", codec=Text(), prefix="config")
        await world.here.get(config, "config:s1", user)
        await world.here.get(USERS, "7", user)
        assert await world.kv.get("config:s1", "users:7") != [None, None]
        assert len(world.kv) == 2
        assert world.here.peek(config, "config:s1") == b"a user"

    asyncio.run(main())


@given(prefix=st.text(min_size=1).filter(lambda text: ":" not in text), key=st.text())
def test_whole_key_begins_with_the_prefix_once(prefix: str, key: str) -> None:
    kind = CacheType(name="kind", codec=Text(), prefix=prefix)
    assert kind.key(key) == (key if key.startswith(f"{prefix}:") else f"{prefix}:{key}")
    assert kind.key(f"{prefix}:{key}") == f"{prefix}:{key}" == kind.key(kind.key(f"{prefix}:{key}"))


@pytest.mark.parametrize(("name", "prefix"), [("", ""), ("a:b", ""), ("a", "b:"), ("a", ":")])
def test_prefix_that_could_reach_another_type_is_refused(name: str, prefix: str) -> None:
    with pytest.raises(ValueError, match="not empty and holds no ':'"):
        CacheType(name=name, codec=Text(), prefix=prefix)
    assert CacheType(name="a:b", codec=Text(), prefix="b").key("c") == "b:c"


def test_half_read_of_a_key_without_its_prefix_is_refused() -> None:
    async def main() -> None:
        cache = TieredCache()
        with pytest.raises(ValueError, match=r"'7' is no key of users: .* users:"):
            await cache.fetch(USERS, "7", user)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (CacheType(name="people", codec=Text(), prefix="users"), "'users' and 'people'"),
        (CacheType[bytes](name="users"), "the codec Text and the codec Json"),
    ],
)
def test_two_types_of_one_prefix_are_refused(other: CacheType[bytes], message: str) -> None:
    async def main() -> None:
        cache = TieredCache()
        await cache.get(USERS, "1", user)
        for read in (
            cache.get(other, "2", user),
            cache.get_many(other, ["2"], lambda keys: {}),
            cache.set_many(other, {"2": b""}),
        ):
            with pytest.raises(ValueError, match=message):
                await read
        assert await cache.get(replace(USERS, ttl=5.0), "3", user) == b"a user"  # the same type

    asyncio.run(main())


def test_cache_without_l2_keeps_nothing_there() -> None:
    async def main() -> None:
        kv = NullKV()
        await kv.put(StoreItem("a", b"1", 1.0, ("t",)))
        with pytest.raises(ValueError, match="ttl is 0"):
            await kv.put(StoreItem("a", b"1", 0.0))
        assert await kv.get("a", "b") == [None, None]
        removed = await kv.delete("a"), await kv.delete_prefix(""), await kv.delete_tag("t")
        assert removed == (0, 0, 0)
        await kv.close()

    asyncio.run(main())
