"""Claims about how invalidations reach other caches: delivery, gaps, and an end."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from core.caching.channel import InvalidationChannel, LocalBus, LocalChannel
from core.caching.redis_channel import RedisChannel, redis_channel
from core.errors import InputError, StoreError, StoreTimeout
from tests.conftest import answers, find_program, free_port, start_redis, stop

GENEROUS = 30.0
"""Seconds: the limit of what is waited for and comes at once."""

Connect = Callable[[], InvalidationChannel]
Test = Callable[[Connect], Awaitable[None]]


class Listener:
    """What a channel told."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.gaps: asyncio.Queue[None] = asyncio.Queue()

    async def attach(self, channel: InvalidationChannel) -> Listener:
        await channel.listen(self.messages.put_nowait, lambda: self.gaps.put_nowait(None))
        return self

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.messages.get(), GENEROUS)

    async def gap(self) -> None:
        await asyncio.wait_for(self.gaps.get(), GENEROUS)


@pytest.fixture(params=["local", "fake server", "redis", "socket"])
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Return what runs a test that can connect to one place, with a name of its own."""
    kind: str = request.param
    servers = {"fake server": "fake_server", "redis": "redis_server", "socket": "redis_socket"}
    url = request.getfixturevalue(servers[kind]) if kind in servers else ""
    bus = LocalBus()

    async def main(test: Test) -> None:
        channels: list[InvalidationChannel] = []

        def connect() -> InvalidationChannel:
            if url:
                channels.append(redis_channel(url, request.node.name, timeout=GENEROUS))
            else:
                channels.append(LocalChannel(bus))
            return channels[-1]

        try:
            await test(connect)
        finally:
            for channel in channels:
                await channel.close()

    return lambda test: asyncio.run(main(test))


def test_a_message_reaches_every_other_listener_in_order(run: Callable[[Test], None]) -> None:
    async def test(connect: Connect) -> None:
        listeners = [await Listener().attach(connect()) for _ in range(3)]
        sender = connect()
        sent = [b"", b"\x00\xff\r\n", bytes(range(256)) * 400, b"last"]
        for message in sent:
            assert await sender.publish(message) == 3
        for listener in listeners:
            assert [await listener.next() for _ in sent] == sent
            assert listener.gaps.empty()

    run(test)


def test_a_listener_does_not_count_itself(run: Callable[[Test], None]) -> None:
    async def test(connect: Connect) -> None:
        one, other = connect(), connect()
        await Listener().attach(one)
        assert await one.publish(b"m") == 0
        listener = await Listener().attach(other)
        assert await one.publish(b"n") == 1
        assert await listener.next() == b"n"

    run(test)


def test_nobody_listening_is_no_error(run: Callable[[Test], None]) -> None:
    async def test(connect: Connect) -> None:
        assert await connect().publish(b"m") == 0

    run(test)


def test_a_closed_channel_hears_nothing(run: Callable[[Test], None]) -> None:
    async def test(connect: Connect) -> None:
        channel, sender = connect(), connect()
        listener = await Listener().attach(channel)
        still_there = await Listener().attach(connect())
        assert await sender.publish(b"1") == 2
        assert await listener.next() == b"1"
        await channel.close()
        await sender.publish(b"2")
        assert [await still_there.next(), await still_there.next()] == [b"1", b"2"]
        assert listener.messages.empty()
        await channel.close()

    run(test)


def test_a_channel_listens_once(run: Callable[[Test], None]) -> None:
    async def test(connect: Connect) -> None:
        channel = connect()
        await Listener().attach(channel)
        with pytest.raises(ValueError, match="listens already"):
            await Listener().attach(channel)

    run(test)


def test_a_local_delivery_comes_when_its_scheduler_says_unless_the_listener_left() -> None:
    async def main() -> None:
        deliveries: list[Callable[[], None]] = []
        bus = LocalBus(deliveries.append)
        channels = [LocalChannel(bus) for _ in range(3)]
        listeners = [await Listener().attach(channel) for channel in channels]
        assert await channels[0].publish(b"m") == 2
        await channels[2].close()
        assert all(listener.messages.empty() for listener in listeners)
        deliveries[0]()
        assert [listener.messages.qsize() for listener in listeners] == [0, 1, 0]

    asyncio.run(main())


def test_an_interrupted_bus_is_a_gap_for_all() -> None:
    async def main() -> None:
        bus = LocalBus()
        listeners = [await Listener().attach(LocalChannel(bus)) for _ in range(2)]
        bus.interrupt()
        assert [listener.gaps.qsize() for listener in listeners] == [1, 1]

    asyncio.run(main())


def test_a_restart_of_the_server_is_a_gap_after_which_messages_arrive(tmp_path: Path) -> None:
    program = find_program("redis-server", package="redis-server")
    process, url = start_redis(program, tmp_path)
    port = url.rpartition(":")[2].partition("/")[0]

    async def main() -> None:
        channel = redis_channel(url, "c", timeout=GENEROUS)
        sender = redis_channel(url, "c", timeout=GENEROUS)
        listener = await Listener().attach(channel)
        assert await sender.publish(b"before") == 1
        assert await listener.next() == b"before"
        await asyncio.to_thread(stop, process)
        with pytest.raises(StoreError):
            await sender.publish(b"lost")
        again = subprocess.Popen(
            [program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
            stdout=subprocess.DEVNULL,
        )
        try:
            assert await asyncio.to_thread(answers, url, again)
            await listener.gap()
            assert channel.reconnects == 1
            assert await sender.publish(b"after") == 1
            assert await listener.next() == b"after"
            assert listener.messages.empty()
            assert listener.gaps.empty()
        finally:
            await channel.close()
            await sender.close()
            await asyncio.to_thread(stop, again)

    asyncio.run(main())


@pytest.mark.parametrize("retries", [0, 10])
def test_a_killed_connection_is_a_gap_whoever_reconnects(redis_server: str, retries: int) -> None:
    async def main() -> None:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        client = redis.Redis.from_url(redis_server, retry=Retry(NoBackoff(), retries))
        channel = RedisChannel(client, "killed", timeout=GENEROUS)
        listener = await Listener().attach(channel)
        killer: Any = redis.Redis.from_url(redis_server)
        for _ in range(3):
            await killer.client_kill_filter(_type="pubsub")
            await listener.gap()
            assert await killer.publish("killed", b"m")
            assert await listener.next() == b"m"
        assert channel.reconnects == 3
        await channel.close()
        await killer.aclose()

    asyncio.run(main())


def test_a_connection_without_a_sign_of_life_is_replaced() -> None:
    async def main() -> None:
        pings = 0

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal pings
            while line := await reader.readline():
                if line == b"SETINFO\r\n":
                    writer.write(b"+OK\r\n")
                elif line == b"SUBSCRIBE\r\n":
                    writer.write(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
                elif line == b"PING\r\n":
                    pings += 1
            writer.close()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        client = redis.Redis.from_url(url, protocol=2)
        channel = RedisChannel(client, "c", timeout=GENEROUS, heartbeat=0.01)
        listener = await Listener().attach(channel)
        await listener.gap()
        await listener.gap()
        assert pings >= 2
        await channel.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


class Script:
    """A client and its subscription: what each heartbeat brings, then nothing."""

    connection_pool: Any
    max_connections = 2

    def __init__(self, *kinds: str | None) -> None:
        self.connection_pool = self
        self._kinds = iter(kinds)
        self.pings = 0
        self.ended = asyncio.Event()

    def pubsub(self) -> Script:
        return self

    async def subscribe(self, name: str) -> None:
        pass

    async def get_message(self, timeout: float | None) -> dict[str, Any] | None:
        try:
            kind = next(self._kinds)
        except StopIteration:
            self.ended.set()
            await asyncio.Event().wait()
        return None if kind is None else {"type": kind, "data": b"m"}

    async def ping(self) -> None:
        self.pings += 1

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    ("heard", "pings", "gaps"),
    [
        ([None, "pong", None, "pong"], 2, 0),
        ([None, "message", None, "pong"], 2, 0),
        ([None, None, "subscribe"], 1, 1),
        ([None, "pong", None, None, "subscribe", None, "pong"], 3, 1),
        (["message", "subscribe", "message"], 0, 1),
    ],
)
def test_two_silent_heartbeats_in_a_row_end_a_connection(
    heard: list[str | None], pings: int, gaps: int
) -> None:
    async def main() -> None:
        script = Script("subscribe", *heard)
        client: Any = script
        channel = RedisChannel(client, "c", timeout=None)
        listener = await Listener().attach(channel)
        await asyncio.wait_for(script.ended.wait(), GENEROUS)
        assert (script.pings, listener.gaps.qsize(), channel.reconnects) == (pings, gaps, gaps)
        assert listener.messages.qsize() == heard.count("message")
        await channel.close()

    asyncio.run(main())


@pytest.mark.parametrize("server", ["redis_server", "fake_server"])
def test_a_server_answers_a_quiet_subscription_with_a_sign_of_life(
    server: str, request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue(server)

    async def main() -> None:
        client: Any = redis.Redis.from_url(url, protocol=2)
        subscription = client.pubsub()
        await subscription.subscribe("quiet")
        await subscription.ping()
        async with asyncio.timeout(GENEROUS):
            while (message := await subscription.get_message(timeout=None))["type"] != "pong":
                assert message["type"] == "subscribe"
        await subscription.aclose()
        await client.aclose()

    asyncio.run(main())


def test_a_listener_that_fails_is_reported_and_hears_on(redis_server: str) -> None:
    async def main() -> None:
        reported: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context["exception"])
        )
        channel = redis_channel(redis_server, "fails", timeout=GENEROUS)
        listener = Listener()

        def fail(message: bytes) -> None:
            listener.messages.put_nowait(message)
            raise LookupError("mine")

        await channel.listen(fail, lambda: None)
        for message in (b"1", b"2"):
            await channel.publish(message)
            assert await listener.next() == message
        assert [type(error) for error in reported] == [LookupError, LookupError]
        assert channel.reconnects == 0
        await channel.close()

    asyncio.run(main())


def test_listening_without_a_server_is_a_store_error_and_may_be_tried_again() -> None:
    async def main() -> None:
        channel = redis_channel(f"redis://127.0.0.1:{free_port()}/0", "c", timeout=GENEROUS)
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be reached"):
                await Listener().attach(channel)
        with pytest.raises(StoreError, match="cannot be reached"):
            await channel.publish(b"m")
        await channel.close()

    asyncio.run(main())


def test_a_silent_server_is_a_store_timeout() -> None:
    async def main() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        channel = redis_channel(url, "c", timeout=0.05)
        with pytest.raises(StoreTimeout):
            await Listener().attach(channel)
        with pytest.raises(StoreTimeout):
            await channel.publish(b"m")
        await channel.close()
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_closing_ends_the_search_for_a_server(tmp_path: Path) -> None:
    program = find_program("redis-server", package="redis-server")
    process, url = start_redis(program, tmp_path)

    async def main() -> None:
        channel = redis_channel(url, "c", timeout=GENEROUS)
        listener = await Listener().attach(channel)
        await asyncio.to_thread(stop, process)
        await channel.close()
        assert listener.gaps.empty()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_what_is_no_redis_url_is_refused() -> None:
    with pytest.raises(InputError, match="redis://127"):
        redis_channel("http://127.0.0.1", "c", timeout=1.0)
