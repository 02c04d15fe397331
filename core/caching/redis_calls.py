"""Calls of a Redis client that end within their time limit and raise errors of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import redis.asyncio as redis
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from core.errors import InputError, StoreError, StoreTimeout
from core.texts import without_secrets


class RedisCalls:
    """Calls of one client, each within *timeout* seconds whatever happens, None for no limit.

    The limit holds for a whole call: for waiting while all connections are in use, connecting,
    sending, the answer and repetitions. *reserved* connections are left to others.
    """

    __slots__ = ("_client", "_free", "_timeout")

    def __init__(self, client: redis.Redis, *, timeout: float | None, reserved: int = 0) -> None:
        self._client = client
        self._timeout = timeout
        # The client's pool raises when it is exhausted; its blocking variant can lose a wake-up
        # when one of those that wait is cancelled.
        self._free = asyncio.Semaphore(client.connection_pool.max_connections - reserved)

    async def __call__(
        self, command: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any
    ) -> Any:
        """Return the answer of *command*.

        Raise StoreTimeout if there is none in time and StoreError if it is an error.
        """
        try:
            async with asyncio.timeout(self._timeout), self._free:
                return await command(*arguments, **options)
        except TimeoutError:
            raise StoreTimeout(
                f"L2 did not answer in time: nothing within {self._timeout:g} s"
            ) from None
        except RedisTimeout as error:
            raise StoreTimeout(f"L2 did not answer in time: {error}") from error
        except RedisConnectionError as error:
            raise StoreError(f"L2 cannot be reached: {error}") from error
        except RedisError as error:
            raise StoreError(f"L2 failed: {error}") from error

    async def close(self) -> None:
        """Close the client; what does not close in time is dropped."""
        with suppress(TimeoutError, RedisError):
            async with asyncio.timeout(self._timeout):
                await self._client.aclose()


def redis_client(url: str, *, retries: int, max_connections: int) -> redis.Redis:
    """Return a client of the server at *url* that has no time limit of its own.

    Raise InputError if the URL is none.
    """
    try:
        client: redis.Redis = redis.Redis.from_url(
            url,
            # With RESP3, redis-py hands out connections without a look for unread answers.
            protocol=2,
            # `RedisCalls` limits the whole; these would cost a task per command.
            socket_timeout=None,
            socket_connect_timeout=None,
            max_connections=max_connections,
            retry=Retry(EqualJitterBackoff(cap=0.5, base=0.01), retries, (RedisConnectionError,)),
        )
        # Unknown options of a URL are met only here.
        pool: Any = client.connection_pool
        connection = pool.make_connection()
        if isinstance(connection, UnixDomainSocketConnection) and not connection.path:
            raise ValueError("no path of a socket")
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--redis {without_secrets(url)}: not usable; write it as redis://127.0.0.1:6379/0 "
            "or unix:///run/redis.sock"
        ) from error
    return client
