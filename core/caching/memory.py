"""L1: the cache in an isolate's own memory, bounded in entries and in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import chain, islice
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

ENTRY_OVERHEAD = 250
"""Bytes that an entry costs beyond its key and encoded value (`python -m bench.sizes`)."""

_CHUNKS = 16  # so many times in a generation the next victims are looked up
_MIN_CHUNK = 64
_SIZE = attrgetter("size")


class Life(NamedTuple):
    """The further times and the tags of an entry; times are absolute, in seconds of the clock."""

    until: float
    """The entry is kept (see `MemoryCache.retained`) until then, not before its expiry."""
    fresh_until: float
    """The end of its TTL."""
    l1_until: float
    """The end of its stay in L1 as a normal entry."""
    load_seconds: float
    """How long its load took."""
    retry_at: float = 0.0
    """It is not loaded again before this time."""
    tags: tuple[str, ...] = ()


class Entry(float):
    """A value under its key. As a number it is its absolute expiry, in seconds of the clock.

    value: None is a known absence; size: bytes; life: None for most.
    """

    # A hit spends most of its time waiting for memory. A time that is an object of its own would
    # be one more place to wait for: a quarter of a hit among 10,000 entries.
    __slots__ = ("life", "size", "value")

    value: Any
    size: int
    life: Life | None


def expired_entry(key: str, value: Any, size: int) -> Entry:
    """Return an entry that has ended long ago; *size* is that of the encoded value in bytes."""
    entry = Entry(-inf)
    entry.value, entry.life = value, None
    entry.size = ENTRY_OVERHEAD + len(key.encode()) + size
    return entry


@dataclass(slots=True)
class MemoryStatistics:
    """The counts of a memory cache since it was made."""

    hits: int = 0
    misses: int = 0
    expired: int = 0
    """Reads of an entry past its expiry, each time anew where it is retained."""
    evicted: int = 0
    invalidated: int = 0
    refused: int = 0

    def add(self, other: MemoryStatistics) -> None:
        """Add the counts of *other*."""
        for field in fields(self):
            name = field.name
            setattr(self, name, getattr(self, name) + getattr(other, name))


class MemoryCache:
    """Least-recently-used entries with an absolute expiry each.

    Values must be immutable: they are handed out as they are. An expired entry is never returned
    by `get`. It goes when it is next asked for and nothing retains it, or at the cold end.
    """

    # Both dicts are in order of use and all of _old is colder than all of _young, so together
    # they are exactly LRU. A use moves an entry to the end of _young; nothing is added to _old
    # until it is empty and _young takes its place, which is why victims can be listed ahead.
    # The first key of one dict would not do: finding it steps over every slot freed before it.
    __slots__ = (
        "_chunk", "_free", "_old", "_tags", "_victims", "_young",
        "bytes", "max_bytes", "max_entries", "peak_bytes", "statistics",
    )  # fmt: skip

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        if max_entries < 1 or max_bytes < 1:
            raise ValueError("a cache holds at least one entry and one byte")
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.peak_bytes = 0
        self.statistics = MemoryStatistics()
        self._empty()

    def _empty(self) -> None:
        self._young: dict[str, Entry] = {}
        self._old: dict[str, Entry] = {}
        self._victims: Iterator[str] = iter(())
        self._chunk = _MIN_CHUNK
        self._tags: dict[str, set[str]] = {}
        self._free = self.max_entries  # entries that there is room for
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: str, now: float) -> Entry | None:
        """Return the entry of *key* that is still valid at *now*, or None.

        It becomes the most recently used one.
        """
        generation = self._young
        entry = generation.get(key)
        if entry is None:
            generation = self._old
            entry = generation.get(key)
            if entry is None:
                self.statistics.misses += 1
                return None
        if entry <= now:
            self.statistics.expired += 1
            life = entry.life
            if life is None or life.until <= now:
                self._remove(generation, key, entry)
            return None
        del generation[key]
        self._young[key] = entry
        self.statistics.hits += 1
        return entry

    def retained(self, key: str, now: float) -> Entry | None:
        """Return the entry of *key* if its expiry has passed, but not yet its life, or None.

        This is no use of the entry and counts nothing.
        """
        entry = self._young.get(key)
        if entry is None:  # one that ends at 0 s is a false number
            entry = self._old.get(key)
        if entry is None or entry > now:
            return None
        life = entry.life
        return entry if life is not None and life.until > now else None

    # No parameter is for keywords only: a call with keywords takes a tenth longer.
    def set(
        self, key: str, value: Any, expires: float, size: int, life: Life | None = None
    ) -> None:
        """Keep *value* until *expires*; *size* is that of the encoded value in bytes.

        A value that alone exceeds the byte bound is refused and counted; the old one is gone.
        """
        size += ENTRY_OVERHEAD + (len(key) if key.isascii() else len(key.encode()))
        young, old = self._young, self._old
        if key in young:
            self._remove(young, key, young[key])
        elif key in old:
            self._remove(old, key, old[key])
        total, max_bytes, free = self.bytes + size, self.max_bytes, self._free
        is_full = not free or total > max_bytes
        if is_full and size > max_bytes:
            self.statistics.refused += 1
            return
        while is_full:
            for victim in self._victims:
                gone = old.pop(victim, None)
                if gone is None:
                    continue  # it was used or went since it was listed
                total -= gone.size
                free += 1
                self.statistics.evicted += 1
                if gone.life is not None:
                    self._untag(victim, gone.life.tags)
                if total <= max_bytes:  # one entry less is enough for the other bound
                    is_full = False
                    break
            else:
                self._list_victims()
                young, old = self._young, self._old
        young[key] = entry = Entry(expires)
        entry.value = value
        entry.size = size
        entry.life = life
        self._free = free - 1
        self.bytes = total
        if total > self.peak_bytes:
            self.peak_bytes = total
        if life is not None:
            self._tag(key, life.tags)

    def fill_with_expired(self, entries: dict[str, Entry]) -> None:
        """Put *entries* that have ended, coldest first, into an empty cache, as far as they fit.

        An entry may be in several caches; the dict itself is the cache's from now on. Nothing is
        counted.
        """
        if len(self):
            raise ValueError("the cache is not empty")
        total = sum(map(_SIZE, entries.values()))
        if len(entries) > self.max_entries or total > self.max_bytes:
            coldest = iter([*entries])
            while len(entries) > self.max_entries or total > self.max_bytes:
                total -= entries.pop(next(coldest)).size
        self._young = entries
        self._free = self.max_entries - len(self._young)
        self.bytes = total
        self.peak_bytes = max(self.peak_bytes, total)

    def _list_victims(self) -> None:
        if not self._old:
            self._old, self._young = self._young, {}
            self._chunk = max(_MIN_CHUNK, len(self._old) // _CHUNKS)
        self._victims = iter(list(islice(self._old, self._chunk)))

    def replace_life(self, key: str, life: Life) -> None:
        """Give the entry of *key* another life; this is no use of it. KeyError without one."""
        generation = self._young if key in self._young else self._old
        entry = generation[key]
        if entry.life is not None:
            self._untag(key, entry.life.tags)
        entry.life = life
        self._tag(key, life.tags)

    def _remove(self, generation: dict[str, Entry], key: str, entry: Entry) -> None:
        del generation[key]
        self._free += 1
        self.bytes -= entry.size
        if entry.life is not None:
            self._untag(key, entry.life.tags)

    def _tag(self, key: str, tags: tuple[str, ...]) -> None:
        for tag in tags:
            self._tags.setdefault(tag, set()).add(key)

    def _untag(self, key: str, tags: tuple[str, ...]) -> None:
        for tag in set(tags):
            keys = self._tags[tag]
            keys.remove(key)
            if not keys:
                del self._tags[tag]

    def touch(self, key: str) -> None:
        """Let the entry of *key*, if there is one, be the most recently used; counts nothing."""
        generation = self._young if key in self._young else self._old
        entry = generation.pop(key, None)
        if entry is not None:
            self._young[key] = entry

    def discard(self, key: str) -> None:
        """Drop the entry of *key*, if there is one; counts nothing."""
        generation = self._young if key in self._young else self._old
        entry = generation.get(key)
        if entry is not None:
            self._remove(generation, key, entry)

    def delete(self, key: str) -> bool:
        """Forget *key*; return whether it was there."""
        generation = self._young if key in self._young else self._old
        entry = generation.get(key)
        if entry is None:
            return False
        self._remove(generation, key, entry)
        self.statistics.invalidated += 1
        return True

    def delete_prefix(self, prefix: str) -> int:
        """Forget every key that starts with *prefix*; return how many there were."""
        keys = [key for key in chain(self._old, self._young) if key.startswith(prefix)]
        return sum(self.delete(key) for key in keys)

    def delete_tag(self, tag: str) -> int:
        """Forget every entry whose life has *tag*; return how many there were."""
        return sum(self.delete(key) for key in list(self._tags.get(tag, ())))

    def clear(self) -> int:
        """Forget everything; return how many entries there were."""
        count = len(self)
        self.statistics.invalidated += count
        self._empty()
        return count

    def bytes_by_kind(self) -> dict[str, int]:
        """Return the bytes of the entries by what stands before the first ':' of their keys."""
        sizes: dict[str, int] = {}
        for key, entry in chain(self._old.items(), self._young.items()):
            kind = key.partition(":")[0]
            sizes[kind] = sizes.get(kind, 0) + entry.size
        return sizes
