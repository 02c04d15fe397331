"""L2: key-value stores shared by all isolates, behind one protocol, and the one in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple, Protocol

_SWEEP_AT_LEAST = 1_000


class StoreItem(NamedTuple):
    """What `KVStore.put` keeps: *value* under *key* for *ttl* seconds, findable by its *tags*."""

    key: str
    value: bytes
    ttl: float
    tags: tuple[str, ...] = ()


class KVStore(Protocol):
    """Bytes by key, each with a time to live.

    An operation takes any number of keys, a read 100 at least, and is one round trip where the
    store has such a command. Every operation raises StoreTimeout if the store does not answer in
    time and StoreError if it answers that it failed.
    """

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return the values in the order of *keys*; None where there is none or it expired."""
        ...

    async def put(self, *items: StoreItem) -> None:
        """Keep *items* in place of what was there, its tags included; of one key the last stays.

        Raise ValueError, before anything is written, unless every ttl is more than 0 s.
        """
        ...

    async def delete(self, *keys: str) -> int:
        """Forget *keys*; return how many of them were there."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*; return how many there were."""
        ...

    async def delete_tag(self, tag: str) -> int:
        """Forget all keys that were last put under *tag*; return how many were still there."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def require_life(items: Iterable[StoreItem]) -> None:
    """Raise ValueError unless every one of *items* has a ttl of more than 0 s, and an end."""
    for item in items:
        if not 0.0 < item.ttl < inf:
            raise ValueError(f"ttl is {item.ttl}; a time to live is more than 0 s, and finite")


class TagIndex:
    """Which keys stand under which tags."""

    __slots__ = ("_keys", "_tags")

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, None]] = {}
        self._tags: dict[str, tuple[str, ...]] = {}

    @property
    def tagged(self) -> bool:
        """Whether any key stands under a tag."""
        return bool(self._tags)

    def put(self, key: str, tags: tuple[str, ...]) -> None:
        """Let *key* stand under *tags* and no others."""
        if key in self._tags:
            self.drop(key)
        if tags:
            self._tags[key] = tags = tuple(dict.fromkeys(tags))
            for tag in tags:
                self._keys.setdefault(tag, {})[key] = None

    def drop(self, key: str) -> None:
        """Let *key* stand under no tag."""
        for tag in self._tags.pop(key, ()):
            keys = self._keys[tag]
            del keys[key]
            if not keys:
                del self._keys[tag]

    def keys(self, tag: str) -> list[str]:
        """Return the keys under *tag*, oldest first."""
        return list(self._keys.get(tag, ()))


class NullKV:
    """The store of a cache without L2: it keeps nothing."""

    __slots__ = ()

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return None for each of *keys*."""
        return [None] * len(keys)

    async def put(self, *items: StoreItem) -> None:
        """Keep nothing; ValueError unless every ttl is more than 0 s."""
        require_life(items)

    async def delete(self, *keys: str) -> int:
        """Return 0: none of *keys* was there."""
        return 0

    async def delete_prefix(self, prefix: str) -> int:
        """Return 0: no key was there."""
        return 0

    async def delete_tag(self, tag: str) -> int:
        """Return 0: no key was there."""
        return 0

    async def close(self) -> None:
        """Nothing to let go of."""


class MemoryKV:
    """A store in this process's memory whose time is an argument."""

    __slots__ = ("_now", "_sweep_in", "_tags", "_values")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._values: dict[str, tuple[bytes, float]] = {}
        self._tags = TagIndex()
        self._sweep_in = _SWEEP_AT_LEAST

    def __len__(self) -> int:
        """Return how many entries take up memory, some of which may have expired."""
        return len(self._values)

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return the values in the order of *keys*; None where there is none or it expired."""
        if len(keys) == 1:  # on the path of every simulated request
            found = self._values.get(keys[0])
            if found is None:
                return [None]
            if found[1] > self._now():
                return [found[0]]
            self._pop(keys[0])
            return [None]
        now, values = self._now(), self._values
        entries = [values.get(key) for key in keys]
        return [entry[0] if entry and entry[1] > now else None for entry in entries]

    async def put(self, *items: StoreItem) -> None:
        """Keep *items* in place of what was there; ValueError unless every ttl is more than 0 s."""
        require_life(items)
        now, index, values = self._now(), self._tags, self._values
        has_tags = index.tagged
        for key, value, ttl, tags in items:
            values[key] = (value, now + ttl)
            if tags or has_tags:
                index.put(key, tags)
                has_tags = True
        self._sweep_in -= len(items)
        if self._sweep_in <= 0:
            self._sweep(now)

    async def delete(self, *keys: str) -> int:
        """Forget *keys*; return how many of them were there."""
        now = self._now()
        return sum(expires > now for expires in map(self._pop, keys))

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*; return how many there were."""
        return await self.delete(*[key for key in self._values if key.startswith(prefix)])

    async def delete_tag(self, tag: str) -> int:
        """Forget all keys that were last put under *tag*; return how many were still there."""
        return await self.delete(*self._tags.keys(tag))

    async def close(self) -> None:
        """Nothing to let go of."""

    def _pop(self, key: str) -> float:
        """Forget *key*; return when it would have expired, -inf if it is unknown."""
        self._tags.drop(key)
        entry = self._values.pop(key, None)
        return entry[1] if entry else -inf

    def _sweep(self, now: float) -> None:
        """Forget what has expired.

        Nobody may ever ask for an expired key again. A sweep costs as much as there are entries
        and is followed by as many puts without one: constant work per put, and at most as many
        forgotten entries again as there are live ones.
        """
        for key in [key for key, entry in self._values.items() if entry[1] <= now]:
            self._pop(key)
        self._sweep_in = max(_SWEEP_AT_LEAST, len(self._values))
