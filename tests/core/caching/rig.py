"""What claims about the tiered cache stand on: isolates, a store with faults, made-up time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from core.caching.breaker import CircuitBreaker
from core.caching.channel import InvalidationChannel
from core.caching.envelope import Envelope, unseal
from core.caching.faulty_kv import FaultyKV
from core.caching.invalidation import Invalidator, Removed
from core.caching.invalidation_log import InvalidationLog, Selector
from core.caching.kv import MemoryKV, StoreItem
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy, CacheType, Text
from core.caching.read import Load
from core.caching.statistics import TieredStatistics
from core.caching.tiered import TieredCache
from core.clock import ManualClock, epoch_ms
from core.context import CURRENT, Purpose, Span

TTL = 100.0
L1_TTL = 60.0
NEGATIVE_TTL = 30.0
KIND = CacheType(name="lookup_data", ttl=TTL, codec=Text(), prefix="user")
KEY = "user:u1"
HORIZON = 1_000.0

TARGETS = {
    "key": Selector(keys=(KEY,)),
    "prefix": Selector(prefix="user:"),
    "tag": Selector(tag="users"),
    "everything": Selector(prefix=""),
}
"""Invalidations that all reach KEY under the tag users."""

POLICY = CachePolicy(l1_ttl=L1_TTL, negative_ttl=NEGATIVE_TTL)

_T = TypeVar("_T")


def switched(**switches: Any) -> CachePolicy:
    """Return POLICY with other *switches*."""
    return replace(POLICY, **switches)


class _Jumps(selectors.SelectSelector):
    """Moves the clock to the next timer instead of waiting for it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on *clock*: where it would have to wait, the clock jumps."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_Jumps(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.now()


class Store(MemoryKV):
    """A store that writes down what is put into it, and by which slot of a request."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.puts: list[StoreItem] = []
        self.slots: list[int] = []

    async def put(self, *items: StoreItem) -> None:
        self.puts += items
        if (operation := CURRENT.get(None)) is not None:
            self.slots.append(operation.slot)
        await super().put(*items)


class Loads:
    """Loads that end when the test says so."""

    def __init__(self) -> None:
        self.started: list[asyncio.Future[bytes | None]] = []

    async def __call__(self) -> bytes | None:
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self.started.append(future)
        return await future


class ManyLoads:
    """Loads of many keys that end when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.started: list[asyncio.Future[Mapping[str, Any]]] = []

    async def __call__(self, keys: Sequence[str]) -> Mapping[str, Any]:
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self.asked.append(tuple(keys))
        self.started.append(future)
        return await future


@dataclass(kw_only=True)
class Rig:
    """The isolates of one process above a store, on a clock that jumps where the test waits.

    beside: another process, whose clock and store this one shares.
    """

    policy: CachePolicy = POLICY
    isolates: int = 2
    max_entries: int = 100
    max_bytes: int = 10**6
    kind: CacheType[Any] = KIND
    uniform: Callable[[Purpose], float] | None = None
    breaker: CircuitBreaker | None = None
    horizon: float = HORIZON
    name: str = "here"
    channel: InvalidationChannel | None = None
    beside: Rig | None = None
    background: list[asyncio.Task[Any]] = field(default_factory=list)
    span: Span = field(default_factory=Span)

    def __post_init__(self) -> None:
        if self.beside is None:
            self.clock = ManualClock()
            self.store = Store(self.clock.now)
            self.kv = FaultyKV(self.store, asyncio.sleep)
        else:
            self.clock, self.store, self.kv = self.beside.clock, self.beside.store, self.beside.kv
        log = InvalidationLog(lambda: epoch_ms(self.clock), horizon=self.horizon)
        self.invalidator = Invalidator(self.kv, log, name=self.name, channel=self.channel)
        self.caches = [
            TieredCache(
                MemoryCache(max_entries=self.max_entries, max_bytes=self.max_bytes),
                self.kv,
                self.clock,
                self.policy,
                retain=self.background.append,
                breaker=self.breaker,
                invalidator=self.invalidator,
                uniform=self.uniform,
            )
            for _ in range(self.isolates)
        ]

    def run(self, main: Coroutine[Any, Any, _T]) -> _T:
        """Return what *main* returns on a loop whose time is this rig's."""
        with asyncio.Runner(loop_factory=lambda: JumpingLoop(self.clock)) as runner:
            return runner.run(main)

    @property
    def codes(self) -> list[int]:
        """The outcome of every read so far."""
        return [code for _, code in self.span.reads]

    @property
    def statistics(self) -> TieredStatistics:
        """The counts of all isolates."""
        total = TieredStatistics()
        for cache in self.caches:
            total.add(cache.statistics)
        return total

    def calls(self, operation: str) -> list[int]:
        """Return the number of keys of each round trip of *operation*."""
        return {str(name): sizes for name, sizes in self.kv.calls.items()}.get(operation, [])

    def get(
        self,
        load: Load,
        *,
        isolate: int = 0,
        key: str = KEY,
        tags: tuple[str, ...] = (),
    ) -> Coroutine[Any, Any, Any]:
        """Return a read of *key* that misses into *load*."""
        return self.caches[isolate].get(self.kind, key, load, self.span, "lookup", tags)

    async def read(
        self,
        value: bytes | None = b"v",
        *,
        isolate: int = 0,
        key: str = KEY,
        takes: float = 0.0,
        tags: tuple[str, ...] = (),
    ) -> bytes | None:
        """Read *key*; a load takes *takes* seconds and finds *value*. What can end, has ended."""

        async def load() -> bytes | None:
            await asyncio.sleep(takes)
            return value

        answer: bytes | None = await self.get(load, isolate=isolate, key=key, tags=tags)
        await settle()
        return answer

    async def invalidate(
        self, *keys: str, prefix: str | None = None, tag: str | None = None
    ) -> Removed:
        """Invalidate *keys*, or what has *prefix* or *tag*."""
        return await self.invalidator.invalidate(
            Selector(keys=tuple(map(self.kind.key, keys)), prefix=prefix, tag=tag)
        )

    async def in_l2(self, key: str = KEY) -> Envelope | None:
        """Return what the store holds of *key*, its faults aside."""
        (data,) = await self.store.get(self.kind.key(key))
        return None if data is None else unseal(self.kind, data)


async def settle() -> None:
    """Let everything run that can run at this instant."""
    for _ in range(12):
        await asyncio.sleep(0)


async def failing() -> bytes | None:
    """Load what cannot be loaded."""
    raise RuntimeError("the database is on fire")


async def forbidden() -> bytes | None:
    """Load what must not be loaded."""
    raise AssertionError("nothing may be loaded here")


def always(value: Any) -> Load:
    """Return a load that finds *value* at once."""

    async def load() -> Any:
        return value

    return load


class Draws:
    """Random numbers that the test hands out, and how many of each purpose were taken."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)
        self.purposes: list[Purpose] = []

    def __call__(self, purpose: Purpose) -> float:
        self.purposes.append(purpose)
        return self.numbers.pop(0)
