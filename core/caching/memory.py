"""L1: the cache in an isolate's own memory, bounded in entries and in bytes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
from typing import Any

ENTRY_OVERHEAD = 300
"""Bytes that an entry costs beyond its key and encoded value (`python -m bench.sizes`)."""

Entry = tuple[Any, float, int]
"""value (None: known to be absent), absolute expiry in seconds of the clock, size in bytes."""


@dataclass(slots=True)
class MemoryStatistics:
    """How often each thing happened since the cache was made."""

    hits: int = 0
    misses: int = 0
    expired: int = 0
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
    and goes when it is next asked for or reaches the cold end.
    """

    __slots__ = ("_entries", "bytes", "max_bytes", "max_entries", "peak_bytes", "statistics")

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        if max_entries < 1 or max_bytes < 1:
            raise ValueError("a cache holds at least one entry and one byte")
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self.peak_bytes = 0
        self.statistics = MemoryStatistics()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now: float) -> Entry | None:
        """Return the entry of *key* that is still valid at *now*, or None."""
        entry = self._entries.get(key)
        if entry is None:
            self.statistics.misses += 1
            return None
        if entry[1] <= now:
            del self._entries[key]
            self.bytes -= entry[2]
            self.statistics.expired += 1
            return None
        self._entries.move_to_end(key)
        self.statistics.hits += 1
        return entry

    def set(self, key: str, value: Any, *, expires: float, size: int) -> None:
        """Keep *value* until *expires*; *size* is that of the encoded value in bytes.

        A value that alone exceeds the byte bound is refused and counted.
        """
        size += len(key) + ENTRY_OVERHEAD
        entries = self._entries
        old = entries.pop(key, None)
        if old is not None:
            self.bytes -= old[2]
        if size > self.max_bytes:
            self.statistics.refused += 1
            return
        entries[key] = (value, expires, size)
        self.bytes += size
        while len(entries) > self.max_entries or self.bytes > self.max_bytes:
            _, victim = entries.popitem(last=False)
            self.bytes -= victim[2]
            self.statistics.evicted += 1
        if self.bytes > self.peak_bytes:
            self.peak_bytes = self.bytes

    def delete(self, key: str) -> bool:
        """Forget *key*; return whether it was there."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.bytes -= entry[2]
        self.statistics.invalidated += 1
        return True

    def delete_prefix(self, prefix: str) -> int:
        """Forget every key that starts with *prefix*; return how many there were."""
        keys = [key for key in self._entries if key.startswith(prefix)]
        for key in keys:
            self.delete(key)
        return len(keys)

    def clear(self) -> int:
        """Forget everything; return how many entries there were."""
        return self.delete_prefix("")
