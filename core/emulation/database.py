"""Stores that take the time a scenario says: its latencies and faults in front of a real store.

The simulation and the reference service use the same adapters. What differs is passed in: how to
wait until a time, where random numbers come from, and what a CPU is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import NoReturn, Protocol, TypeVar

from core.caching.kv import KVStore, StoreItem, require_life
from core.context import CURRENT
from core.distributions import Distribution
from core.errors import Refused, StoreError, StoreTimeout
from core.query.database import Command, Database, Row
from core.query.statements import Statement
from core.scenario.scenario import Fault
from core.scenario.tiers import L2, L3
from core.streams import Purpose

_T = TypeVar("_T")

_HOT_KEYS = 200_000

# Names of their own: looking a member up in its enumeration takes longer than drawing.
_L2_READ = Purpose.L2_READ
_L2_READ_FATE = Purpose.L2_READ_FATE
_L2_WRITE = Purpose.L2_WRITE
_L2_WRITE_FATE = Purpose.L2_WRITE_FATE
_L3_EXECUTION = Purpose.L3_EXECUTION
_L3_FATE = Purpose.L3_FATE
_L3_ROUND_TRIP = Purpose.L3_ROUND_TRIP


class Platform(Protocol):
    """What carries time for a store: simulated, or the machine's own."""

    def now(self) -> float:
        """Return the seconds since the platform's origin."""
        ...

    def until(self, when: float) -> Awaitable[None]:
        """Return what is done at *when*."""
        ...

    def uniform(self, purpose: Purpose) -> float:
        """Return the random number of the running operation for *purpose*, in [0, 1)."""
        ...

    def sampler(self, purpose: Purpose, distribution: Distribution) -> Callable[[], float]:
        """Return what samples *distribution* at the running operation's number for *purpose*."""
        ...

    def charge(self, tier: str) -> float:
        """Charge the CPU for one operation on *tier*; return when the process has sent it."""
        ...


@dataclass(slots=True)
class FaultSchedule:
    """The faults of a run; *origin* is the platform's time at which the run starts."""

    faults: tuple[Fault, ...]
    origin: float = 0.0

    def active(self, tier: str, now: float) -> list[Fault]:
        """Return the faults that hold *tier* at *now*, in the order of the file."""
        since = now - self.origin
        return [f for f in self.faults if f.tier == tier and f.at <= since < f.at + f.for_]

    def afflict(
        self, tier: str, now: float, seconds: float, fate: Purpose, platform: Platform
    ) -> tuple[float, bool]:
        """Return how long an operation of *seconds* takes at *now*, and whether it fails.

        A dead tier takes for ever; *fate* is the purpose that draws whether an error strikes.
        """
        failed = False
        for fault in self.active(tier, now):
            if fault.kind == "slow":
                seconds *= fault.value
            elif fault.kind == "dead":
                seconds = inf
            else:
                failed = failed or platform.uniform(fate) < fault.value
        return seconds, failed


