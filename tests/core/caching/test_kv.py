"""Claims that every key-value store keeps, and what each does when its server does not answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
import redis.asyncio as redis

from core.caching.kv import KVStore, MemoryKV, RedisKV, embedded_kv, redis_kv
from core.clock import ManualClock
from core.emulation import DelayedKV, FaultSchedule
from core.errors import InputError, StoreError, StoreTimeout
from core.scenario import L2
from core.streams import Purpose

Test = Callable[[KVStore], Coroutine[Any, Any, None]]


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

    def charge(self, tier: str) -> float:
        return self.clock.now()


def delayed(store: KVStore, clock: ManualClock) -> DelayedKV:
    return DelayedKV(store, L2(), FaultSchedule(()), StillPlatform(clock))


@pytest.fixture(params=["memory", "delayed", "embedded", "redis"])
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Return what runs a test against one implementation, with an empty store."""
    kind: str = request.param
    url = request.getfixturevalue("redis_server") if kind == "redis" else ""

    async def main(test: Test) -> None:
        store: KVStore
        if kind == "embedded":
            store = embedded_kv()
        elif kind == "redis":
            store = redis_kv(url, timeout=30.0, namespace=f"{request.node.name}:")
        else:
            clock = ManualClock()
            store = MemoryKV(clock.now)
            store = delayed(store, clock) if kind == "delayed" else store
        try:
            await test(store)
        finally:
            await store.close()

    return lambda test: asyncio.run(main(test))


def test_a_value_reads_back_byte_for_byte(run: Callable[[Test], None]) -> None:
    async def test(store: KVStore) -> None:
        for value in (b"v", b"", b"\x00\xff\r\n", bytes(range(256)) * 400):
            await store.put("k", value, 60.0)
            assert await store.get("k") == value

    run(test)


def test_an_unknown_key_is_none(run: Callable[[Test], None]) -> None:
    async def test(store: KVStore) -> None:
        await store.put("key", b"v", 60.0)
        assert await store.get("ke") is None
        assert await store.get("key2") is None

    run(test)


@pytest.mark.parametrize("ttl", [0.0, -1.0])
def test_a_life_of_nothing_is_refused(run: Callable[[Test], None], ttl: float) -> None:
    async def test(store: KVStore) -> None:
        await store.put("k", b"old", 60.0)
        if isinstance(store, DelayedKV):  # its write may come too late; then there is none
            await store.put("k", b"v", ttl)
        else:
            with pytest.raises(ValueError, match="more than 0 s"):
                await store.put("k", b"v", ttl)
        assert await store.get("k") == b"old"

    run(test)


def test_deleting_counts_the_keys_that_were_there(run: Callable[[Test], None]) -> None:
    async def test(store: KVStore) -> None:
        for key in ("a", "b", "c"):
            await store.put(key, b"v", 60.0)
        assert await store.delete("a", "b", "none", "a") == 2
        assert await store.delete("a") == 0
        assert await store.delete() == 0
        assert [await store.get(key) for key in ("a", "b", "c")] == [None, None, b"v"]

    run(test)


def test_2500_keys_under_a_prefix_all_go_and_are_counted(run: Callable[[Test], None]) -> None:
    async def test(store: KVStore) -> None:
        for number in range(2_500):
            await store.put(f"user:{number}", b"v", 6_000.0)
        await store.put("users", b"v", 6_000.0)
        assert await store.delete_prefix("user:") == 2_500
        assert await store.delete_prefix("user:") == 0
        assert [await store.get(f"user:{n}") for n in range(0, 2_500, 83)] == [None] * 31
        assert await store.get("users") == b"v"

    run(test)


@pytest.mark.parametrize(
    "prefix",
    ["*", "[ab]", "?", "\\", "a\\*", "[^a]", "a-z", "^", "[", "]", "\\\\", "{a}", "h[a-c]l"],
)
def test_glob_characters_in_a_prefix_mean_themselves(
    run: Callable[[Test], None], prefix: str
) -> None:
    async def test(store: KVStore) -> None:
        bystanders = ["a", "b", "ab", "x", "a*", "hal", "hbl", "\\", "[", "^", "z-", "a1", "\\\\z"]
        bystanders = [key for key in bystanders if not key.startswith(prefix)]
        for key in [*bystanders, f"{prefix}1", f"{prefix}*", prefix]:
            await store.put(key, b"v", 60.0)
        assert await store.delete_prefix(prefix) == 3
        assert [key for key in bystanders if await store.get(key) is None] == []

    run(test)


def test_an_empty_prefix_is_everything(run: Callable[[Test], None]) -> None:
    async def test(store: KVStore) -> None:
        for key in ("a", "b:c", "*"):
            await store.put(key, b"v", 60.0)
        assert await store.delete_prefix("") == 3

    run(test)


def test_concurrent_operations_do_not_mix_up_answers(run: Callable[[Test], None]) -> None:
    async def test(store: KVStore) -> None:
        await asyncio.gather(*(store.put(f"k{n}", b"%d" % n, 6_000.0) for n in range(100)))
        answers = await asyncio.gather(*(store.get(f"k{n}") for n in range(100)))
        assert answers == [b"%d" % n for n in range(100)]

    run(test)


