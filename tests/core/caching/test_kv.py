"""Claims that every key-value store keeps, and those of the stores without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import pytest
import redis.asyncio as redis

from core.caching.edge_kv import EdgeKV, WriteLimit
from core.caching.faulty_kv import FaultyKV
from core.caching.kv import KVStore, MemoryKV, StoreItem
from core.caching.redis_kv import embedded_kv, redis_kv
from core.clock import ManualClock
from core.context import Purpose
from core.distributions import Distribution
from core.emulation.faults import FaultSchedule
from core.emulation.kv import DelayedKV
from core.errors import StoreError
from core.scenario.tiers import L2

Lapse = Callable[..., Awaitable[None]]
Test = Callable[[KVStore], Coroutine[Any, Any, None]]
TimedTest = Callable[[KVStore, Lapse], Coroutine[Any, Any, None]]

LIFE, LONG_LIFE = 60.0, 6_000.0


@dataclass
class StillPlatform:
    """A platform whose clock jumps to whatever is waited for."""

    clock: ManualClock

    def now(self) -> float:
        return self.clock.now()

    async def _until(self, when: float) -> None:
        self.clock.advance(max(0.0, when - self.clock.now()))

    def until(self, when: float) -> Awaitable[None]:
        return self._until(when)

    def uniform(self, purpose: Purpose) -> float:
        return 0.5

    def sampler(self, purpose: Purpose, distribution: Distribution) -> Callable[[], float]:
        return lambda: distribution.sample(self.uniform(purpose))

    def charge(self, tier: str) -> float:
        return self.clock.now()


def delayed(store: KVStore, clock: ManualClock) -> DelayedKV:
    return DelayedKV(store, L2(), FaultSchedule(()), StillPlatform(clock))


class Runner:
    """Runs a test against one implementation, with an empty store."""

    def __init__(self, kind: str, url: str, namespace: str) -> None:
        self._kind = kind
        self._url = url
        self._namespace = namespace

    def __call__(self, test: Test) -> None:
        self.timed(lambda store, _: test(store))

    def timed(self, test: TimedTest) -> None:
        """Run *test*, which can let keys lapse that were put for LIFE seconds."""
        asyncio.run(self._remote(test) if self._url else self._local(test))

    async def _local(self, test: TimedTest) -> None:
        clock = ManualClock()
        store: KVStore = MemoryKV(clock.now)
        if self._kind == "embedded":
            store = embedded_kv()

        async def lapse(*keys: str) -> None:
            if self._kind == "embedded":
                await expire(embedded._client, "edgeproof:", keys)
            else:
                clock.advance(LIFE)

        embedded: Any = store
        if self._kind == "delayed":
            store = delayed(store, clock)
        elif self._kind == "faulty":
            store = FaultyKV(store, asyncio.sleep)
        elif self._kind == "edge":
            # Every put is a second after the one before.
            store = EdgeKV(store, clock.now, limit=WriteLimit(count().__next__))
        try:
            await test(store, lapse)
        finally:
            await store.close()

    async def _remote(self, test: TimedTest) -> None:
        store = redis_kv(self._url, timeout=30.0, namespace=self._namespace)
        client = redis.Redis.from_url(self._url, protocol=2)
        try:
            await test(store, lambda *keys: expire(client, self._namespace, keys))
        finally:
            await store.close()
            await client.aclose()


async def expire(client: Any, namespace: str, keys: tuple[str, ...]) -> None:
    for key in keys:
        assert await client.pexpire(namespace + key, 0)


@pytest.fixture(
    params=["memory", "faulty", "edge", "delayed", "embedded", "fake server", "redis", "socket"]
)
def run(request: pytest.FixtureRequest) -> Runner:
    kind: str = request.param
    servers = {"fake server": "fake_server", "redis": "redis_server", "socket": "redis_socket"}
    url = request.getfixturevalue(servers[kind]) if kind in servers else ""
    return Runner(kind, url, f"{request.node.name}:")


def items(*keys: str, ttl: float = LONG_LIFE, tags: tuple[str, ...] = ()) -> list[StoreItem]:
    """Return an item per key whose value is the key."""
    return [StoreItem(key, key.encode(), ttl, tags) for key in keys]


async def read(store: KVStore, keys: list[str]) -> list[bytes | None]:
    """Return the values of *keys*, 100 a read, which every store takes."""
    return [
        value
        for start in range(0, len(keys), 100)
        for value in await store.get(*keys[start : start + 100])
    ]


def test_a_value_reads_back_byte_for_byte(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        for value in (b"v", b"", b"\x00\xff\r\n", bytes(range(256)) * 400):
            for tags in ((), ("t",)):
                await store.put(StoreItem("k", value, LIFE, tags))
                assert await store.get("k") == [value]
                assert await store.get("k", "k") == [value, value]

    run(test)


def test_an_unknown_key_is_none(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("key"))
        assert await store.get("ke") == [None]
        assert await store.get("key2") == [None]

    run(test)


def test_values_come_in_the_order_of_the_keys_with_repetitions_and_gaps(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("a", "b", "c"))
        answer = await store.get("c", "none", "a", "c", "none", "b")
        assert answer == [b"c", None, b"a", b"c", None, b"b"]

    run(test)


def test_operations_on_nothing_do_nothing(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("k"))
        assert await store.get() == []
        await store.put()
        assert await store.delete() == 0
        assert await store.delete_tag("none") == 0
        assert await store.delete_prefix("none") == 0
        assert await store.get("k") == [b"k"]

    run(test)


def test_of_one_key_the_last_value_stays(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(StoreItem("k", b"1", LIFE), StoreItem("k", b"2", LIFE))
        assert await store.get("k") == [b"2"]
        await store.put(StoreItem("k", b"3", LIFE))
        assert await store.get("k") == [b"3"]
        assert await store.delete("k") == 1

    run(test)


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), float("inf")])
def test_a_life_of_nothing_is_refused_before_anything_is_written(run: Runner, ttl: float) -> None:
    async def test(store: KVStore) -> None:
        await store.put(StoreItem("k", b"old", LIFE))
        refused = [StoreItem("other", b"v", LIFE), StoreItem("k", b"v", ttl)]
        if isinstance(store, DelayedKV):  # its write may come too late; then there is none
            with suppress(ValueError):
                await store.put(*refused)
        else:
            with pytest.raises(ValueError, match="more than 0 s"):
                await store.put(*refused)
            assert await store.get("other") == [None]
        if ttl <= 0:
            assert await store.get("k") == [b"old"]

    run(test)


REFUSED_BY_EDGE = {
    "no name": (items(""), ValueError, "is no key of the edge store"),
    "dot": (items("."), ValueError, "is no key of the edge store"),
    "two dots": (items(".."), ValueError, "is no key of the edge store"),
    "long": (items("k" * 513), ValueError, "513 bytes long"),
    "large": ([StoreItem("k", bytes(25 * 1024 * 1024 + 1), LIFE)], StoreError, "413 "),
    "short": (items("k", ttl=59.0), StoreError, "400 "),
}


@pytest.mark.parametrize("what", REFUSED_BY_EDGE)
@pytest.mark.parametrize("is_delayed", [False, True])
def test_only_the_edge_store_refuses(what: str, is_delayed: bool) -> None:
    refused, error, says = REFUSED_BY_EDGE[what]

    async def main() -> None:
        clock = ManualClock()
        memory = MemoryKV(clock.now)
        edge: KVStore = EdgeKV(memory, clock.now, min_ttl="refuse")
        if is_delayed:
            tier = L2(consistency="eventual")
            edge = DelayedKV(edge, tier, FaultSchedule(()), StillPlatform(clock))
        with pytest.raises(error, match=says):
            await edge.put(*refused, *items("other"))
        assert await memory.get("k", "other") == [None, None]
        await memory.put(*refused)
        assert await memory.get(refused[0].key) == [refused[0].value]

    asyncio.run(main())


def test_what_has_expired_is_gone_and_not_counted(run: Runner) -> None:
    async def test(store: KVStore, lapse: Lapse) -> None:
        await store.put(*items("p1", "p2", "p3", ttl=LIFE, tags=("t",)))
        await store.put(*items("p4", "p5", "p6", tags=("t",)))
        assert await store.get("p1", "p4") == [b"p1", b"p4"]
        await lapse("p1", "p2", "p3")
        assert await store.get("p1", "p4") == [None, b"p4"]
        assert await store.get("p2") == [None]
        assert await store.delete("p1", "p3", "p4") == 1
        assert await store.delete_prefix("p5") == 1
        assert await store.delete_tag("t") == 1

    run.timed(test)


def test_expired_keys_are_not_counted_by_prefix(run: Runner) -> None:
    async def test(store: KVStore, lapse: Lapse) -> None:
        await store.put(*items("a", "b", ttl=LIFE), *items("c"))
        await lapse("a", "b")
        assert await store.delete_prefix("") == 1

    run.timed(test)


def test_putting_again_starts_a_new_life(run: Runner) -> None:
    async def test(store: KVStore, lapse: Lapse) -> None:
        await store.put(*items("k", "other", ttl=LIFE))
        await store.put(*items("k"))
        await lapse("other")
        assert await store.get("k", "other") == [b"k", None]

    run.timed(test)


def test_deleting_counts_the_keys_that_were_there(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("a", "b", "c"))
        assert await store.delete("a", "b", "none", "a") == 2
        assert await store.delete("a") == 0
        assert await store.get("a", "b", "c") == [None, None, b"c"]

    run(test)


def test_2500_keys_go_at_once(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        keys = [f"user:{number}" for number in range(2_500)]
        await store.put(*items(*keys))
        assert await read(store, keys) == [key.encode() for key in keys]
        assert await store.delete(*keys, *keys) == 2_500
        assert await read(store, keys) == [None] * 2_500

    run(test)


def test_2500_keys_under_a_prefix_all_go_and_are_counted(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        keys = [f"user:{number}" for number in range(2_500)]
        await store.put(*items(*keys, "users"))
        assert await store.delete_prefix("user:") == 2_500
        assert await store.delete_prefix("user:") == 0
        assert await read(store, keys) == [None] * 2_500
        assert await store.get("users") == [b"users"]

    run(test)


def test_2500_keys_under_a_tag_all_go_and_are_counted(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        keys = [f"user:{number}" for number in range(2_500)]
        await store.put(*items(*keys, tags=("users",)), *items("user", tags=("user",)))
        assert await store.delete_tag("users") == 2_500
        assert await store.delete_tag("users") == 0
        assert await read(store, keys) == [None] * 2_500
        assert await store.get("user") == [b"user"]

    run(test)


GLOB = ["*", "[ab]", "?", "\\", "a\\*", "[^a]", "a-z", "^", "[", "]", "\\\\", "{a}", "h[a-c]l"]
PLAIN = ["a", "b", "ab", "x", "a*", "hal", "hbl", "\\", "[", "^", "z-", "a1", "\\\\z"]


@pytest.mark.parametrize("prefix", GLOB)
def test_glob_characters_in_a_prefix_mean_themselves(run: Runner, prefix: str) -> None:
    async def test(store: KVStore) -> None:
        bystanders = [key for key in PLAIN if not key.startswith(prefix)]
        await store.put(*items(*bystanders, f"{prefix}1", f"{prefix}*", prefix))
        assert await store.delete_prefix(prefix) == 3
        assert None not in await store.get(*bystanders)

    run(test)


@pytest.mark.parametrize("tag", [*GLOB, "", "é", "a b\n"])
def test_glob_characters_in_a_tag_mean_themselves(run: Runner, tag: str) -> None:
    async def test(store: KVStore) -> None:
        bystanders = [other for other in PLAIN if other != tag]
        others = [StoreItem(f"of {other}", b"v", LONG_LIFE, (other,)) for other in bystanders]
        await store.put(*others, *items("one", "two*", tags=(tag,)))
        assert await store.delete_tag(tag) == 2
        assert None not in await store.get(*(f"of {other}" for other in bystanders))

    run(test)


def test_an_empty_prefix_is_every_key_and_no_tag(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("a", "b:c", "*"), *items("d", tags=("t", "a")))
        assert await store.delete_prefix("") == 4
        assert await store.delete_prefix("") == 0
        assert await store.delete_tag("t") == 0

    run(test)


def test_a_key_goes_with_any_of_its_tags(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("a", tags=("x", "y", "x")), *items("b", tags=("y",)), *items("c"))
        assert await store.delete_tag("x") == 1
        assert await store.get("a", "b", "c") == [None, b"b", b"c"]
        assert await store.delete_tag("y") == 1
        assert await store.get("b", "c") == [None, b"c"]

    run(test)


@pytest.mark.parametrize("tags", [(), ("new",), ("new", "newer")])
def test_a_key_put_again_leaves_its_old_tags(run: Runner, tags: tuple[str, ...]) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("k", "other", tags=("old", "new")))
        await store.put(StoreItem("k", b"again", LONG_LIFE, tags))
        assert await store.delete_tag("old") == 1
        assert await store.get("k", "other") == [b"again", None]
        assert await store.delete_tag("new") == len(tags[:1])
        assert await store.get("k") == [None if tags else b"again"]

    run(test)


def test_within_one_put_the_last_tags_of_a_key_hold(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("k", tags=("first",)), *items("k", tags=("last",)))
        assert await store.delete_tag("first") == 0
        assert await store.delete_tag("last") == 1

    run(test)


def test_a_key_put_back_under_its_tag_goes_with_it_again(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        for _ in range(2):
            await store.put(*items("k", tags=("t",)))
            await store.put(*items("k"))
            await store.put(*items("k", tags=("t",)))
            assert await store.delete_tag("t") == 1
            assert await store.get("k") == [None]

    run(test)


def test_a_deleted_key_is_not_counted_by_its_tag(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("a", "b", "c", tags=("t",)))
        await store.delete("a")
        await store.put(*items("b"))
        assert await store.delete_tag("t") == 1
        assert await store.get("b") == [b"b"]

    run(test)


def test_tags_that_look_like_other_tags_put_together_are_different(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        await store.put(*items("k", tags=("a", "b,c")))
        await store.put(*items("k", tags=("a,b", "c")))
        assert await store.delete_tag("a") == 0
        assert await store.delete_tag("c") == 1

    run(test)


def test_a_tag_lives_as_long_as_the_longest_lived_of_its_keys(run: Runner) -> None:
    async def test(store: KVStore, lapse: Lapse) -> None:
        await store.put(*items("long", tags=("t",)))
        await store.put(*items("short", ttl=LIFE, tags=("t",)))
        await lapse("short")
        assert await store.delete_tag("t") == 1
        assert await store.get("long") == [None]

    run.timed(test)


def test_concurrent_operations_do_not_mix_up_answers(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        keys = [f"k{number}" for number in range(200)]
        await asyncio.gather(*(store.put(item) for item in items(*keys)))
        singles = asyncio.gather(*(store.get(key) for key in keys))
        pairs = asyncio.gather(*(store.get(key, "none", "k7") for key in keys))
        assert await singles == [[key.encode()] for key in keys]
        assert await pairs == [[key.encode(), None, b"k7"] for key in keys]

    run(test)


def test_no_key_escapes_its_tag_when_puts_and_deletes_overlap(run: Runner) -> None:
    async def test(store: KVStore) -> None:
        keys = [f"k{number}" for number in range(20)]
        operations: list[Coroutine[Any, Any, object]] = []
        for _ in range(10):
            operations += [store.put(*items(key, tags=("t",))) for key in keys]
            operations.append(store.delete_tag("t"))
        await asyncio.gather(*operations)
        left = await store.get(*keys)
        assert await store.delete_tag("t") == sum(value is not None for value in left)
        assert await store.get(*keys) == [None] * 20

    run(test)


def test_a_memory_entry_is_gone_when_its_life_is_over() -> None:
    async def main() -> None:
        clock = ManualClock()
        store = MemoryKV(clock.now)
        await store.put(*items("k", "other", ttl=10.0))
        clock.advance(9.999)
        assert await store.get("k") == [b"k"]
        clock.advance(0.001)
        assert await store.get("k") == [None]
        assert await store.delete("other") == 0
        assert len(store) == 0

    asyncio.run(main())


def test_memory_entries_that_nobody_asks_for_again_do_not_pile_up() -> None:
    async def main() -> None:
        clock = ManualClock()
        store = MemoryKV(clock.now)
        for number in range(100_000):
            await store.put(StoreItem(f"k{number}", b"v", 50.0, (f"t{number}",)))
            clock.advance(0.01)
        # 5,000 live at any time.
        assert len(store) <= 10_001
        assert len(store._tags._keys) == len(store._tags._tags) == len(store)

    asyncio.run(main())


def test_memory_keeps_no_tag_without_a_key() -> None:
    async def main() -> None:
        store = MemoryKV(ManualClock().now)
        await store.put(*items("a", "b", "c", "d", tags=("t", "u")))
        await store.put(*items("a"))
        await store.delete("b")
        await store.delete_tag("t")
        assert (store._tags._keys, store._tags._tags) == ({}, {})

    asyncio.run(main())


def test_a_delayed_store_takes_the_latencies_of_the_scenario() -> None:
    async def main() -> None:
        clock, tier = ManualClock(), L2()
        store = delayed(MemoryKV(clock.now), clock)
        took = []
        operations: list[Coroutine[Any, Any, object]] = [
            store.get("k"),  # never read here: cold
            store.put(StoreItem("k", b"v", 1_000.0)),
            store.get("k"),
        ]
        for operation in operations:
            before = clock.now()
            await operation
            took.append(clock.now() - before)
        clock.advance(tier.cache_ttl)
        before = clock.now()
        assert await store.get("k") == [b"v"]
        took.append(clock.now() - before)
        cold, write, read = (d.sample(0.5) for d in (tier.cold_read, tier.write, tier.read))
        assert took == pytest.approx([cold, write, read, cold])

    asyncio.run(main())


@pytest.mark.parametrize(("consistency", "each"), [("strong", 1), ("eventual", 40)])
def test_many_keys_in_a_put_or_delete_are_an_operation_each_to_an_edge_store(
    consistency: Literal["strong", "eventual"], each: int
) -> None:
    async def main() -> None:
        clock, charged = ManualClock(), list[str]()

        class Charging(StillPlatform):
            def charge(self, tier: str) -> float:
                charged.append(tier)
                self.clock.advance(0.001)
                return self.clock.now()

        tier = L2(consistency=consistency)
        memory = MemoryKV(clock.now)
        store = DelayedKV(memory, tier, FaultSchedule(()), Charging(clock))
        keys = [f"k{number}" for number in range(40)]
        await store.put(*items(*keys, *keys[:5]))
        assert (store.operations, len(charged)) == (each, each)
        # Sent one after the other, they are under way at a time.
        assert clock.now() == pytest.approx(each * 0.001 + tier.write.sample(0.5))
        await store.get(*keys)
        assert (store.operations, len(charged)) == (each + 1, each + 1)
        assert await store.delete(*keys[:20], *keys[:5]) == 20
        assert store.operations == (each + 1 + 20 if consistency == "eventual" else 3)
        assert await store.delete_prefix("k") == 20
        assert store.operations == (each + 22 + 20 if consistency == "eventual" else 4)

    asyncio.run(main())


def test_the_life_of_a_delayed_value_goes_on_while_it_is_written() -> None:
    async def main() -> None:
        clock = ManualClock()
        memory = MemoryKV(clock.now)
        store = delayed(memory, clock)
        await store.put(StoreItem("k", b"v", 10.0))
        clock.advance(10.0 - clock.now())
        assert await memory.get("k") == [None]

    asyncio.run(main())


def test_an_edge_store_counts_a_delayed_life_from_the_second_of_its_arrival() -> None:
    async def main() -> None:
        clock = ManualClock(0.97)  # with the write of 60 ms it arrives in the next second
        memory = MemoryKV(clock.now)
        edge = EdgeKV(memory, clock.now, min_ttl="refuse")
        tier = L2(consistency="eventual")
        store = DelayedKV(edge, tier, FaultSchedule(()), StillPlatform(clock))
        await store.put(StoreItem("k", b"v", 60.0))
        clock.advance(60.9375 - clock.now())
        assert await memory.get("k") != [None]
        clock.advance(0.125)
        assert await memory.get("k") == [None]

    asyncio.run(main())
