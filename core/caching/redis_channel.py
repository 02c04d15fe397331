"""How caches of other processes learn of invalidations: Redis pub/sub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import redis.asyncio as redis
from redis.backoff import EqualJitterBackoff
from redis.exceptions import TimeoutError as RedisTimeout

from core.caching.redis_calls import RedisCalls, redis_client
from core.errors import StoreError

_BACKOFF = EqualJitterBackoff(cap=1.0, base=0.05)
_BACKOFF_STEPS = 10


class RedisChannel:
    """Redis pub/sub on the channel *name*; it hears itself.

    A lost connection is replaced, at once and then after 50 ms and more, up to 1 s; one that is
    silent for *heartbeat* seconds is asked for a sign of life, and is lost if it gives none for as
    long again.

    timeout: seconds for publishing and for subscribing. reconnects: how often a connection was
    replaced. `close` closes *client*, which lends one connection to the listening.
    """

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        *,
        timeout: float | None,
        heartbeat: float = 5.0,
    ) -> None:
        self._client: Any = client
        self._ask = RedisCalls(client, timeout=timeout, reserved=1)
        self._name = name
        self._heartbeat = heartbeat
        self._listening: asyncio.Task[None] | None = None
        self._is_subscribed = False
        self.reconnects = 0

    async def publish(self, message: bytes) -> int:
        """Send *message*; return how many others it was handed to. StoreError if it failed."""
        heard = int(await self._ask(self._client.publish, self._name, message))
        return max(0, heard - self._is_subscribed)

    async def listen(self, on_message: Callable[[bytes], None], on_gap: Callable[[], None]) -> None:
        """Return once messages arrive; StoreError if they cannot, ValueError if they do already."""
        if self._listening is not None:
            raise ValueError("this channel listens already")
        subscription = await self._ask(self._subscribe)
        self._is_subscribed = True
        self._listening = asyncio.create_task(self._listen(subscription, on_message, on_gap))

    async def close(self) -> None:
        """Stop listening and close the client."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._listening = None
        await self._ask.close()

    async def _subscribe(self) -> Any:
        subscription = self._client.pubsub()
        try:
            await subscription.subscribe(self._name)
            while True:
                message = await subscription.get_message(timeout=None)
                if message is not None and message["type"] == "subscribe":
                    return subscription
        except BaseException:
            await subscription.aclose()
            raise

    async def _listen(
        self, subscription: Any, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> None:
        while True:
            try:
                # Whatever it is that ended the connection, the cure is another one: a listener
                # that stops would serve old values for ever.
                with suppress(Exception):
                    await self._relay(subscription, on_message, on_gap)
            finally:
                self._is_subscribed = False
                await subscription.aclose()
            subscription = await self._resubscribe()
            self._count_gap(on_gap)

    async def _relay(
        self, subscription: Any, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> None:
        """Pass messages on until the connection is lost, which raises."""
        is_asked = False
        while True:
            message = await subscription.get_message(timeout=self._heartbeat)
            if message is None:
                if is_asked:
                    raise RedisTimeout("no sign of life")
                await subscription.ping()
            elif message["type"] == "message":
                _tell(on_message, message["data"])
            elif message["type"] == "subscribe":
                # A client with retries reconnects behind our back, and subscribes again.
                self._count_gap(on_gap)
            is_asked = message is None

    async def _resubscribe(self) -> Any:
        for attempt in count(1):
            try:
                return await self._ask(self._subscribe)
            except StoreError:
                await asyncio.sleep(_BACKOFF.compute(min(attempt, _BACKOFF_STEPS)))
        raise AssertionError("unreachable")

    def _count_gap(self, on_gap: Callable[[], None]) -> None:
        self._is_subscribed = True
        self.reconnects += 1
        _tell(on_gap)


def _tell(listener: Callable[..., None], *arguments: bytes) -> None:
    """Call *listener*; its mistakes are reported as the event loop does, and end nothing."""
    try:
        listener(*arguments)
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a listener of an invalidation channel failed", "exception": error}
        )


def redis_channel(url: str, name: str, *, timeout: float) -> RedisChannel:
    """Return the channel *name* of the server at *url*; InputError if that is no URL.

    timeout: seconds for publishing and for subscribing.
    """
    client = redis_client(url, retries=2, max_connections=8)
    return RedisChannel(client, name, timeout=timeout)
