"""The caches that `bench.caches` compares, ours and other libraries', behind one interface."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from types import SimpleNamespace
from typing import Any, Protocol

from core.caching.kv import MemoryKV
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType, Text
from core.caching.read import MISSED
from core.caching.tiered import TieredCache
from core.clock import SystemClock

VALUE = bytes(200)
LONG = 3600.0
"""The TTL in seconds of timed writes; none ends during a run."""

Now = Callable[[], float]


class Cache(Protocol):
    """One cache under measurement; `read` and `write` are the loops that are timed."""

    def read(self, keys: Sequence[str]) -> None:
        """Read each of *keys* once, as the library's users do."""

    def write(self, keys: Sequence[str]) -> None:
        """Put VALUE under each of *keys* for LONG."""

    def replay(self, accesses: Sequence[tuple[str, float]], pace: Pace) -> list[bool]:
        """Read each (key, TTL) of *accesses* and write missing ones; return which were hits."""

    def close(self) -> None:
        """Undo the changes of opening it."""


class Pace(Protocol):
    """The times of the accesses of a replay."""

    def reach(self, number: int) -> None:
        """Advance to the time of access *number*."""

    def ttl(self, seconds: float) -> float:
        """Return a TTL on the cache's scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A row of the table; open takes a bound in entries, and a clock unless it is None.

    distribution: the package to install. takes_time: whether it accepts a clock; if not, a replay
    has to run in real time. is_bounded: it has a bound in entries. is_whole: it is a whole cache,
    not only one operation of one.
    """

    name: str
    open: Callable[[int, Now | None], Cache]
    distribution: str | None = None
    takes_time: bool = True
    is_bounded: bool = True
    is_whole: bool = True
    note: str = ""


class _Direct:
    """A cache without coroutines."""

    get: Callable[[str], Any]  # None: not there

    def put(self, key: str, ttl: float) -> None:
        raise NotImplementedError

    def read(self, keys: Sequence[str]) -> None:
        get = self.get
        for key in keys:
            get(key)

    def replay(self, accesses: Sequence[tuple[str, float]], pace: Pace) -> list[bool]:
        get, put, reach, told = self.get, self.put, pace.reach, pace.ttl
        hits = []
        for number, (key, ttl) in enumerate(accesses):
            reach(number)
            is_hit = get(key) is not None
            hits.append(is_hit)
            if not is_hit:
                put(key, told(ttl))
        return hits

    def close(self) -> None:
        pass