def test_a_memory_entry_is_gone_when_its_life_is_over() -> None:
    async def main() -> None:
        clock = ManualClock()
        store = MemoryKV(clock.now)
        await store.put("k", b"v", 10.0)
        await store.put("other", b"v", 10.0)
        clock.advance(9.999)
        assert await store.get("k") == b"v"
        clock.advance(0.001)
        assert await store.get("k") is None
        assert await store.delete("other") == 0
        assert len(store) == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ttl", "milliseconds"), [(60.0, 60_000), (0.25, 250), (300.0, 300_000), (0.0001, 1)]
)
def test_redis_is_told_the_life_in_milliseconds(
    redis_server: str, ttl: float, milliseconds: int
) -> None:
    async def main() -> None:
        sent: list[tuple[object, ...]] = []

        class Client(redis.Redis):
            async def execute_command(self, *args: Any, **options: Any) -> Any:
                sent.append(args)
                command: Any = super().execute_command
                return await command(*args, **options)

        client = Client.from_url(redis_server)
        store = RedisKV(client, namespace="life:")
        await store.put("k", b"v", ttl)
        left = int(await client.pttl("life:k"))
        await store.close()
        assert sent[0] == ("SET", "life:k", b"v", "PX", milliseconds)
        # -2: the one millisecond may be over.
        assert (left in (-2, 0, 1)) if milliseconds == 1 else (0 < left <= milliseconds)

    asyncio.run(main())


def test_overwriting_starts_a_new_life(redis_server: str) -> None:
    async def main() -> None:
        client = redis.Redis.from_url(redis_server)
        store = RedisKV(client, namespace="again:")
        await store.put("k", b"v", 60.0)
        await store.put("k", b"w", 3_600.0)
        assert 60_000 < int(await client.pttl("again:k")) <= 3_600_000
        await store.close()

    asyncio.run(main())


def test_namespaces_of_one_server_do_not_see_each_other(redis_server: str) -> None:
    async def main() -> None:
        one = redis_kv(redis_server, timeout=30.0, namespace="one*:")
        other = redis_kv(redis_server, timeout=30.0, namespace="one1:")
        await one.put("k", b"one", 60.0)
        await other.put("k", b"other", 60.0)
        assert await one.delete_prefix("") == 1
        assert await other.get("k") == b"other"
        await one.close()
        await other.close()

    asyncio.run(main())


OPERATIONS: dict[str, Callable[[KVStore], Coroutine[Any, Any, object]]] = {
    "get": lambda store: store.get("k"),
    "put": lambda store: store.put("k", b"v", 60.0),
    "delete": lambda store: store.delete("k"),
    "delete_prefix": lambda store: store.delete_prefix("k"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_is_down_raises_a_store_error(operation: str) -> None:
    with closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = reserved.getsockname()[1]

        async def main() -> None:
            store = redis_kv(f"redis://127.0.0.1:{port}/0", timeout=5.0)
            with pytest.raises(StoreError, match="cannot be reached") as caught:
                await OPERATIONS[operation](store)
            assert not isinstance(caught.value, StoreTimeout)
            await store.close()

        asyncio.run(main())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_never_answers_raises_a_store_timeout_and_is_asked_once(
    operation: str,
) -> None:
    connections: list[asyncio.StreamWriter] = []

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    async def main() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        store = redis_kv(f"redis://127.0.0.1:{port}/0", timeout=0.05)
        with pytest.raises(StoreTimeout, match="did not answer in time"):
            await OPERATIONS[operation](store)
        await store.close()
        # A client that tries again would take a multiple of its time limit.
        assert len(connections) == 1
        for writer in connections:
            writer.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_answers_with_an_error_raises_a_store_error(operation: str) -> None:
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(b"-ERR out of order\r\n" * 5)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refusing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        store = redis_kv(f"redis://127.0.0.1:{port}/0", timeout=5.0)
        with pytest.raises(StoreError):
            await OPERATIONS[operation](store)
        await store.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_a_value_of_another_kind_is_a_store_error(redis_server: str) -> None:
    async def main() -> None:
        client: Any = redis.Redis.from_url(redis_server)
        store = RedisKV(client, namespace="kind:")
        await client.execute_command("RPUSH", "kind:k", "x")
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await store.get("k")
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "http://127.0.0.1", "redis://h:port/0"])
def test_what_is_no_redis_url_is_refused_on_one_line(url: str) -> None:
    with pytest.raises(InputError) as caught:
        redis_kv(url, timeout=1.0)
    assert len(str(caught.value).splitlines()) == 1
    assert "redis://127.0.0.1:6379/0" in str(caught.value)


def test_a_delayed_store_takes_the_latencies_of_the_scenario() -> None:
    async def main() -> None:
        clock, tier = ManualClock(), L2()
        store = delayed(MemoryKV(clock.now), clock)
        took = []
        for operation in (
            store.get("k"),  # never read here: cold
            store.put("k", b"v", 1_000.0),
            store.get("k"),
        ):
            before = clock.now()
            await operation
            took.append(clock.now() - before)
        clock.advance(tier.cache_ttl)
        before = clock.now()
        assert await store.get("k") == b"v"
        took.append(clock.now() - before)
        cold, write, read = (d.sample(0.5) for d in (tier.cold_read, tier.write, tier.read))
        assert took == pytest.approx([cold, write, read, cold])

    asyncio.run(main())