class DelayedKV:
    """A key-value store behind the latencies of the edge store, seen from one process.

    A key that was read here within cache_ttl is hot and takes `read`, any other `cold_read`. A
    value is read when the answer would leave the store; its age is that of the store.

    operations: what the store was asked to do, *deletions* among it, which take no modelled time.
    A put or a delete of many keys is one operation; to an edge store, which has no such command, it
    is one a key: the CPU sends them one after the other, and they take one latency together.
    """

    def __init__(self, store: KVStore, tier: L2, faults: FaultSchedule, platform: Platform) -> None:
        self._store = store
        self._tier = tier
        self._faults = faults
        self._platform = platform
        self._read_time = platform.sampler(_L2_READ, tier.read)
        self._cold_read_time = platform.sampler(_L2_READ, tier.cold_read)
        self._write_time = platform.sampler(_L2_WRITE, tier.write)
        self._hot: dict[str, float] = {}
        self._is_edge = tier.consistency == "eventual"
        self.operations = 0
        self.deletions = 0
        self.errors = 0

    async def get(self, *keys: str) -> list[bytes | None]:
        """Return the values of *keys* after one read latency: the slower one if a key is cold."""
        sent = self._platform.charge("l2")
        time_of = self._read_time
        for key in keys:
            if self._hot.get(key, -1.0) <= sent:
                time_of = self._cold_read_time
        await self._answer(sent, time_of(), _L2_READ_FATE)
        hot_until = self._platform.now() + self._tier.cache_ttl
        for key in keys:
            self.touch(key, hot_until)
        return await self._store.get(*keys)

    async def put(self, *items: StoreItem) -> None:
        """Keep *items* after one write latency; ValueError unless every ttl is more than 0 s."""
        require_life(items)
        sent = self._platform.charge("l2")
        if self._is_edge:
            for _ in range(len({item.key for item in items}) - 1):
                self.operations += 1
                sent = self._platform.charge("l2")
            await self._answer(sent, self._write_time(), _L2_WRITE_FATE)
            await self._store.put(*items)  # it counts their life from when they arrive
            return
        await self._answer(sent, self._write_time(), _L2_WRITE_FATE)
        # The life of the value goes on while it is written.
        took = self._platform.now() - sent
        alive = [item._replace(ttl=item.ttl - took) for item in items if item.ttl > took]
        if alive:
            await self._store.put(*alive)
        if len(alive) < len(items):
            # What ended while it was written has replaced what was there all the same.
            await self._store.delete(*(item.key for item in items if item.ttl <= took))

    async def delete(self, *keys: str) -> int:
        """Forget *keys*, at once: invalidation is control traffic, not part of the load."""
        for key in keys:
            self._hot.pop(key, None)
        if keys:
            self._count(len({*keys}) if self._is_edge else 1)
        return await self._store.delete(*keys)

    async def delete_prefix(self, prefix: str) -> int:
        """Forget all keys that start with *prefix*, at once."""
        self._hot = {k: until for k, until in self._hot.items() if not k.startswith(prefix)}
        return self._found(await self._store.delete_prefix(prefix))

    async def delete_tag(self, tag: str) -> int:
        """Forget all keys that were put under *tag*, at once."""
        return self._found(await self._store.delete_tag(tag))

    def _found(self, deleted: int) -> int:
        """Count what it took to find keys and to delete so many; return their number."""
        self._count(1 + deleted if self._is_edge else 1)
        return deleted

    def _count(self, deletions: int) -> None:
        self.operations += deletions
        self.deletions += deletions

    async def close(self) -> None:
        """Let go of the store's connections."""
        await self._store.close()

    def touch(self, key: str, hot_until: float) -> None:
        """Let *key* be hot until *hot_until*."""
        hot = self._hot
        if len(hot) >= _HOT_KEYS:
            now = self._platform.now()
            self._hot = hot = {k: until for k, until in hot.items() if until > now}
            if len(hot) >= _HOT_KEYS:
                hot.clear()
        hot[key] = hot_until

    def cool(self) -> None:
        """Let no key be hot."""
        self._hot.clear()

    async def _answer(self, sent: float, latency: float, fate: Purpose) -> None:
        self.operations += 1
        failed = False
        if self._faults.faults:
            latency, failed = self._faults.afflict("l2", sent, latency, fate, self._platform)
        if latency > self._tier.timeout:
            await self._platform.until(sent + self._tier.timeout)
            self.errors += 1
            raise StoreTimeout(f"L2 did not answer within {self._tier.timeout:g} s")
        await self._platform.until(sent + latency)
        if failed:
            self.errors += 1
            raise StoreError("L2 answered with an error")


class Executions:
    """The database's servers: each executes one query at a time, first come first served."""

    __slots__ = ("_free",)

    def __init__(self, concurrency: int) -> None:
        self._free = [0.0] * concurrency

    def reserve(self, arrived: float, seconds: float) -> float:
        """Return when an execution of *seconds* that arrives at *arrived* ends.

        An execution of 0 s needs no server and does not queue for one.
        """
        if not seconds:
            return arrived
        free = self._free
        if len(free) == 1:
            start = free[0] if free[0] > arrived else arrived
            free[0] = end = start + seconds
            return end
        server = min(range(len(free)), key=free.__getitem__)
        free[server] = end = max(free[server], arrived) + seconds
        return end

    def backlog(self, now: float) -> float:
        """Return the seconds of work that lie before each server at *now*, on average."""
        return sum(max(0.0, free - now) for free in self._free) / len(self._free)


