"""L2 in Redis 7 or later, Valkey or fakeredis: a string per key, a sorted set per tag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from core.caching.kv import StoreItem, require_life
from core.caching.redis_calls import RedisCalls, redis_client
from core.clock import SystemClock, epoch_ms

_PAGE = 1_000
_STAMP_BYTES = 8
_UNTAGGED = bytes(_STAMP_BYTES)
_CLOCKS_APART_MS = 600_000
"""By how much the clocks of two machines may differ before a tag forgets a live key."""


class RedisKV:
    """Redis, Valkey or fakeredis; every key stands under *namespace*.

    timeout: seconds for a whole operation, and for each round trip of `delete_prefix` and
    `delete_tag`, which make as many as they need. epoch_ms: the time of day.

    A client that repeats what failed may delete twice, where the answer to the first was lost;
    then the count is too low.

    A value is stored behind a stamp: a hash of the tags it was put under, zeros if there were
    none. A tag is a sorted set of stamp and key, by expiry; a member counts while its key still
    bears that stamp. So a key that is put again, with other tags or none, leaves its old tags
    without a read, and value and tags cannot come apart.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        namespace: str = "edgeproof:",
        timeout: float | None = None,
        epoch_ms: Callable[[], int] | None = None,
    ) -> None:
        """Raise ValueError if *namespace* is one that tags could stand in."""
        if not namespace or namespace.startswith("~"):
            raise ValueError(f"namespace is {namespace!r}; it has to start otherwise than with ~")
        self._client: Any = client
        self._ask = RedisCalls(client, timeout=timeout)
        self._namespace = namespace
        self._epoch_ms = epoch_ms or _time_of_day()

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return the values in the order of *keys*; None where there is none or it expired.

        Several keys are one MGET, for which a key of another kind is one without a value.
        """
        if len(keys) == 1:
            answer = await self._ask(self._client.execute_command, "GET", self._namespace + keys[0])
            return [_value(answer)]
        if not keys:
            return []
        answers = await self._ask(self._client.mget, [self._namespace + key for key in keys])
        return [_value(answer) for answer in answers]

    async def put(self, *items: StoreItem) -> None:
        """Keep *items* in place of what was there; ValueError unless every ttl is more than 0 s."""
        require_life(items)
        if len(items) == 1 and not items[0].tags:
            key, value, ttl, _ = items[0]
            name = self._namespace + key
            await self._ask(self._client.set, name, _UNTAGGED + value, px=_milliseconds(ttl))
        elif items:
            await self._put_all(items)

    async def _put_all(self, items: Iterable[StoreItem]) -> None:
        now = self._epoch_ms()
        pipe = self._client.pipeline(transaction=False)
        members: dict[str, dict[bytes, int]] = {}
        for key, value, ttl, tags in items:
            life, stamp = _milliseconds(ttl), _stamp(tags)
            pipe.set(self._namespace + key, stamp + value, px=life)
            for tag in tags:
                members.setdefault(tag, {})[stamp + key.encode()] = now + life
        # After all values: a `delete_tag` meanwhile either meets value and member or neither.
        for tag, expiries in members.items():
            name, life = self._tag(tag), max(expiries.values()) - now
            # First, lest a set that is about to expire takes the new members with it.
            pipe.pexpire(name, life, gt=True)
            pipe.zadd(name, expiries, gt=True)
            pipe.pexpire(name, life, nx=True)  # gt takes a set without an expiry for eternal
            pipe.zremrangebyscore(name, "-inf", now - _CLOCKS_APART_MS)
        await self._run(pipe)

    async def delete(self, *keys: str) -> int:
        """Forget *keys*; return how many of them were there."""
        return await self._unlink([self._namespace + key for key in keys])

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*; return how many there were."""
        literal = "".join(f"\\{c}" if c in "*?[]^-\\" else c for c in self._namespace + prefix)
        cursor, deleted, names = 0, 0, []
        while True:
            cursor, page = await self._ask(
                self._client.scan, cursor, match=f"{literal}*", count=_PAGE
            )
            names += page
            if len(names) >= _PAGE or not cursor:
                deleted += await self._unlink(names)
                names = []
            if not cursor:
                return deleted

    async def delete_tag(self, tag: str) -> int:
        """Forget all keys that were last put under *tag*; return how many were still there."""
        cursor, deleted = 0, 0
        while True:
            cursor, page = await self._ask(self._client.zscan, self._tag(tag), cursor, count=_PAGE)
            if page:
                deleted += await self._forget(self._tag(tag), list(dict(page)))
            if not cursor:
                return deleted

    async def _forget(self, tag: str, members: Sequence[bytes]) -> int:
        """Delete those of *members* that still stand under *tag*; return how many there were."""
        namespace = self._namespace.encode()
        pipe = self._client.pipeline(transaction=False)
        for member in members:
            pipe.getrange(namespace + member[_STAMP_BYTES:], 0, _STAMP_BYTES - 1)
        stamps = await self._run(pipe)
        # A member whose key bears another stamp is left to its expiry: if it was put under this
        # tag again a moment ago, removing it would hide a live key from its tag.
        ended = [m for m, s in zip(members, stamps, strict=True) if s in (b"", m[:_STAMP_BYTES])]
        if not ended:
            return 0
        # The member goes before its key, as a put writes them the other way round: a put in
        # between keeps its member or loses its value too.
        pipe = self._client.pipeline(transaction=False)
        pipe.zrem(tag, *ended)
        pipe.unlink(*(namespace + member[_STAMP_BYTES:] for member in ended))
        return int((await self._run(pipe))[1])

    async def close(self) -> None:
        """Close the client."""
        await self._ask.close()

    def _tag(self, tag: str) -> str:
        # Not under the namespace, so that no prefix meets it.
        return f"~{self._namespace}{tag}"

    async def _unlink(self, names: Sequence[str | bytes]) -> int:
        if not names:
            return 0
        if len(names) <= _PAGE:
            return int(await self._ask(self._client.unlink, *names))
        pipe = self._client.pipeline(transaction=False)
        for start in range(0, len(names), _PAGE):
            pipe.unlink(*names[start : start + _PAGE])
        return sum(await self._run(pipe))

    async def _run(self, pipe: Any) -> list[Any]:
        """Return the answers of *pipe*; StoreError if one of them is an error."""

        async def run() -> list[Any]:
            # Left to itself the pipeline would put the command, value included, in the message.
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, RedisError):
                    raise answer
            return answers

        answers: list[Any] = await self._ask(run)
        return answers


