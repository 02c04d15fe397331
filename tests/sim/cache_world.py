"""A small world around the shipped tiered caches, drawn from a seed and run on simulated time.

Requests, writes, invalidations, cancelled tasks and faults of L2 and of the database meet one or
two processes; everything that happens is taken down. Run as `python -m tests.sim.cache_world
SEED...` it prints what happened.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import simpy

from core.caching.breaker import CircuitBreaker
from core.caching.channel import LocalBus, LocalChannel
from core.caching.edge_kv import EdgeKV, WriteLimit
from core.caching.envelope import unseal
from core.caching.invalidation import Invalidator
from core.caching.invalidation_log import InvalidationLog, Selector
from core.caching.kv import KVStore, MemoryKV, StoreItem
from core.caching.memory import MemoryCache
from core.caching.policy import CacheType, Text
from core.caching.read import MISSED
from core.caching.tiered import TieredCache
from core.clock import DATA_EPOCH_MS, epoch_ms
from core.context import CURRENT, Purpose, Span, begin
from core.distributions import Distribution
from core.emulation.faults import FaultSchedule
from core.emulation.kv import DelayedKV
from core.endpoints import CDP
from core.errors import StoreError
from core.streams import Stream
from sim.loop import SimLoop
from tests.sim.cache_plan import EDGE_TTL, KEYS, TAGS, Act, Plan, draw_plan

NAMES = ("config", "lookup")
HORIZON = 100_000.0

_DRAWN = (
    Purpose.L2_READ, Purpose.L2_WRITE, Purpose.L2_READ_FATE, Purpose.L2_WRITE_FATE,
    Purpose.L3_ROUND_TRIP, Purpose.L3_EXECUTION, Purpose.L3_FATE,
    Purpose.TTL_JITTER, Purpose.EARLY_REFRESH,
)  # fmt: skip


class LoadFailed(StoreError):
    """The database did not answer."""


# What is taken down. "began" and "ended" are places in the order of everything that happened.


@dataclass(slots=True, kw_only=True)
class Loaded:
    """One load of one key, or one value that `set_many` was given; version None: absent."""

    number: int
    isolate: int
    key: str
    asked: int
    """When the read that it is for began."""
    began: int
    began_at: float
    is_set: bool = False
    ended: int | None = None
    version: int | None = None
    how: str = ""


@dataclass(slots=True, kw_only=True)
class Answered:
    """One read; code is None in a batch, and where the read was cancelled or failed."""

    row: int
    isolate: int
    key: str
    began: int
    since: int
    """When its request began, where L1 is the request's own; else *began*."""
    began_at: float
    has_fallback: bool
    ended: int = 0
    ended_at: float = 0.0
    how: str = ""
    code: int | None = None
    value: Loaded | None = None
    l2_wait: float = 0.0


@dataclass(slots=True, kw_only=True)
class Changed:
    """One invalidation or `set_many`; heard: when each other process was told."""

    row: int
    process: int
    target: Selector
    began: int
    began_at: float
    is_set: bool
    ended: int | None = None
    ended_at: float = 0.0
    how: str = ""
    heard: dict[int, int] = field(default_factory=dict)

    def covers(self, key: str, *, has_tags: bool) -> bool:
        """Return whether *key* was to be forgotten."""
        target = self.target
        if target.prefix is not None:
            return key.startswith(target.prefix)
        if target.tag is not None:
            return has_tags and target.tag in TAGS[key]
        return key in target.keys