class Reservations(Protocol):
    """What hands out execution times; one for all processes that share a database."""

    def reserve(self, arrived: float, seconds: float) -> float:
        """Return when an execution of *seconds* that arrives at *arrived* ends."""
        ...


class DelayedDatabase:
    """A database behind a round trip, which overlaps with others, and an execution, which queues.

    Half the round trip lies before the execution and half after it. The statement itself runs
    when it reaches the database, so statements take effect in the order of their arrival there.
    takes_time: whether *database* takes time of its own, which then counts against the tier's
    timeout as the modelled time does.
    """

    def __init__(
        self,
        database: Database,
        tier: L3,
        faults: FaultSchedule,
        platform: Platform,
        executions: Reservations,
        *,
        takes_time: bool = False,
    ) -> None:
        self._database = database
        self._takes_time = takes_time
        self._tier = tier
        self._faults = faults
        self._platform = platform
        self._executions = executions
        self._trip_time = platform.sampler(_L3_ROUND_TRIP, tier.round_trip)
        self._read_time = platform.sampler(_L3_EXECUTION, tier.read_execution)
        self._write_time = platform.sampler(_L3_EXECUTION, tier.write_execution)
        self.operations = 0
        self.errors = 0

    async def read(self, statement: Statement, parameters: Sequence[object]) -> list[Row]:
        """Return the rows of *statement* after its round trip, queueing and execution."""
        platform, tier = self._platform, self._tier
        sent = platform.charge("l3")
        trip, execution = self._trip_time(), self._read_time()
        if self._faults.faults:
            execution, failed = self._afflicted(sent, execution)
        else:
            failed = False
        limit = sent + tier.timeout
        arrives = sent + trip / 2
        await platform.until(arrives if arrives <= limit else limit)
        done = self._reserve(trip, execution, limit)
        if failed:
            rows = []
        elif self._takes_time:
            rows = await self._within(limit, self._database.read(statement, parameters))
        else:
            rows = await self._database.read(statement, parameters)
        await platform.until(done)
        if failed or done >= limit:
            self._fail(done >= limit)
        return rows

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction after their round trip, queueing and execution."""
        platform, tier = self._platform, self._tier
        sent = platform.charge("l3")
        trip, execution = self._trip_time(), self._write_time()
        if self._faults.faults:
            execution, failed = self._afflicted(sent, execution)
        else:
            failed = False
        limit = sent + tier.timeout
        arrives = sent + trip / 2
        await platform.until(arrives if arrives <= limit else limit)
        done = self._reserve(trip, execution, limit)
        if failed:
            changed = []
        elif self._takes_time:
            changed = await self._within(limit, self._database.write(*commands))
        else:
            changed = await self._database.write(*commands)
        await platform.until(done)
        if failed or done >= limit:
            self._fail(done >= limit)
        return changed

    def _afflicted(self, sent: float, execution: float) -> tuple[float, bool]:
        execution, failed = self._faults.afflict("l3", sent, execution, _L3_FATE, self._platform)
        return execution, failed or execution == inf

    def _reserve(self, trip: float, execution: float, limit: float) -> float:
        """Take a place in the queue; return when the answer is back, *limit* at the latest."""
        self.operations += 1
        if execution == inf:
            return limit  # a dead database takes no place in its queue
        arrived = self._platform.now()
        end = self._executions.reserve(arrived, execution)
        stages = CURRENT.get().span.stages
        stages.append(("l3", trip + execution))
        stages.append(("l3wait", end - execution - arrived))
        done = end + trip / 2
        return done if done <= limit else limit

    async def _within(self, limit: float, operation: Awaitable[_T]) -> _T:
        """Return what *operation* does by *limit*; its own failures are the database's, too."""
        try:
            async with asyncio.timeout(limit - self._platform.now()):
                return await operation
        except (TimeoutError, StoreTimeout):
            self._fail(True)
        except Refused:  # it did answer
            raise
        except StoreError:
            self.errors += 1
            raise

    def _fail(self, is_late: bool) -> NoReturn:
        self.errors += 1
        if is_late:
            raise StoreTimeout(f"the database did not answer within {self._tier.timeout:g} s")
        raise StoreError("the database answered with an error")

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()