def _value(answer: object) -> bytes | None:
    """Return the value behind the stamp, None for what this class did not write."""
    if isinstance(answer, bytes) and len(answer) >= _STAMP_BYTES:
        return answer[_STAMP_BYTES:]
    return None


def _stamp(tags: tuple[str, ...]) -> bytes:
    if not tags:
        return _UNTAGGED
    # The length in front, as a tag may contain whatever would separate it from the next.
    packed = b"".join(b"%d:%s" % (len(t), t) for t in sorted({tag.encode() for tag in tags}))
    return blake2b(packed, digest_size=_STAMP_BYTES).digest()


def _milliseconds(ttl: float) -> int:
    return max(1, round(ttl * 1000))


def _time_of_day() -> Callable[[], int]:
    clock = SystemClock()
    return lambda: epoch_ms(clock)


def embedded_kv() -> RedisKV:
    """Return a fakeredis store that lives in this process."""
    import fakeredis  # slow to import, and not needed with a real Redis

    client: Any = fakeredis.FakeAsyncRedis(protocol=2)
    return RedisKV(client)


def redis_kv(
    url: str,
    *,
    timeout: float,
    namespace: str = "edgeproof:",
    retries: int = 2,
    max_connections: int = 64,
) -> RedisKV:
    """Return the store at *url* (redis://host:port/db or unix:///socket).

    timeout: seconds per operation, repetitions included. retries: how often an operation is
    repeated whose connection fails, after 10 ms and more. Raise InputError if the URL is none.
    """
    client = redis_client(url, retries=retries, max_connections=max_connections)
    return RedisKV(client, namespace=namespace, timeout=timeout)
