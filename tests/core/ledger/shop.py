"""A shop: a database of events and conversions with its queries and processor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from core.clock import ManualClock
from core.context import Span
from core.event import Event
from core.ledger.processor import BatchAttributionProcessor
from core.metrics.profiler import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries

T = 1_767_225_600_000


class Shop:
    """A database with its queries and processor."""

    def __init__(self) -> None:
        self.database = SqliteDatabase(None, inline=True)
        self.queries = Queries(self.database, ManualClock(), LatencyProfiler())
        self.processor = BatchAttributionProcessor(self.queries, now_ms=lambda: T)

    async def add(self, events: Sequence[Event]) -> None:
        for event in events:
            await self.queries.insert_event(event, "new")

    async def process(self, ids: Sequence[str]) -> None:
        await self.processor.process(Span(is_batch=True), ids)

    def rows(self, sql: str) -> list[Any]:
        return self.database.connection.execute(sql).fetchall()

    def waiting(self) -> list[str]:
        """Return the ids of the conversions in the queue."""
        return waiting_in(self.database)

    def contents(self) -> dict[str, list[Any]]:
        """Return every row that attribution writes."""
        tables = ("conversions", "touch_credits", "channel_performance")
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


def waiting_in(database: SqliteDatabase) -> list[str]:
    sql = "SELECT conversion_id FROM conversion_queue ORDER BY conversion_id"
    return [name for (name,) in database.connection.execute(sql)]


def in_shop(scene: Callable[[Shop], Awaitable[None]]) -> None:
    async def run() -> None:
        shop = Shop()
        try:
            await scene(shop)
        finally:
            await shop.database.close()

    asyncio.run(run())


def purchase(name: str, time: int = T, value: float = 10.0) -> Event:
    return Event(f"e-{name}", "u0", "s0", "purchase", time, "google", name, value)


def touch(name: str, time: int, channel: str = "email") -> Event:
    return Event(name, "u0", "s0", "page_view", time, channel, None, None)


def cut(ids: Sequence[str], sizes: Sequence[int]) -> list[list[str]]:
    """Cut *ids* into batches of *sizes*, the rest into a last one."""
    batches, start = [], 0
    for size in sizes:
        batches.append([*ids[start : start + size]])
        start += size
    return [*batches, [*ids[start:]]]
