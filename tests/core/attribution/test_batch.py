"""Claims about the batch processor: what is stored adds up, once, whatever is delivered."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.batch import BatchAttributionProcessor
from core.attribution.models import MODELS, credits_of, role_of
from core.clock import ManualClock
from core.errors import StoreError
from core.population import Event
from core.profiling import LatencyProfiler
from core.query.database import Command, SqliteDatabase
from core.query.queries import Queries
from core.span import Span
from tests.core.attribution.worlds import event_lists, world_of

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


@given(event_lists(), st.lists(st.integers(1, 3), max_size=3), st.randoms(use_true_random=False))
def test_stored_results_equal_those_of_plain_python(
    events: list[Event], sizes: list[int], order: Any
) -> None:
    world = world_of(events)
    ids = sorted(world.conversions)
    order.shuffle(ids)

    async def scene(shop: Shop) -> None:
        await shop.add(events)
        for batch in cut(ids, sizes):
            await shop.process(batch)
        rows: list[tuple[Any, ...]] = []
        totals: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
        for name, (_, converted, value) in sorted(world.conversions.items()):
            touches = world.journey(name)
            for model in MODELS:
                # Nothing has been fitted: data_driven gives equal shares.
                rule = "linear" if model == "data_driven" else model
                shares = credits_of(rule, [time for time, _ in touches], converted)
                for index, ((_, channel), share) in enumerate(zip(touches, shares, strict=True)):
                    role = role_of(index, len(touches))
                    rows.append((name, model, index, channel, 100 * share, role))
                    entries = totals.setdefault((model, channel), [])
                    entries.append((name, share, share * value))
        shown = shop.rows("SELECT * FROM multi_touch_attribution")
        assert sorted(shown) == sorted(rows)
        performance = {
            (model, channel): (credit, count, value)
            for model, channel, credit, count, value, _ in shop.rows(
                "SELECT * FROM channel_performance"
            )
        }
        assert set(performance) == set(totals)
        for key, entries in totals.items():
            assert performance[key] == pytest.approx(
                (
                    math.fsum(share for _, share, _ in entries),
                    len({name for name, _, _ in entries}),
                    math.fsum(value for _, _, value in entries),
                ),
                rel=1e-12,
                abs=1e-12,
            )
        assert shop.processor.processed == len(ids)
        assert shop.processor.without_touches == sum(not world.journey(name) for name in ids)
        assert shop.waiting() == []

    in_shop(scene)


@given(event_lists())
def test_credit_and_value_are_conserved_per_conversion_and_over_channels(
    events: list[Event],
) -> None:
    async def scene(shop: Shop) -> None:
        await shop.add(events)
        await shop.process(shop.waiting())
        sums = shop.rows(
            "SELECT sum(credit_percentage), count(*) FROM multi_touch_attribution"
            " GROUP BY conversion_id, attribution_model"
        )
        assert all(total == pytest.approx(100, abs=1e-9) for total, _ in sums)
        attributed = shop.rows(
            "SELECT count(*), coalesce(sum(value), 0) FROM conversions"
            " WHERE conversion_id IN (SELECT conversion_id FROM touch_credits)"
        )[0]
        assert len(sums) == attributed[0] * len(MODELS)
        for _, credit, value in shop.rows(
            "SELECT attribution_model, sum(total_attribution), sum(total_value)"
            " FROM channel_performance GROUP BY attribution_model"
        ):
            assert (credit, value) == pytest.approx(attributed, abs=1e-9)

    in_shop(scene)


@given(event_lists(), st.lists(st.integers(1, 3), max_size=3))
def test_batch_delivered_twice_changes_nothing(events: list[Event], sizes: list[int]) -> None:
    async def scene(shop: Shop) -> None:
        await shop.add(events)
        ids = shop.waiting()
        await shop.process(ids)
        once, processed = shop.contents(), shop.processor.processed
        for batch in cut(ids, sizes):
            await shop.process(batch)
        assert shop.contents() == once
        assert shop.processor.processed == processed

    in_shop(scene)


def test_id_named_twice_in_a_batch_counts_once() -> None:
    async def scene(shop: Shop) -> None:
        await shop.add([touch("a", T - 1), purchase("c")])
        await shop.process(["c", "c"])
        assert shop.processor.processed == 1
        assert shop.rows("SELECT total_attribution, total_conversions, total_value"
                         " FROM channel_performance") == [(1.0, 1, 10.0)] * len(MODELS)  # fmt: skip

    in_shop(scene)


def test_conversion_without_touches_is_marked_and_leaves_no_rows() -> None:
    async def scene(shop: Shop) -> None:
        await shop.add([purchase("c")])
        await shop.process(["c"])
        found = shop.contents()
        assert [row[5] for row in found["conversions"]] == [1]
        assert found["touch_credits"] == found["channel_performance"] == []
        assert (shop.processor.processed, shop.processor.without_touches) == (1, 1)

    in_shop(scene)


def test_touches_of_one_channel_count_their_conversion_once() -> None:
    async def scene(shop: Shop) -> None:
        await shop.add([touch("a", T - 2), touch("b", T - 1), purchase("c", value=20.0)])
        await shop.process(["c"])
        for model in MODELS:
            assert await shop.queries.channel_performance(model) == [("email", 1.0, 1, 20.0)]

    in_shop(scene)


def test_channels_stand_by_credit_the_best_first() -> None:
    async def scene(shop: Shop) -> None:
        await shop.add([touch("a", T - 2, "bing"), touch("b", T - 1, "email"), purchase("c")])
        await shop.process(["c"])
        last = await shop.queries.channel_performance("last_click")
        assert [row[:2] for row in last] == [("email", 1.0), ("bing", 0.0)]
        assert await shop.queries.channel_performance("last_click", 1) == last[:1]

    in_shop(scene)


class BrokenDisk(SqliteDatabase):
    """A database whose writes fail while it is told to, after the first command."""

    is_broken = False

    async def write(self, *commands: Command) -> list[int]:
        if not self.is_broken:
            return await super().write(*commands)
        statement, rows = commands[-1]
        return await super().write(*commands, (statement, [row[:-1] for row in rows]))


def test_failed_write_leaves_everything_waiting_and_a_second_try_counts_once() -> None:
    async def run() -> None:
        database = BrokenDisk(None, inline=True)
        queries = Queries(database, ManualClock(), LatencyProfiler())
        processor = BatchAttributionProcessor(queries, now_ms=lambda: T)
        for event in [touch("a", T - 1), purchase("c"), purchase("d")]:
            await queries.insert_event(event, "new")
        database.is_broken = True
        with pytest.raises(StoreError):
            await processor.process(Span(is_batch=True), ["c", "d"])
        assert waiting_in(database) == ["c", "d"]
        assert await queries.channel_performance("linear") == []
        assert processor.processed == 0
        database.is_broken = False
        await processor.process(Span(is_batch=True), ["c", "d"])
        assert await queries.channel_performance("linear") == [("email", 2.0, 2, 20.0)]
        await database.close()

    asyncio.run(run())
