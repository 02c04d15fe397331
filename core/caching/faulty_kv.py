"""A key-value store that fails, stalls and lies when it is told to: the double for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from core.caching.kv import KVStore, StoreItem
from core.errors import StoreError

Operation = Literal["get", "put", "delete", "delete_prefix", "delete_tag"]
"""What `FaultyKV` tells apart."""


def _inverted(value: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in value) or b"\xff"


class FaultyKV:
    """A store in front of *store* that has faults on demand and none of its own.

    An operation is counted, hangs while it must, takes its latency by *wait* (seconds), and only
    then fails or reaches *store*; a failed one has had no effect.

    latency: seconds by operation, 0 where not named; to be changed at any time.
    calls: by operation, the number of keys of every call in order; 1 for a prefix or a tag.
    hanging: how many operations hang now.
    """

    def __init__(self, store: KVStore, wait: Callable[[float], Awaitable[None]]) -> None:
        self._store = store
        self._wait = wait
        self._failing: list[tuple[frozenset[Operation], type[StoreError]]] = []
        self._share = 0.0
        self._uniform: Callable[[], float] = lambda: 1.0
        self._released: asyncio.Event | None = None
        self._corrupting: list[Callable[[bytes], bytes]] = []
        self.latency: dict[Operation, float] = {}
        self.calls: dict[Operation, list[int]] = {}
        self.hanging = 0

    def fail_next(
        self, count: int = 1, *operations: Operation, error: type[StoreError] = StoreError
    ) -> None:
        """Let the next *count* of *operations*, of all if none are named, raise *error*."""
        self._failing += [(frozenset(operations), error)] * count

    def fail_share(self, share: float, uniform: Callable[[], float]) -> None:
        """Let a *share* of operations raise StoreError: those where *uniform*, in [0, 1), is less.

        Raise ValueError if *share* is outside [0, 1].
        """
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share is {share}; a share is between 0 and 1")
        self._share, self._uniform = share, uniform

    def hang(self) -> None:
        """Let every operation from now on get no answer until `release`."""
        if self._released is None:
            self._released = asyncio.Event()

    def release(self) -> None:
        """Let hanging operations go on, and later ones not hang."""
        if self._released is not None:
            self._released.set()
            self._released = None

    def corrupt_next(self, count: int = 1, change: Callable[[bytes], bytes] = _inverted) -> None:
        """Let *change* pass over every value of the next *count* answers of `get` that have one."""
        self._corrupting += [change] * count

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return the values in the order of *keys*, corrupted if that is due."""
        await self._suffer("get", len(keys))
        values = await self._store.get(*keys)
        if self._corrupting and any(value is not None for value in values):
            change = self._corrupting.pop(0)
            return [None if value is None else change(value) for value in values]
        return values

    async def put(self, *items: StoreItem) -> None:
        """Keep *items*."""
        await self._suffer("put", len(items))
        await self._store.put(*items)

    async def delete(self, *keys: str) -> int:
        """Forget *keys*; return how many of them were there."""
        await self._suffer("delete", len(keys))
        return await self._store.delete(*keys)

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*; return how many there were."""
        await self._suffer("delete_prefix", 1)
        return await self._store.delete_prefix(prefix)

    async def delete_tag(self, tag: str) -> int:
        """Forget all keys that were last put under *tag*; return how many were still there."""
        await self._suffer("delete_tag", 1)
        return await self._store.delete_tag(tag)

    async def close(self) -> None:
        """Close the store behind, without faults."""
        await self._store.close()

    async def _suffer(self, operation: Operation, keys: int) -> None:
        self.calls.setdefault(operation, []).append(keys)
        if self._released is not None:
            self.hanging += 1
            try:
                await self._released.wait()
            finally:
                self.hanging -= 1
        if seconds := self.latency.get(operation, 0.0):
            await self._wait(seconds)
        for place, (operations, error) in enumerate(self._failing):
            if not operations or operation in operations:
                del self._failing[place]
                raise error(f"injected fault: {operation} of {keys} keys")
        if self._share and self._uniform() < self._share:
            raise StoreError(f"injected fault: {operation} of {keys} keys, by chance")
