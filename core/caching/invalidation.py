"""Invalidation in every isolate of a process, in L2, and in other processes."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple, Protocol

from core.caching.channel import InvalidationChannel
from core.caching.invalidation_log import InvalidationLog, Selector
from core.caching.kv import KVStore
from core.errors import StoreError

LIST_PAGE = 1_000
"""Keys that a list of the platform's KV returns at most."""


class Removed(NamedTuple):
    """How many entries an invalidation took from each tier; L1 over all isolates here."""

    l1: int
    l2: int


class InvalidationTarget(Protocol):
    """An isolate's cache, as invalidation sees it."""

    def forget(self, target: Selector) -> int:
        """Drop what *target* names from L1; no read joins a load of it any more."""
        ...

    def forget_all(self) -> int:
        """Drop everything from L1; no read joins a load that is in flight."""
        ...


class Invalidator:
    """Invalidates for all isolates of one process, and notifies the other processes.

    After `invalidate` returns, or has failed, no read of these isolates is answered with a value
    that was loaded before. Loads in other processes are ordered by their clocks, to a millisecond.
    Other processes receive it over *channel*. Without a channel, or while it is cut off, entries of
    their L1 live on for at most l1_ttl, and a write to L2 that was overtaken on its way for at most
    the entry's TTL; to both, a policy that serves stale values adds its bound, and with
    stale_if_error L1 too goes on until the end of the TTL while L2 or loads fail.

    name: marks this process's messages; ValueError if there is a channel and no name. deletes: keys
    whose deletion L2 was asked for; lists: pages of LIST_PAGE keys that finding them took. A store
    that deletes by prefix or tag itself is counted as the platform's, which lists and deletes.
    """

    def __init__(
        self,
        kv: KVStore,
        log: InvalidationLog,
        *,
        name: str = "",
        channel: InvalidationChannel | None = None,
    ) -> None:
        if channel is not None and not name:
            raise ValueError("a process on a channel needs a name of its own")
        self._kv = kv
        self.log = log
        self._name = name
        self._channel = channel
        self._isolates: list[InvalidationTarget] = []
        self.received = 0
        self.gaps = 0
        self.unsent = 0
        self.deletes = 0
        self.lists = 0

    def add(self, isolate: InvalidationTarget) -> None:
        """Apply invalidations to *isolate* from now on."""
        self._isolates.append(isolate)

    def replace(self, isolate: InvalidationTarget, by: InvalidationTarget) -> None:
        """Apply invalidations to *by* in place of *isolate*; ValueError if that is not there."""
        self._isolates[self._isolates.index(isolate)] = by

    async def listen(self) -> None:
        """Apply invalidations of other processes; StoreError if the channel cannot be reached."""
        if self._channel is not None:
            await self._channel.listen(self.apply, self.forget_after_gap)

    async def listen_once_possible(self, pause: float) -> None:
        """Listen as soon as the channel can be reached, which is tried every *pause* seconds."""
        while True:
            try:
                await self.listen()
            except StoreError:
                await asyncio.sleep(pause)
            else:
                self.forget_after_gap()  # nobody listened until now
                return

    async def invalidate(self, target: Selector) -> Removed:
        """Forget *target* everywhere; return how many entries went from L1 and from L2.

        Raise StoreError if L2 did not delete them: they are refused here nevertheless.
        """
        from_l1 = self.forget(target)
        try:
            from_l2 = await self._delete(target)
        finally:
            await self.publish(target)
        return Removed(from_l1, from_l2)

    def forget(self, target: Selector) -> int:
        """Forget *target* in this process only; return how many L1 entries went."""
        self.log.invalidate(target)
        return sum(isolate.forget(target) for isolate in self._isolates)

    async def publish(self, target: Selector) -> None:
        """Notify the other processes; `unsent` counts failures of the channel."""
        if self._channel is None:
            return
        message = {
            "from": self._name, "keys": target.keys, "prefix": target.prefix, "tag": target.tag,
        }  # fmt: skip
        try:
            await self._channel.publish(json.dumps(message).encode())
        except StoreError:
            self.unsent += 1

    async def _delete(self, target: Selector) -> int:
        if target.prefix is None and target.tag is None:
            self.deletes += len({*target.keys})
            return await self._kv.delete(*target.keys)
        self.lists += 1
        if target.prefix is not None:
            found = await self._kv.delete_prefix(target.prefix)
        else:
            assert target.tag is not None
            found = await self._kv.delete_tag(target.tag)
        self.deletes += found
        self.lists += max(0, -(-found // LIST_PAGE) - 1)
        return found

    def apply(self, message: bytes) -> None:
        """Forget what another process invalidated; an unreadable message forgets everything."""
        try:
            data = json.loads(message)
            if data["from"] == self._name:
                return
            target = _target(data["keys"], data["prefix"], data["tag"])
        except (ValueError, KeyError, TypeError, RecursionError):
            target = Selector(prefix="")
        self.received += 1
        self.forget(target)

    def forget_after_gap(self) -> None:
        """Empty every L1 and refuse loads in flight, because messages may have been missed."""
        self.gaps += 1
        self.log.refuse_loads_in_flight()
        for isolate in self._isolates:
            isolate.forget_all()

    async def close(self) -> None:
        """Leave the channel."""
        if self._channel is not None:
            await self._channel.close()


def _target(keys: Any, prefix: Any, tag: Any) -> Selector:
    """Return what a message names; ValueError or TypeError if it names nothing."""
    names = [*keys, *(name for name in (prefix, tag) if name is not None)]
    if not isinstance(keys, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("an invalidation names keys, a prefix or a tag as text")
    return Selector(keys=tuple(keys), prefix=prefix, tag=tag)
