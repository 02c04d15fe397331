"""What the Redis store does when its server is down, silent, slow, failing or on another clock."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from core.caching.kv import KVStore, StoreItem
from core.caching.redis_kv import RedisKV, redis_kv
from core.errors import InputError, StoreError, StoreTimeout
from tests.conftest import answers, find_program, start_redis, stop

GENEROUS = 30.0
"""Seconds: the limit of what is waited for and comes at once."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OPERATIONS: dict[str, Callable[[KVStore], Coroutine[Any, Any, object]]] = {
    "get": lambda store: store.get("k"),
    "get of two": lambda store: store.get("k", "l"),
    "put": lambda store: store.put(StoreItem("k", b"v", 60.0)),
    "put under a tag": lambda store: store.put(StoreItem("k", b"v", 60.0, ("t",))),
    "delete": lambda store: store.delete("k"),
    "delete_prefix": lambda store: store.delete_prefix("k"),
    "delete_tag": lambda store: store.delete_tag("t"),
}


def is_handshake(command: bytes) -> bool:
    return b"SETINFO" in command


async def read_command(reader: asyncio.StreamReader) -> bytes:
    """Return the next command of a client, b"" if it has left."""
    command = await reader.readline()
    for _ in range(int(command[1:] or 0)):
        size = await reader.readline()
        command += size + await reader.readexactly(int(size[1:]) + 2)
    return command


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve connections with *handler*, which are closed at the end; yield the URL."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await handler(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("ttl", "milliseconds"), [(60.0, 60_000), (0.25, 250), (300.0, 300_000), (0.0001, 1)]
)
@pytest.mark.parametrize("tags", [(), ("t",)])
def test_redis_is_told_the_life_in_milliseconds(
    redis_server: str, ttl: float, milliseconds: int, tags: tuple[str, ...]
) -> None:
    async def main() -> None:
        client: Any = redis.Redis.from_url(redis_server)
        store = RedisKV(client, namespace="life:")
        await store.put(StoreItem("k", b"v", ttl, tags))
        left = await client.pttl("life:k"), await client.pttl("~life:t")
        await client.delete("life:k", "~life:t")
        await store.close()
        for milliseconds_left in left if tags else left[:1]:
            # -2: the one millisecond may be over.
            least = -2 if milliseconds == 1 else 1
            assert least <= milliseconds_left <= milliseconds

    asyncio.run(main())


def test_a_tag_never_ends_before_its_longest_lived_key(redis_server: str) -> None:
    async def main() -> None:
        client: Any = redis.Redis.from_url(redis_server)
        store = RedisKV(client, namespace="tags:")
        for ttl in (60.0, 3_600.0, 60.0):
            await store.put(StoreItem(f"k{ttl}", b"v", ttl, ("t",)))
        await store.put(StoreItem("a", b"v", 60.0, ("u",)), StoreItem("b", b"v", 3_600.0, ("u",)))
        for tag, key in (("t", "k3600.0"), ("u", "b")):
            assert await client.pexpiretime(f"~tags:{tag}") >= await client.pexpiretime(
                f"tags:{key}"
            )
        await store.close()

    asyncio.run(main())


def test_expired_keys_do_not_pile_up_in_a_tag_that_is_written_for_ever(redis_server: str) -> None:
    async def main() -> None:
        client: Any = redis.Redis.from_url(redis_server)
        now = 1_800_000_000_000
        store = RedisKV(client, namespace="pile:", epoch_ms=lambda: now)
        for number in range(100):
            await store.put(StoreItem(f"k{number}", b"v", 60.0, ("t",)))
            now += 60_000
        # One lives, and for ten minutes what expired is kept for the sake of other clocks.
        assert await client.zcard("~pile:t") == 11
        await store.close()

    asyncio.run(main())


def test_a_deleted_tag_leaves_nothing_behind(redis_server: str) -> None:
    async def main() -> None:
        client: Any = redis.Redis.from_url(redis_server)
        store = RedisKV(client, namespace="rest:")
        await store.put(*(StoreItem(key, b"v", 60.0, ("t",)) for key in "abcd"))
        await store.delete("a")
        await store.put(StoreItem("b", b"v", 60.0, ("other",)))
        assert await store.delete_tag("t") == 2
        # What was put again may be put under its old tag at this moment: it waits for its expiry.
        members = await client.zrange("~rest:t", 0, -1)
        assert [member[8:] for member in members] == [b"b"]
        await store.close()

    asyncio.run(main())


def test_a_value_and_its_tags_are_one_string_and_an_untagged_put_one_command(
    redis_server: str,
) -> None:
    async def main() -> None:
        sent: list[tuple[object, ...]] = []

        class Client(redis.Redis):
            async def execute_command(self, *args: Any, **options: Any) -> Any:
                sent.append(args)
                command: Any = super().execute_command
                return await command(*args, **options)

        client: Any = Client.from_url(redis_server)
        store = RedisKV(client, namespace="one:")
        await store.put(StoreItem("k", b"v", 60.0))
        assert sent == [("SET", "one:k", bytes(8) + b"v", "PX", 60_000)]
        await store.put(StoreItem("k", b"v", 60.0, ("t",)))
        stored = await client.get("one:k")
        assert (len(stored), stored[8:], stored[:8] != bytes(8)) == (9, b"v", True)
        await store.close()

    asyncio.run(main())