class UnboundedDict:
    """The yardstick: a minimal cache with an expiry for each entry."""

    def __init__(self, now: Now) -> None:
        self.entries: dict[str, tuple[Any, float]] = {}
        self.now = now

    def get(self, key: str) -> Any:
        """Return the value of *key* that is valid now, or None."""
        now = self.now()
        entry = self.entries.get(key)
        if entry is None:
            return None
        return entry[0] if entry[1] > now else None

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* for *ttl* seconds."""
        self.entries[key] = (value, self.now() + ttl)


class _Dict(_Direct):
    def __init__(self, _: int, now: Now | None) -> None:
        self.cache = UnboundedDict(now or monotonic)
        self.get = self.cache.get

    def put(self, key: str, ttl: float) -> None:
        self.cache.set(key, VALUE, ttl)

    def write(self, keys: Sequence[str]) -> None:
        put = self.cache.set
        for key in keys:
            put(key, VALUE, LONG)


class _Memory(_Direct):
    def __init__(self, capacity: int, now: Now | None) -> None:
        self.cache = MemoryCache(max_entries=capacity, max_bytes=10**12)
        self.now = now or monotonic

    def get(self, key: str) -> Any:
        return self.cache.get(key, self.now())

    def put(self, key: str, ttl: float) -> None:
        self.cache.set(key, VALUE, self.now() + ttl, len(VALUE))

    def read(self, keys: Sequence[str]) -> None:
        get, now = self.cache.get, self.now
        for key in keys:
            get(key, now())

    def write(self, keys: Sequence[str]) -> None:
        put, now = self.cache.set, self.now
        for key in keys:
            put(key, VALUE, now() + LONG, len(VALUE))


class _Cachetools(_Direct):
    def __init__(self, capacity: int, now: Now | None) -> None:
        timer = {} if now is None else {"timer": now}
        self.cache = importlib.import_module("cachetools").TLRUCache(
            capacity, ttu=lambda _, value, now: now + value[1], **timer
        )
        self.get = self.cache.get

    def put(self, key: str, ttl: float) -> None:
        self.cache[key] = (VALUE, ttl)

    def write(self, keys: Sequence[str]) -> None:
        cache, value = self.cache, (VALUE, LONG)
        for key in keys:
            cache[key] = value


class _Cachebox(_Direct):
    def __init__(self, capacity: int, _: Now | None) -> None:
        self.cache = importlib.import_module("cachebox").VTTLCache(capacity)
        self.get = self.cache.get

    def put(self, key: str, ttl: float) -> None:
        self.cache.insert(key, VALUE, ttl)

    def write(self, keys: Sequence[str]) -> None:
        put = self.cache.insert
        for key in keys:
            put(key, VALUE, LONG)


class _Moka(_Direct):
    def __init__(self, capacity: int, _: Now | None) -> None:
        self.cache = importlib.import_module("moka_py").Moka(capacity)
        self.get = self.cache.get

    def put(self, key: str, ttl: float) -> None:
        self.cache.set(key, VALUE, ttl)

    def write(self, keys: Sequence[str]) -> None:
        put = self.cache.set
        for key in keys:
            put(key, VALUE, LONG)


class _Theine(_Direct):
    def __init__(self, capacity: int, now: Now | None) -> None:
        module = importlib.import_module("theine.theine")
        self.undo: Callable[[], None] = lambda: None
        if now is not None:
            self.undo = _patched(module, SimpleNamespace(monotonic_ns=lambda: int(now() * 1e9)))
        self.cache = module.Cache(capacity)
        self.lasting = timedelta(seconds=LONG)

    def get(self, key: str) -> Any:
        return self.cache.get(key)[0]

    def put(self, key: str, ttl: float) -> None:
        self.cache.set(key, VALUE, timedelta(seconds=ttl))

    def read(self, keys: Sequence[str]) -> None:
        get = self.cache.get
        for key in keys:
            get(key)

    def write(self, keys: Sequence[str]) -> None:
        put, lasting = self.cache.set, self.lasting
        for key in keys:
            put(key, VALUE, lasting)

    def close(self) -> None:
        self.undo()
        self.cache.close()


class _Awaited:
    """A cache whose get and set are coroutines, run in a loop of its own."""

    def __init__(
        self, get: Callable[[str], Awaitable[Any]], put: Callable[[str, float], Awaitable[Any]]
    ) -> None:
        self.get, self.put = get, put
        self.undo: Callable[[], None] = lambda: None
        self.runner = asyncio.Runner()

    def read(self, keys: Sequence[str]) -> None:
        async def each() -> None:
            get = self.get
            for key in keys:
                await get(key)

        self.runner.run(each())

    def write(self, keys: Sequence[str]) -> None:
        async def each() -> None:
            put = self.put
            for key in keys:
                await put(key, LONG)

        self.runner.run(each())

    def replay(self, accesses: Sequence[tuple[str, float]], pace: Pace) -> list[bool]:
        async def each() -> list[bool]:
            hits = []
            for number, (key, ttl) in enumerate(accesses):
                pace.reach(number)
                is_hit = await self.get(key) is not None
                hits.append(is_hit)
                if not is_hit:
                    await self.put(key, pace.ttl(ttl))
            return hits

        return self.runner.run(each())

    def close(self) -> None:
        self.undo()
        self.runner.close()


def _open_cashews(capacity: int, now: Now | None) -> Cache:
    module = importlib.import_module("cashews")
    cache = module.Cache()
    cache.setup("mem://", size=capacity, check_interval=0)
    made = _Awaited(cache.get, lambda key, ttl: cache.set(key, VALUE, expire=ttl))
    if now is not None:
        backend = importlib.import_module("cashews.backends.memory")
        made.undo = _patched(backend, SimpleNamespace(time=now))
    return made


def _open_aiocache(_: int, __: Now | None) -> Cache:
    cache = importlib.import_module("aiocache").SimpleMemoryCache()
    return _Awaited(cache.get, lambda key, ttl: cache.set(key, VALUE, ttl=ttl))


def _patched(module: Any, time: SimpleNamespace) -> Callable[[], None]:
    """Replace the module `time` in *module* by *time*; return a function that undoes it."""
    original = module.time
    module.time = time

    def undo() -> None:
        module.time = original

    return undo


class _Tiered(_Direct):
    """`TieredCache.peek`, the part of a read that L1 answers; writes go to L1 directly."""

    def __init__(self, capacity: int, _: Now | None) -> None:
        clock = SystemClock()
        self.clock = clock
        self.kind = CacheType(name="lookup", ttl=LONG, codec=Text())
        self.cache = TieredCache(
            MemoryCache(max_entries=capacity, max_bytes=10**12),
            MemoryKV(clock.now),
            clock,
            CachePolicy(l1_ttl=LONG),
            retain=lambda _: None,
        )

    def get(self, key: str) -> Any:
        value = self.cache.peek(self.kind, key)
        return None if value is MISSED else value

    def put(self, key: str, ttl: float) -> None:
        self.cache.l1.set(key, VALUE, expires=self.clock.now() + ttl, size=len(VALUE))

    def read(self, keys: Sequence[str]) -> None:
        peek, kind = self.cache.peek, self.kind
        for key in keys:
            peek(kind, key)

    def write(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.put(key, LONG)


YARDSTICK = Library(
    name="dict class", open=_Dict, is_bounded=False,
    note="unbounded: its hit ratio is the most that these TTLs allow, its insert evicts nothing",
)  # fmt: skip
LRU = Library(name="core.caching MemoryCache", open=_Memory)
TLRU = Library(name="cachetools.TLRUCache", open=_Cachetools, distribution="cachetools")
LIBRARIES = (
    YARDSTICK,
    LRU,
    Library(
        name="TieredCache.peek", open=_Tiered, is_whole=False,
        note="what L1 answers of a tiered read; it writes as MemoryCache does",
    ),
    TLRU,
    Library(
        name="cachebox.VTTLCache", open=_Cachebox, distribution="cachebox", takes_time=False,
        note="evicts what expires next",
    ),
    Library(
        name="moka_py", open=_Moka, distribution="moka-py", takes_time=False,
        note="TinyLFU; its clean-up works in steps of about 1 s of real time, so in the replay "
        "what has expired keeps its place until it is asked for or evicted",
    ),
    Library(
        name="theine", open=_Theine, distribution="theine",
        note="W-TinyLFU; in the replay its reads see the replay's clock, but its clean-up does "
        "not: what has expired keeps its place until it is asked for or evicted",
    ),
    Library(name="cashews (mem)", open=_open_cashews, distribution="cashews", note="awaited"),
    Library(
        name="aiocache (memory)", open=_open_aiocache, distribution="aiocache", takes_time=False,
        is_bounded=False, note="awaited; unbounded: nothing to evict and no ratio at a size",
    ),
)  # fmt: skip