@dataclass(slots=True)
class Happened:
    """What happened in a world."""

    plan: Plan
    lines: list[str] = field(default_factory=list)
    reads: list[Answered] = field(default_factory=list)
    loads: list[Loaded] = field(default_factory=list)
    changes: list[Changed] = field(default_factory=list)
    puts: dict[int, list[int]] = field(default_factory=dict)
    """By number of the load: when it reached L2."""
    gaps: list[tuple[int, float]] = field(default_factory=list)
    noted: list[list[tuple[str, int]]] = field(default_factory=list)
    """By isolate: the cache type and outcome of each read that a span took down."""
    load_calls: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What was seen to be wrong when it happened."""
    caches: list[TieredCache] = field(default_factory=list)
    stores: list[DelayedKV] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    """When what the first process sees in L2 at the end was put there, by key."""

    def log(self) -> str:
        """Return the log and the final statistics as text."""
        final = [f"{cache.statistics!r} {cache.l1.statistics!r}" for cache in self.caches]
        return "\n".join([repr(self.plan.policy), *self.lines, *final]) + "\n"


_CHANGE: ContextVar[Changed] = ContextVar("change")


class Platform:
    """Simulated time and the numbers of the running operation; nothing costs CPU."""

    origin_ms = DATA_EPOCH_MS

    def __init__(self, loop: SimLoop, seed: int) -> None:
        self._loop = loop
        self.numbers = {p: Stream(seed, p, width=CDP.slot_count) for p in _DRAWN}

    def now(self) -> float:
        """Return the simulated time."""
        return self._loop.time()

    def until(self, when: float) -> Awaitable[None]:
        """Return what is done at *when*."""
        return self._loop.until(when)

    def uniform(self, purpose: Purpose) -> float:
        """Return the number of the running operation for *purpose*."""
        operation = CURRENT.get()
        return self.numbers[purpose].at(operation.span.row, operation.slot)

    def sampler(self, purpose: Purpose, distribution: Distribution) -> Callable[[], float]:
        """Return what samples *distribution* at the operation's number for *purpose*."""
        return lambda: distribution.sample(self.uniform(purpose))

    def charge(self, tier: str) -> float:
        """Return now."""
        return self._loop.time()