def test_what_this_store_did_not_write_is_no_value(redis_server: str) -> None:
    async def main() -> None:
        client: Any = redis.Redis.from_url(redis_server)
        store = RedisKV(client, namespace="foreign:")
        await client.set("foreign:k", b"short")
        assert await store.get("k") == [None]
        assert await store.get("k", "k") == [None, None]
        await store.close()

    asyncio.run(main())


def test_namespaces_of_one_server_do_not_see_each_other(redis_server: str) -> None:
    async def main() -> None:
        one = redis_kv(redis_server, timeout=GENEROUS, namespace="one*:")
        other = redis_kv(redis_server, timeout=GENEROUS, namespace="one1:")
        await one.put(StoreItem("k", b"one", 60.0, ("t",)), StoreItem("l", b"one", 60.0))
        await other.put(StoreItem("k", b"other", 60.0, ("t",)))
        assert await one.delete_tag("t") == 1
        assert await one.delete_prefix("") == 1
        assert await other.get("k") == [b"other"]
        await one.close()
        await other.close()

    asyncio.run(main())


@pytest.mark.parametrize("namespace", ["", "~a:"])
def test_a_namespace_in_which_tags_could_stand_is_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace is"):
        redis_kv("redis://127.0.0.1:6379/0", timeout=1.0, namespace=namespace)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_is_down_raises_a_store_error(operation: str) -> None:
    with closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = reserved.getsockname()[1]

        async def main() -> None:
            store = redis_kv(f"redis://127.0.0.1:{port}/0", timeout=GENEROUS)
            with pytest.raises(StoreError, match="cannot be reached") as caught:
                await OPERATIONS[operation](store)
            assert not isinstance(caught.value, StoreTimeout)
            await store.close()

        asyncio.run(main())


def test_a_store_that_is_down_fails_within_the_limit_however_many_retries_it_has() -> None:
    with closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

        async def main() -> None:
            store = redis_kv(f"redis://127.0.0.1:{port}/0", timeout=0.05, retries=1_000_000)
            with pytest.raises(StoreTimeout):
                await store.get("k")
            await store.close()

        asyncio.run(main())


def test_a_socket_that_does_not_exist_is_a_store_error(tmp_path: Path) -> None:
    async def main() -> None:
        store = redis_kv(f"unix://{tmp_path}/none.sock", timeout=GENEROUS)
        with pytest.raises(StoreError, match="cannot be reached"):
            await store.get("k")
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
        async with serving(silent) as url:
            store = redis_kv(url, timeout=0.05)
            with pytest.raises(StoreTimeout, match="did not answer in time"):
                await OPERATIONS[operation](store)
            await store.close()
            # A client that tries again would take a multiple of its time limit.
            assert len(connections) == 1

    asyncio.run(main())


def test_waiting_for_a_free_connection_is_within_the_limit() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async def main() -> None:
        async with serving(silent) as url:
            store = redis_kv(url, timeout=0.05, max_connections=2)
            results = await asyncio.gather(
                *(store.get(f"k{number}") for number in range(10)), return_exceptions=True
            )
            await store.close()
            assert [type(result) for result in results] == [StoreTimeout] * 10

    asyncio.run(main())


def test_more_operations_than_connections_wait_for_their_turn(redis_server: str) -> None:
    async def main() -> None:
        store = redis_kv(redis_server, timeout=GENEROUS, namespace="turn:", max_connections=2)
        client: Any = redis.Redis.from_url(redis_server)
        before = (await client.info("stats"))["total_connections_received"]
        assert await asyncio.gather(*(store.get(f"k{n}") for n in range(100))) == [[None]] * 100
        after = (await client.info("stats"))["total_connections_received"]
        assert after - before == 2
        await store.close()
        await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_answers_with_an_error_raises_a_store_error(operation: str) -> None:
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_command(reader):
            writer.write(b"-ERR out of order\r\n")

    async def main() -> None:
        async with serving(refusing) as url:
            store = redis_kv(url, timeout=GENEROUS)
            with pytest.raises(StoreError, match="L2 failed: out of order"):
                await OPERATIONS[operation](store)
            await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("operation", ["get", "put under a tag", "delete_tag"])
def test_a_value_of_another_kind_is_a_store_error_without_the_value(
    redis_server: str, operation: str
) -> None:
    async def main() -> None:
        client: Any = redis.Redis.from_url(redis_server)
        store = RedisKV(client, namespace="kind:")
        await client.execute_command("DEL", "kind:k", "~kind:t")
        await client.execute_command("RPUSH", "kind:k", "x")
        await client.execute_command("RPUSH", "~kind:t", "x")
        with pytest.raises(StoreError, match="WRONGTYPE") as caught:
            await OPERATIONS[operation](store)
        assert "ZADD" not in str(caught.value)
        await store.close()

    asyncio.run(main())


