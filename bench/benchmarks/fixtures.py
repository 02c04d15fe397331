"""Fixtures of the benchmarks: a database, caches, and running a coroutine without a loop."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from core.application.cdp import Cdp
from core.application.seeding import seed_for
from core.caching.kv import KVStore
from core.caching.memory import MemoryCache
from core.caching.policy import CachePolicy
from core.caching.tiered import TieredCache
from core.clock import ManualClock
from core.delivery.queue import ConversionQueue
from core.errors import EdgeproofError
from core.ledger.current_scheme import CurrentScheme
from core.metrics.profiler import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries
from core.scenario.file import load_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from scenarios.catalogue import shipped

_T = TypeVar("_T")


def finish(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of a coroutine that never waits; EdgeproofError if it does."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    raise EdgeproofError("the coroutine waits for something")


def scenario(*overrides: str) -> Scenario:
    """Return the shipped baseline with *overrides*."""
    path: Path = shipped()["baseline"]
    return load_scenario(path, overrides=overrides)


class Tiers:
    """A tiered cache over *kv* whose time stands still, with the application's loaders."""

    def __init__(self, kv: KVStore, clock: ManualClock, *, l1_ttl: float) -> None:
        self.clock = clock
        chosen = scenario("traffic.users=200", "traffic.conversions=200")
        self.database = SqliteDatabase(None, inline=True)
        connection, workload = self.database.connection, prepare(chosen).workload
        self.scheme = seed_for(connection, chosen, workload)
        profiler = LatencyProfiler()
        self.queries = Queries(self.database, clock, profiler)
        policy = CachePolicy(l1_ttl=l1_ttl, negative_ttl=30.0, single_flight=True, await_put=True)
        self.cache = TieredCache(
            MemoryCache(max_entries=10_000, max_bytes=16_000_000),
            kv, clock, policy, retain=lambda _: None,
        )  # fmt: skip
        queue = ConversionQueue(
            _never, batch_size=1, max_parallel=1, wait=1.0, clock=clock, profiler=profiler
        )
        self.cdp = Cdp(
            [self.cache], self.queries, queue,
            current=CurrentScheme(
                self.scheme, self.queries, clock, refresh=60.0, retain=lambda _: None
            ),
            ttls=chosen.tiers.l2.ttl, request_scope=False,
        )  # fmt: skip


async def _never(*_: object) -> None:
    raise AssertionError("no benchmark queues a conversion")