class SlowDeletes(DelayedKV):
    """The emulated store, whose deletes take time and may fail."""

    def __init__(self, store: KVStore, plan: Plan, platform: Platform) -> None:
        super().__init__(store, plan.tier, FaultSchedule(plan.faults), platform)
        self._plan = plan
        self._world = platform

    async def delete(self, *keys: str) -> int:
        """Forget *keys*."""
        await self._suffer()
        return await super().delete(*keys)

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*."""
        await self._suffer()
        return await super().delete_prefix(prefix)

    async def delete_tag(self, tag: str) -> int:
        """Forget all keys that were put under *tag*."""
        await self._suffer()
        return await super().delete_tag(tag)

    async def _suffer(self) -> None:
        plan, world = self._plan, self._world
        if plan.slowest_delete:
            takes = plan.snap(plan.slowest_delete * world.uniform(Purpose.L2_WRITE))
            await world.until(world.now() + takes)
        if plan.delete_fails and world.uniform(Purpose.L2_WRITE_FATE) < plan.delete_fails:
            raise StoreError("L2 did not delete")


class Watched:
    """A store that tells of every value that reaches it; *held*: what it has, by key."""

    def __init__(self, store: KVStore, on_put: Callable[[str, bytes], int]) -> None:
        self._store = store
        self._on_put = on_put
        self.held: dict[str, int] = {}

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return the values in the order of *keys*."""
        return await self._store.get(*keys)

    async def put(self, *items: StoreItem) -> None:
        """Keep *items*."""
        await self._store.put(*items)
        for item in items:
            self.held[item.key] = self._on_put(item.key, item.value)

    async def delete(self, *keys: str) -> int:
        """Forget *keys*."""
        for key in keys:
            self.held.pop(key, None)
        return await self._store.delete(*keys)

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*."""
        self.held = {k: seen for k, seen in self.held.items() if not k.startswith(prefix)}
        return await self._store.delete_prefix(prefix)

    async def delete_tag(self, tag: str) -> int:
        """Forget all keys that were put under *tag*."""
        self.held = {k: seen for k, seen in self.held.items() if tag not in TAGS[k]}
        return await self._store.delete_tag(tag)

    async def close(self) -> None:
        """Nothing to close."""


class World:
    """One run of a plan."""

    def __init__(self, plan: Plan, loop: SimLoop) -> None:
        self.plan = plan
        self.loop = loop
        self.happened = Happened(plan)
        self._order = count()
        self._platform = Platform(loop, plan.seed)
        self._kinds = {
            name: CacheType(name=name, ttl=ttl, codec=Text()) for name, ttl in plan.ttls.items()
        }
        self._versions = dict.fromkeys(KEYS, 0)
        self._background: dict[asyncio.Task[Any], None] = {}
        self._bus = LocalBus(self._deliver)
        self._views: list[Watched] = []
        self._invalidators: list[Invalidator] = []
        self._left = len(plan.acts)
        self._over: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(lambda _, what: self.happened.faults.append(f"asyncio: {what}"))
        self._build()

    def _build(self) -> None:
        plan, now, happened = self.plan, self._platform.now, self.happened
        memory = MemoryKV(now)
        shared = Watched(memory, self._note_put)
        limit = WriteLimit(now)
        for process in range(plan.processes):
            view = shared
            if plan.is_eventual:
                edge = EdgeKV(memory, now, cache_ttl=EDGE_TTL, limit=limit)
                view = Watched(edge, self._note_put)
            self._views.append(view)
            store = SlowDeletes(view, plan, self._platform)
            happened.stores.append(store)
            log = InvalidationLog(lambda: epoch_ms(self._platform), horizon=HORIZON)
            channel = LocalChannel(self._bus) if plan.has_channel else None
            invalidator = Invalidator(store, log, name=f"p{process}", channel=channel)
            self._invalidators.append(invalidator)
            failures, open_for = plan.breaker
            breaker = CircuitBreaker(failures=failures, open_for=open_for)
            for _ in range(plan.isolates):
                l1 = MemoryCache(max_entries=plan.max_entries, max_bytes=plan.max_bytes)
                cache = TieredCache(
                    l1, store, self._platform, plan.policy, retain=self._retain,
                    breaker=breaker, invalidator=invalidator, uniform=self._platform.uniform,
                )  # fmt: skip
                happened.caches.append(cache)
                happened.noted.append([])
                happened.load_calls.append(0)

    def run(self) -> Happened:
        """Let everything happen until nothing is left to do."""
        acts = self.plan.acts
        for act in acts:
            if act.is_early:
                self._start(act, act.at)
        late = [act for act in acts if not act.is_early]
        self.loop.run(
            self._main(),
            [act.at for act in late],
            lambda position: self._start(late[position], self.loop.time()),
        )
        self.happened.held = self._views[0].held
        for isolate, cache in enumerate(self.happened.caches):
            if cache.flights:
                self.happened.faults.append(f"isolate {isolate}: {list(cache.flights)} in flight")
        return self.happened

    async def _main(self) -> None:
        for invalidator in self._invalidators:
            await invalidator.listen()
        if self.plan.has_channel and self.plan.cut is not None:
            self.loop.call_at(self.plan.cut[1], self._reconnect)
        if self._left:
            await self._over
        while self._background:
            await asyncio.gather(*self._background)  # a done task alone would not let others run

    def _retain(self, task: asyncio.Task[Any]) -> None:
        self._background[task] = None
        task.add_done_callback(self._background.pop)

    def _start(self, act: Act, now: float) -> None:
        perform = self._perform(act)
        if act.cancel_after is None:
            self.loop.start_at(now, perform)
        else:
            self.loop.call_at(now, self._start_task, perform, act.cancel_after)

    def _start_task(self, perform: Coroutine[Any, Any, None], cancel_after: float) -> None:
        task = self.loop.create_task(perform)
        self.loop.call_later(cancel_after, task.cancel)

    def _note(self, isolate: int, key: str, what: str, outcome: object, version: object) -> int:
        """Write a line of the log; return its place in the order of everything."""
        place = next(self._order)
        self.happened.lines.append(
            f"{self.loop.time()!r} {isolate} {key} {what} {outcome} {version}"
        )
        for number, cache in enumerate(self.happened.caches):
            l1 = cache.l1
            if l1.bytes > l1.max_bytes or len(l1) > l1.max_entries:
                self.happened.faults.append(f"isolate {number}: L1 holds more than its bounds")
            if sum(l1.bytes_by_kind().values()) != l1.bytes:
                self.happened.faults.append(f"isolate {number}: L1 has lost count of its bytes")
        return place

    # The channel between processes.

    def _deliver(self, delivery: Callable[[], None]) -> None:
        change, cut = _CHANGE.get(), self.plan.cut
        if cut is not None and cut[0] <= self.loop.time() < cut[1]:
            return

        def arrive() -> None:
            delivery()
            for process in range(self.plan.processes):
                if process != change.process:
                    place = self._note(process, "-", "heard", change.row, "-")
                    change.heard[process] = place

        if self.plan.channel_delay:
            self.loop.call_later(self.plan.channel_delay, arrive)
        else:
            arrive()

    def _reconnect(self) -> None:
        self._bus.interrupt()
        self.happened.gaps.append((self._note(-1, "-", "gap", "-", "-"), self.loop.time()))

    # L2 and the database.

    def _note_put(self, key: str, sealed: bytes) -> int:
        envelope = unseal(self._kinds[key[0]], sealed)
        number = -1 if envelope.value is None else int(envelope.value.split(b":")[0])
        place = self._note(-1, key, "put", "-", number)
        self.happened.puts.setdefault(number, []).append(place)
        return place

    def _load_begins(
        self, isolate: int, keys: Sequence[str], *, asked: int, is_set: bool = False
    ) -> list[Loaded]:
        loads = self.happened.loads
        new = []
        for key in keys:
            place = self._note(isolate, key, "set" if is_set else "load", "-", "-")
            new.append(
                Loaded(
                    number=len(loads), isolate=isolate, key=key, asked=asked, began=place,
                    began_at=self.loop.time(), is_set=is_set,
                )
            )  # fmt: skip
            loads.append(new[-1])
        return new

    def _load_ends(self, loads: Iterable[Loaded], how: str) -> None:
        for load in loads:
            load.how = how
            load.ended = self._note(load.isolate, load.key, "loaded", how, load.version)

    def _version(self, key: str) -> int | None:
        version = self._versions[key]
        return None if version % 5 == 4 else version

    @staticmethod
    def _value(load: Loaded) -> bytes | None:
        if load.version is None:
            return None
        return f"{load.number}:".encode().ljust(8 + 60 * (load.number % 5))

    async def _load(self, isolate: int, keys: Sequence[str], asked: int) -> dict[str, bytes | None]:
        """Load *keys* as the database holds them at one moment on the way."""
        plan, uniform, now = self.plan, self._platform.uniform, self.loop.time
        self.happened.load_calls[isolate] += 1
        loads, began = self._load_begins(isolate, keys, asked=asked), now()
        low, high = plan.load_time
        takes = low + (high - low) * uniform(Purpose.L3_ROUND_TRIP)
        seen = began + plan.snap(takes * uniform(Purpose.L3_EXECUTION))
        ends = max(seen, began + plan.snap(takes))
        fails = uniform(Purpose.L3_FATE) < plan.load_fails or (
            plan.no_loads is not None and plan.no_loads[0] <= began < plan.no_loads[1]
        )
        try:
            await self.loop.until(seen)
            for load in loads:
                load.version = self._version(load.key)
            await self.loop.until(ends)
        except BaseException:
            self._load_ends(loads, "cancelled")
            raise
        self._load_ends(loads, "failed" if fails else "loaded")
        if fails:
            raise LoadFailed("the database did not answer")
        # What is absent is left out or None.
        return {
            load.key: self._value(load)
            for load in loads
            if load.version is not None or load.number % 2
        }

    # What is done.

    async def _perform(self, act: Act) -> None:
        try:
            if act.what == "request":
                await self._request(act)
            elif act.what == "many":
                await self._get_many(act)
            else:
                await self._change(act)
        except (asyncio.CancelledError, StoreError):
            pass
        except BaseException as error:
            self.happened.faults.append(f"act {act.row} ({act.what}): {error!r}")
        self._left -= 1
        if self._left == 0:
            self._over.set_result(None)

    def _begin_read(self, act: Act, key: str, cache: TieredCache, since: int | None) -> Answered:
        place = self._note(act.isolate, key, "read", act.row, "-")
        policy, now = self.plan.policy, self.loop.time()
        keeps = policy.stale_if_error > 0
        read = Answered(
            row=act.row, isolate=act.isolate, key=key, began=place,
            since=place if since is None else since, began_at=now,
            has_fallback=(
                keeps and key not in cache.flights and cache.l1.retained(key, now) is not None
            ),
        )  # fmt: skip
        self.happened.reads.append(read)
        return read

    def _end_read(self, read: Answered, span: Span, how: str, value: bytes | None) -> None:
        if how == "answered" and value is not None:
            read.value = self.happened.loads[int(value.split(b":")[0])]
        version = read.value.version if read.value is not None else "-"
        outcome = f"{how} {read.code}"
        read.how, read.ended_at = how, self.loop.time()
        read.ended = self._note(read.isolate, read.key, "answer", outcome, version)
        read.l2_wait = max((s for name, s in span.stages if name == "l2"), default=0.0)

    def _tags(self, key: str) -> tuple[str, ...]:
        return TAGS[key] if self.plan.has_tags else ()

    async def _request(self, act: Act) -> None:
        cache, since = self.happened.caches[act.isolate], None
        if self.plan.is_scoped:
            cache, since = cache.request_scoped(), self._note(act.isolate, "-", "in", act.row, "-")
        for name, key in zip(NAMES, act.keys, strict=False):
            span = Span(act.row)
            read = self._begin_read(act, key, cache, since)
            how, value = "cancelled", None

            async def load(key: str = key, asked: int = read.began) -> bytes | None:
                return (await self._load(act.isolate, (key,), asked)).get(key)

            kind = self._kinds[key[0]]
            try:
                value = await cache.get(kind, key, load, span, name, self._tags(key))
                how = "answered"
            except StoreError:
                how = "failed"
                raise
            finally:
                if span.reads:
                    read.code = span.reads[-1][1]
                if len(span.reads) > 1 or (how != "cancelled" and not span.reads):
                    self.happened.faults.append(f"read {act.row} was counted {span.reads}")
                self._count(act.isolate, key, span)
                self._end_read(read, span, how, value)

    async def _get_many(self, act: Act) -> None:
        cache, span = self.happened.caches[act.isolate], Span(act.row)
        reads = [self._begin_read(act, key, cache, None) for key in act.keys]
        how = "cancelled"
        values: dict[str, Any] = {}

        async def load(keys: Sequence[str]) -> dict[str, bytes | None]:
            return await self._load(act.isolate, keys, reads[0].began)

        kind, tags = self._kinds[act.keys[0][0]], self._tags(act.keys[0])
        try:
            values = await cache.get_many(kind, act.keys, load, span, NAMES[0], tags)
            how = "answered"
            if list(values) != list(act.keys) or MISSED in values.values():
                self.happened.faults.append(f"get_many {act.row} of {act.keys} gave {values}")
        except StoreError:
            how = "failed"
            raise
        finally:
            if len(span.reads) != len(act.keys) and how == "answered":
                self.happened.faults.append(f"get_many {act.row} was counted {span.reads}")
            self._count(act.isolate, act.keys[0], span)
            for read in reads:
                read.has_fallback = False
                self._end_read(read, span, how, values.get(read.key))

    def _count(self, isolate: int, key: str, span: Span) -> None:
        self.happened.noted[isolate] += [(key[0], code) for _, code in span.reads]

    async def _change(self, act: Act) -> None:
        begin(Span(act.row), "write")
        cache = self.happened.caches[act.isolate]
        for key in KEYS if act.what in ("prefix", "tag", "all") else act.keys:
            self._versions[key] += 1
        self._note(act.isolate, "-", "write", act.keys, "-")
        await self.loop.until(self.loop.time() + act.commit)
        if act.target is None:
            return  # nobody is told
        process = act.isolate // self.plan.isolates
        change = Changed(
            row=act.row, process=process, target=act.target, is_set=act.what == "set",
            began=self._note(act.isolate, "-", "change", act.row, "-"),
            began_at=self.loop.time(),
        )  # fmt: skip
        self.happened.changes.append(change)
        _CHANGE.set(change)
        statistics = cache.statistics
        before = (statistics.l2_write_errors, statistics.l2_skipped)
        change.how = "cancelled"
        try:
            if act.what == "set":
                await self._set_many(act, cache)
            elif act.what == "delete_many":
                await cache.delete_many(self._kinds[act.keys[0][0]], act.keys)
            else:
                await cache.invalidator.invalidate(act.target)
            change.how = "done"
        except StoreError:
            change.how = "failed"
            raise
        finally:
            change.ended = self._note(act.isolate, "-", "changed", change.how, "-")
            change.ended_at = self.loop.time()
            if (statistics.l2_write_errors, statistics.l2_skipped) != before:
                change.how = "failed"
            self._check_l2(change)

    async def _set_many(self, act: Act, cache: TieredCache) -> None:
        loads = self._load_begins(act.isolate, act.keys, asked=0, is_set=True)
        for load in loads:
            load.version = self._version(load.key)
        self._load_ends(loads, "set")
        values = {load.key: self._value(load) for load in loads}
        await cache.set_many(self._kinds[act.keys[0][0]], values, self._tags(act.keys[0]))

    def _check_l2(self, change: Changed) -> None:
        """Note it if L2 still has what it was to lose."""
        policy, tier = self.plan.policy, self.plan.tier
        if change.how != "done" or self.plan.is_eventual:
            return
        if change.is_set and 0 < policy.negative_ttl * (1 - policy.ttl_jitter) <= tier.timeout:
            return  # the emulated store writes nothing whose life ends on its way
        for key, place in self._views[change.process].held.items():
            if change.covers(key, has_tags=self.plan.has_tags) and place < change.began:
                self.happened.faults.append(f"change {change.row} left {key} in L2")


def happen(seed: int) -> Happened:
    """Return what happens in the world of *seed*; RuntimeError if something never ends."""
    loop = SimLoop(simpy.Environment())
    try:
        return World(draw_plan(seed), loop).run()
    finally:
        loop.close()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(happen(int(argument)).log())
