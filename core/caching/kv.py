"""L2: key-value stores shared by all isolates, behind one protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import redis.asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from core.errors import InputError, StoreError, StoreTimeout

_PAGE = 1_000


class KVStore(Protocol):
    """Bytes by key, each with a time to live.

    Every operation raises StoreTimeout if the store does not answer in time and StoreError if it
    answers that it failed.
    """

    async def get(self, key: str) -> bytes | None:
        """Return the value of *key*, None if there is none or it has expired."""
        ...

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """Keep *value* for *ttl* seconds, in place of what was there."""
        ...

    async def delete(self, *keys: str) -> int:
        """Forget *keys*; return how many of them were there."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*; return how many there were."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class MemoryKV:
    """A store in this process's memory whose time is an argument."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._values: dict[str, tuple[bytes, float]] = {}

    def __len__(self) -> int:
        return len(self._values)

    async def get(self, key: str) -> bytes | None:
        """Return the value of *key*, None if there is none or it has expired."""
        found = self._values.get(key)
        if found is None:
            return None
        if found[1] <= self._now():
            del self._values[key]
            return None
        return found[0]

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """Keep *value* for *ttl* seconds, in place of what was there."""
        if ttl <= 0:
            raise ValueError(f"ttl is {ttl}; a time to live is more than 0 s")
        self._values[key] = (value, self._now() + ttl)

    async def delete(self, *keys: str) -> int:
        """Forget *keys*; return how many of them were there."""
        now = self._now()
        found = (self._values.pop(key, None) for key in keys)
        return sum(entry is not None and entry[1] > now for entry in found)

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*; return how many there were."""
        return await self.delete(*[key for key in self._values if key.startswith(prefix)])

    async def close(self) -> None:
        """Nothing to let go of."""


class RedisKV:
    """Redis, Valkey or fakeredis; every key stands under *namespace*."""

    def __init__(self, client: redis.Redis, *, namespace: str = "edgeproof:") -> None:
        self._client = client
        self._namespace = namespace

    async def get(self, key: str) -> bytes | None:
        """Return the value of *key*, None if there is none or it has expired."""
        try:
            value = await self._client.get(self._namespace + key)
        except RedisError as error:
            raise _translated(error) from error
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """Keep *value* for *ttl* seconds, in place of what was there."""
        if ttl <= 0:
            raise ValueError(f"ttl is {ttl}; a time to live is more than 0 s")
        try:
            await self._client.set(self._namespace + key, value, px=max(1, round(ttl * 1000)))
        except RedisError as error:
            raise _translated(error) from error

    async def delete(self, *keys: str) -> int:
        """Forget *keys*; return how many of them were there."""
        if not keys:
            return 0
        try:
            return int(await self._client.unlink(*(self._namespace + key for key in keys)))
        except RedisError as error:
            raise _translated(error) from error

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*; return how many there were."""
        literal = "".join(f"\\{c}" if c in "*?[]^-\\" else c for c in self._namespace + prefix)
        deleted, page = 0, []
        try:
            async for key in self._client.scan_iter(match=f"{literal}*", count=_PAGE):
                page.append(key)
                if len(page) == _PAGE:
                    deleted += int(await self._client.unlink(*page))
                    page = []
            return deleted + (int(await self._client.unlink(*page)) if page else 0)
        except RedisError as error:
            raise _translated(error) from error

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.aclose()


def _translated(error: RedisError) -> StoreError:
    if isinstance(error, RedisTimeout):
        return StoreTimeout(f"L2 did not answer in time: {error}")
    what = "cannot be reached" if isinstance(error, RedisConnectionError) else "failed"
    return StoreError(f"L2 {what}: {error}")


def embedded_kv() -> RedisKV:
    """Return a fakeredis store that lives in this process."""
    import fakeredis  # slow to import, and not needed with a real Redis

    client: Any = fakeredis.FakeAsyncRedis()
    return RedisKV(client)


def _without_password(url: str) -> str:
    credentials, at, place = url.rpartition("@")
    return f"{credentials.partition('://')[0]}://...@{place}" if at else url


def redis_kv(url: str, *, timeout: float, namespace: str = "edgeproof:") -> RedisKV:
    """Return the store at *url* (redis://host:port/db) with *timeout* seconds per operation.

    Raise InputError if the URL is none.
    """
    try:
        client = redis.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, max_connections=256
        )
    except ValueError as error:
        raise InputError(
            f"--redis {_without_password(url)}: not usable; write it as redis://127.0.0.1:6379/0"
        ) from error
    return RedisKV(client, namespace=namespace)
