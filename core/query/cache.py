"""The query cache: rows of a few named statements, bounded, short-lived and invalidated with the
application's caches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.caching.invalidation_log import LOADED, Selector
from core.caching.keys import KEPT_CHARACTERS, cache_key
from core.query import statements

_MOST_PARTS = 8  # of the key of rows: its kind and subjects
ENTRY_OVERHEAD = 600
"""Bytes counted for an entry beyond the text of its rows: tuples, keys and a slot."""


@dataclass(frozen=True, slots=True)
class CacheRule:
    """How the rows of a statement are addressed.

    kind: the first part of the key. subject: positions of the parameters that follow it. The key
    equals a key of the application's caches, or the beginning of one.
    """

    kind: str
    subject: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.subject) >= _MOST_PARTS:
            raise ValueError(f"a key has at most {_MOST_PARTS} parts, its kind included")

    def key(self, parameters: Sequence[Any]) -> str:
        """Return the key under which invalidation finds the rows."""
        return cache_key(self.kind, *(str(parameters[position]) for position in self.subject))


RULES = {
    statements.SITE.name: CacheRule("config", (0,)),
    statements.USER.name: CacheRule("lookup", (0,)),
    statements.USER_JOURNEY.name: CacheRule("journey", (0,)),
    statements.CONVERSION_JOURNEY.name: CacheRule("attribution", (1,)),
    statements.NAMED_CONVERSION_JOURNEY.name: CacheRule("attribution", (1,)),
    statements.OWN_CONVERSION_JOURNEY.name: CacheRule("attribution", (1,)),
    statements.CHANNEL_PERFORMANCE.name: CacheRule("channels", (0,)),
}
"""The statements behind the application's caches; the queue's reads are never cached."""


@dataclass(slots=True)
class _Entry:
    key: str
    loaded: int | None
    rows: tuple[tuple[Any, ...], ...]
    expires: float
    size: int


class QueryCache:
    """Least-recently-used rows with a TTL, at most *max_entries* of *max_bytes* together."""

    def __init__(self, *, ttl: float, max_entries: int, max_bytes: int) -> None:
        if ttl <= 0 or max_entries < 1 or max_bytes < 1:
            raise ValueError("a cache has a TTL above 0 and holds at least one entry and one byte")
        self.ttl = ttl
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[Any, ...], _Entry] = OrderedDict()
        self.bytes = 0
        self.peak_bytes = 0
        self.hits = 0
        self.generation = 0
        """Grows with every invalidation: rows read before an invalidation are not kept after it."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, query: tuple[Any, ...], now: float) -> list[tuple[Any, ...]] | None:
        """Return the rows of *query*, its statement's name and parameters, or None.

        The running load becomes as old as the load that read the rows: an invalidation between
        the two refuses the values of both.
        """
        entry = self._entries.get(query)
        if entry is None:
            return None
        if entry.expires <= now:
            self._drop(query)
            return None
        self._entries.move_to_end(query)
        self.hits += 1
        loading = LOADED.get()
        if entry.loaded is not None and loading is not None and entry.loaded < loading:
            LOADED.set(entry.loaded)
        return [*entry.rows]

    def set(
        self,
        query: tuple[Any, ...],
        key: str,
        rows: Sequence[tuple[Any, ...]],
        now: float,
        *,
        loaded: int | None = None,
    ) -> None:
        """Keep *rows* until the TTL has passed, the cache is full, or *key* is invalidated.

        loaded: the stamp of the load that read the rows. The application's key may hold a digest
        in place of a long key. Rows with so long a key are not kept: no invalidation would find
        them.
        """
        self._drop(query)
        if len(key) >= KEPT_CHARACTERS:
            return
        size = ENTRY_OVERHEAD + len(key) + len(repr(rows))
        if size > self._max_bytes:
            return
        self._entries[query] = _Entry(key, loaded, tuple(rows), now + self.ttl, size)
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, self.bytes)
        while len(self._entries) > self._max_entries or self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def invalidate(self, pattern: str) -> int:
        """Drop all entries that *pattern* reaches (see `reaches`); return their number."""
        self.generation += 1
        reached = [query for query, e in self._entries.items() if reaches(pattern, e.key)]
        for query in reached:
            self._drop(query)
        return len(reached)

    def forget(self, target: Selector) -> int:
        """Drop the rows behind the entries that *target* selects; drop all rows for a tag.

        Return 0: rows are not entries of L1.
        """
        if target.tag is not None:
            return self.forget_all()
        self.generation += 1
        if (prefix := target.prefix) is None:
            named = {part for name in target.keys for part in _keys_of_rows(name)}
            reached = [query for query, entry in self._entries.items() if entry.key in named]
        else:
            above = _keys_of_rows(prefix)
            reached = [
                query
                for query, entry in self._entries.items()
                if entry.key in above or f"{entry.key}:".startswith(prefix)
            ]
        for query in reached:
            self._drop(query)
        return 0

    def forget_all(self) -> int:
        """Drop everything; return 0, as `forget` does."""
        self.generation += 1
        self._entries.clear()
        self.bytes = 0
        return 0

    def _drop(self, query: tuple[Any, ...]) -> None:
        entry = self._entries.pop(query, None)
        if entry is not None:
            self.bytes -= entry.size


def _keys_of_rows(name: str) -> set[str]:
    """Return the keys that rows behind the application's key *name* may have.

    *name* is the key of the rows, or continues it with ':'. This also holds if *name* ends in a
    digest: rows are kept only under keys that a digest leaves whole. No character is special.
    """
    keys, end = {name}, -1
    for _ in range(_MOST_PARTS):
        end = name.find(":", end + 1)
        if end < 0:
            break
        keys.add(name[:end])
    return keys


def reaches(pattern: str, key: str) -> bool:
    """Return whether *pattern* matches *key*, a key above it, or keys below it.

    Only `*` is special: it matches any text, ':' included. A key lies below another key that it
    continues with ':'. So a pattern matches keys below *key* if the pattern, cut at one of its
    ':', matches *key*. The time is proportional to the lengths, for each cut.
    """
    if "*" not in pattern and key.startswith(pattern + ":"):
        return True
    cuts = (position for position, character in enumerate(pattern) if character == ":")
    return any(_matches(pattern[:end], key) for end in (len(pattern), *cuts))


def _matches(pattern: str, key: str) -> bool:
    first, *others = pattern.split("*")
    if not others:
        return key == pattern
    *middle, last = others
    if not key.startswith(first) or not key.endswith(last) or len(key) < len(first) + len(last):
        return False
    position, end = len(first), len(key) - len(last)
    for part in middle:
        position = key.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True