def test_an_operation_whose_connection_is_lost_is_repeated() -> None:
    commands: list[bytes] = []

    async def flaky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await read_command(reader):
            if is_handshake(command):
                writer.write(b"+OK\r\n")
                continue
            commands.append(command)
            if len(commands) <= 2:
                break
            writer.write(b"$9\r\n%sv\r\n" % bytes(8))
        writer.close()

    async def main() -> None:
        async with serving(flaky) as url:
            store = redis_kv(url, timeout=GENEROUS, retries=2)
            assert await store.get("k") == [b"v"]
            assert len(commands) == 3
            await store.close()

    asyncio.run(main())


def test_without_retries_a_lost_connection_is_a_store_error() -> None:
    async def dropping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while is_handshake(await read_command(reader)):
            writer.write(b"+OK\r\n")
        writer.close()

    async def main() -> None:
        async with serving(dropping) as url:
            store = redis_kv(url, timeout=GENEROUS, retries=0)
            with pytest.raises(StoreError, match="cannot be reached"):
                await store.get("k")
            await store.close()

    asyncio.run(main())


def test_a_store_outlives_a_restart_of_its_server(tmp_path: Path) -> None:
    program = find_program("redis-server", package="redis-server")
    process, url = start_redis(program, tmp_path)
    port = url.rpartition(":")[2].partition("/")[0]

    async def main() -> None:
        store = redis_kv(url, timeout=GENEROUS, retries=1_000_000)
        await asyncio.gather(*(store.put(StoreItem(f"k{n}", b"v", 60.0)) for n in range(8)))
        await asyncio.to_thread(stop, process)
        waiting = [asyncio.create_task(store.get("k")) for _ in range(8)]
        await asyncio.sleep(0)  # they are under way before there is a server
        again = subprocess.Popen(
            [program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
            stdout=subprocess.DEVNULL,
        )
        try:
            assert await asyncio.gather(*waiting) == [[None]] * 8
            assert await asyncio.to_thread(answers, url, again)
        finally:
            await store.close()
            await asyncio.to_thread(stop, again)

    asyncio.run(main())


@pytest.mark.parametrize("count", [1, 2])
def test_after_a_cancelled_get_the_next_one_gets_its_own_answer(count: int) -> None:
    async def main() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while command := await read_command(reader):
                if is_handshake(command):
                    writer.write(b"+OK\r\n")
                    continue
                name = command.split()[-1]
                if name.endswith(b"first"):
                    asked.set()
                    await go_on.wait()
                value = b"$%d\r\n%s%s\r\n" % (len(name) + 8, bytes(8), name)
                writer.write(value if count == 1 else b"*2\r\n" + value + value)

        async with serving(slow) as url:
            store = redis_kv(url, timeout=GENEROUS, namespace="n:", max_connections=1)
            cancelled = asyncio.create_task(store.get(*["first"] * count))
            await asked.wait()
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            go_on.set()
            assert await store.get(*["second"] * count) == [b"n:second"] * count
            await store.close()

    asyncio.run(main())


def test_after_a_storm_of_cancelled_operations_every_answer_is_the_right_one(
    redis_server: str,
) -> None:
    async def main() -> None:
        store = redis_kv(redis_server, timeout=GENEROUS, namespace="storm:", max_connections=4)
        keys = [f"k{number}" for number in range(50)]
        await store.put(*(StoreItem(key, key.encode(), 600.0) for key in keys))
        for pause in range(12):
            tasks = [asyncio.create_task(store.get(key)) for key in keys]
            tasks += [asyncio.create_task(store.get(key, key)) for key in keys]
            for _ in range(pause):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for key, result in zip(keys + keys, results, strict=True):
                if not isinstance(result, asyncio.CancelledError):
                    assert result in ([key.encode()], [key.encode()] * 2)
        assert await asyncio.gather(*map(store.get, keys)) == [[key.encode()] for key in keys]
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:6379", "http://127.0.0.1", "redis://h:port/0", "unix://",
        "redis://h/0?color=red", "redis://h/0?db=x",
    ],
)  # fmt: skip
def test_what_is_no_redis_url_is_refused_on_one_line(url: str) -> None:
    with pytest.raises(InputError) as caught:
        redis_kv(url, timeout=1.0)
    assert len(str(caught.value).splitlines()) == 1
    assert "redis://127.0.0.1:6379/0" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@h:port/0", "redis://user:secret@h:port/0", "redis://:secret/x@h/0?db=x",
        "unix://user@/s?password=secret&db=x", "redis://h/0?db=x&password=a@secret",
        "redis://:a?secret@h:port/0",
    ],
)  # fmt: skip
def test_a_refused_url_does_not_tell_its_password(url: str) -> None:
    with pytest.raises(InputError) as caught:
        redis_kv(url, timeout=1.0)
    assert "secret" not in str(caught.value)
