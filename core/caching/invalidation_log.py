"""The log of invalidations: refuses older loads, for as long as L2 may serve older values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

MAX_RECORDS = 100_000
MAX_PREFIXES = 1_000
"""Beyond these the oldest stamps become one that covers every key: more is refused, never less."""


LOADED: ContextVar[int | None] = ContextVar("loaded", default=None)
"""The stamp of what the running load has found: that of its start, or an older one if it took
something that an earlier load had read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """What an invalidation names: whole keys, or everything with a prefix, or with a tag."""

    keys: tuple[str, ...] = ()
    prefix: str | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        given = (bool(self.keys), self.prefix is not None, self.tag is not None)
        if sum(given) != 1:
            raise ValueError("an invalidation names keys, a prefix or a tag: one of them")


class _Record(NamedTuple):
    table: dict[str, int]
    name: str
    stamp: int


class InvalidationLog:
    """The invalidations of one process, on a clock that orders them against its loads.

    Stamps order loads and invalidations of the same millisecond: a load that begins after an
    invalidation has a later stamp, a load that began before it has not. now_ms: epoch milliseconds;
    horizon: seconds for which L2 may go on to serve a value that was loaded before.
    """

    __slots__ = (
        "_barrier", "_horizon_ms", "_keys", "_last_invalidation", "_last_load", "_now_ms",
        "_oldest", "_prefixes", "_records", "_tags", "bars",
    )  # fmt: skip

    def __init__(self, now_ms: Callable[[], int], *, horizon: float) -> None:
        if horizon <= 0:
            raise ValueError(f"horizon is {horizon}; it is more than 0 s")
        self._now_ms = now_ms
        self._horizon_ms = int(horizon * 1000)
        self._keys: dict[str, int] = {}
        self._prefixes: dict[str, int] = {}
        self._tags: dict[str, int] = {}
        self._oldest = -1  # everything loaded up to here is refused
        self._barrier = -1  # loads here that began up to here are refused
        self.bars = 0  # how often loads were barred
        self._last_load = self._last_invalidation = -1
        self._records: deque[_Record] = deque()

    def __len__(self) -> int:
        return len(self._records)

    @property
    def is_active(self) -> bool:
        """Whether anything is refused at all."""
        return bool(self._records) or self._oldest >= 0

    def cover(self, seconds: float) -> None:
        """Remember invalidations for at least *seconds*: L2 keeps a value for that long."""
        if seconds * 1000 > self._horizon_ms:
            self._horizon_ms = int(seconds * 1000) + 1

    def load(self, now_ms: int | None = None) -> int:
        """Return the stamp of a load that begins now; *now_ms*: where the caller knows it."""
        stamp = self._now_ms() if now_ms is None else now_ms
        if stamp <= self._last_invalidation:
            stamp = self._last_invalidation + 1
        if stamp > self._last_load:
            self._last_load = stamp
        return stamp

    def invalidate(self, target: Selector) -> None:
        """Refuse from now on values that were loaded before, here or elsewhere."""
        now = self._now_ms()
        stamp = self._last_invalidation = max(now, self._last_load, self._last_invalidation)
        self._forget(now)
        if target.prefix == "":
            self._oldest = stamp  # everything
        elif target.prefix is not None:
            self._record(self._prefixes, target.prefix, stamp)
        elif target.tag is not None:
            self._record(self._tags, target.tag, stamp)
        for key in target.keys:
            self._record(self._keys, key, stamp)
        while len(self._records) > MAX_RECORDS or len(self._prefixes) > MAX_PREFIXES:
            self._oldest = max(self._oldest, self._drop())

    def clear(self) -> None:
        """Refuse no stored value any more: the stores have been emptied."""
        for table in (self._keys, self._prefixes, self._tags):
            table.clear()
        self._records.clear()
        self._oldest = -1

    def refuse_loads_in_flight(self) -> None:
        """Refuse every load of this process that is in flight, and what L2 is being asked for."""
        self.bars += 1
        self._barrier = self._last_invalidation = max(
            self._now_ms(), self._last_load, self._last_invalidation
        )

    def refuses_load(self, key: str, tags: tuple[str, ...], stamp: int) -> bool:
        """Return whether a load of this process that began at *stamp* came too late."""
        return stamp <= self._barrier or self.refuses(key, tags, stamp)

    def refuses(self, key: str, tags: tuple[str, ...], loaded_ms: int) -> bool:
        """Return whether a value of *key* with *tags* is older than an invalidation of it."""
        if loaded_ms <= self._oldest:
            return True
        if not self._records:
            return False
        if self._keys.get(key, -1) >= loaded_ms:
            return True
        for tag in tags:
            if self._tags.get(tag, -1) >= loaded_ms:
                return True
        for prefix, stamp in self._prefixes.items():
            if stamp >= loaded_ms and key.startswith(prefix):
                return True
        return False

    def _record(self, table: dict[str, int], name: str, stamp: int) -> None:
        table[name] = stamp
        self._records.append(_Record(table, name, stamp))

    def _forget(self, now: int) -> None:
        """Drop records whose older values no store can serve any more."""
        records = self._records
        while records and records[0].stamp + self._horizon_ms < now:
            self._drop()

    def _drop(self) -> int:
        record = self._records.popleft()
        if record.table.get(record.name) == record.stamp:
            del record.table[record.name]
        return record.stamp
