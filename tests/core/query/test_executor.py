"""Claims about the query executor: statistics, slow queries, cached rows, bulk inserts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.caching.keys import cache_key
from core.clock import ManualClock, SystemClock
from core.errors import StoreError, StoreTimeout
from core.query import queue_statements, statements
from core.query.cache import CacheRule, QueryCache, reaches
from core.query.database import Command, Row, SqliteDatabase
from core.query.executor import QueryExecutor
from core.query.statement import Statement

COUNT = Statement("count", "SELECT count(*) FROM sites")
RULES = {
    "user_journey": CacheRule("journey", (0,)),
    "conversion_journey": CacheRule("attribution", (1,)),
}


class SlowDatabase(SqliteDatabase):
    """A database whose operations take as long as it is told, and which counts them."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(None, inline=True)
        self._clock = clock
        self.seconds = 0.0
        self.calls = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.failure: StoreError | None = None

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        self.calls += 1
        self._clock.advance(self.seconds)
        if self.failure is not None:
            raise self.failure
        rows = await super().read(statement, parameters)
        self.meanwhile()
        return rows

    async def write(self, *commands: Command) -> list[int]:
        self.calls += 1
        self._clock.advance(self.seconds)
        return await super().write(*commands)


class Bench:
    """An executor over a database whose time stands still unless it is told."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.database = SlowDatabase(self.clock)
        self.cache = QueryCache(ttl=60.0, max_entries=100, max_bytes=1_000_000)
        options.setdefault("cache", self.cache)
        self.executor = QueryExecutor(
            self.database, self.clock, plans=SqliteDatabase(None, inline=True), rules=RULES,
            **options,
        )  # fmt: skip

    async def event(self, name: str, user: str) -> None:
        row = (name, user, "page_view", "email", 1, "new", None)
        await self.database.write((statements.INSERT_EVENT, [row]))

    async def journey(self, user: str, limit: int = 100) -> list[str]:
        rows = await self.executor.read(statements.USER_JOURNEY, (user, limit))
        return [row[0] for row in rows]


def scene(run: Callable[[Bench], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        bench = Bench(**options)
        await run(bench)
        await bench.executor.close()

    asyncio.run(main())


# --- statistics and slow queries ---------------------------------------------------------------


def test_statistics_count_times_rows_and_failures_by_statement() -> None:
    async def run(bench: Bench) -> None:
        for milliseconds in range(1, 101):
            bench.database.seconds = milliseconds / 1000
            await bench.executor.read(COUNT, ())
        await bench.executor.insert_many("sites", ("site_id", "enabled", "max_event_bytes"),
                                         [(f"s{i}", 1, 1) for i in range(40)])  # fmt: skip
        with pytest.raises(StoreError):
            await bench.executor.read(Statement("broken", "SELECT 1 FROM nowhere"), ())
        found = bench.executor.statistics()
        count = found["count"]
        assert (count["total"], count["rows_read"], count["rows_written"]) == (100, 100, 0)
        for name, expected in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
            assert count[name] == pytest.approx(expected, rel=0.005)
        assert found["insert_many_sites"]["rows_written"] == 40
        assert (found["broken"]["failed"], found["broken"]["total"]) == (1, 1)

    scene(run)


def test_rows_that_a_write_returns_count_as_written_and_those_of_a_query_as_read() -> None:
    insert = Statement("insert", "INSERT INTO sites VALUES (?, 1, 1), (?, 1, 1) returning site_id")
    named = Statement("named", "WITH s AS (SELECT site_id FROM sites) SELECT site_id FROM s")

    async def run(bench: Bench) -> None:
        assert len(await bench.executor.read(insert, ("s1", "s2"))) == 2
        assert len(await bench.executor.read(named, ())) == 2
        found = bench.executor.statistics()
        assert (found["insert"]["rows_read"], found["insert"]["rows_written"]) == (0, 2)
        assert (found["named"]["rows_read"], found["named"]["rows_written"]) == (2, 0)

    scene(run)


def test_slow_operation_is_kept_with_the_plans_of_its_statements() -> None:
    async def run(bench: Bench) -> None:
        bench.database.seconds = 0.05
        await bench.executor.read(statements.SITE, ("s1",))  # at the line, not over it
        bench.database.seconds = 0.2
        await bench.executor.read(statements.USER_JOURNEY, ("u1", 100))
        await bench.executor.write(
            (statements.INSERT_SITE, [("s1", 1, 1)]), (queue_statements.DEQUEUE, [("c1",)])
        )
        calls = bench.database.calls
        journey, write = await bench.executor.slow_queries()
        assert bench.database.calls == calls  # plans come from elsewhere
        assert journey.names == ("user_journey",)
        assert journey.seconds == pytest.approx(0.2)
        assert journey.ended_ms == bench.clock.origin_ms + 250
        assert "user_journey: SEARCH user_journeys USING INDEX user_journeys_by" in journey.plan
        assert (write.names, write.rows) == (("insert_site", "dequeue"), 1)
        assert "dequeue: SEARCH conversion_queue USING PRIMARY KEY" in write.plan

    scene(run, slow_seconds=0.05)


def test_failure_is_kept_if_it_took_long_or_ran_into_its_limit_with_its_reason_and_plan() -> None:
    async def run(bench: Bench) -> None:
        broken = Statement("broken", "SELECT 1 FROM nowhere")
        with pytest.raises(StoreError):
            await bench.executor.read(broken, ())  # at once: neither slow nor late
        bench.database.seconds = 0.2
        with pytest.raises(StoreError):
            await bench.executor.read(broken, ())
        known = (statements.INSERT_SITE, [("s1", 1, 1), ("s1", 1, 1)])
        with pytest.raises(StoreError):
            await bench.executor.write(known)
        bench.database.seconds, bench.database.failure = 0.0, StoreTimeout("it took too long")
        with pytest.raises(StoreTimeout):
            await bench.executor.read(statements.USER_JOURNEY, ("u1", 100))
        bench.database.failure = None
        read, write, late = await bench.executor.slow_queries()
        assert (read.names, read.rows) == (("broken",), 0)
        assert read.reason == "query broken failed: no such table: nowhere"
        assert read.seconds == pytest.approx(0.2)
        assert write.names == ("insert_site",)
        assert "UNIQUE constraint failed" in write.reason
        assert late.reason == "it took too long"
        assert "SEARCH user_journeys USING INDEX user_journeys_by" in late.plan

    scene(run)


def test_heavy_query_that_the_database_interrupts_is_in_the_log_with_its_plan() -> None:
    heavy = Statement(
        "heavy",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    )

    async def main() -> None:
        executor = QueryExecutor(SqliteDatabase(None, timeout=0.5), SystemClock())
        with pytest.raises(StoreTimeout):
            await executor.read(heavy, ())
        (slow,) = await executor.slow_queries()
        assert slow.reason == "query heavy did not end within 0.5 s"
        assert slow.plan.startswith("heavy: ")
        await executor.close()

    asyncio.run(main())


def test_log_of_slow_operations_keeps_the_latest() -> None:
    async def run(bench: Bench) -> None:
        bench.database.seconds = 1.0
        for number in range(7):
            await bench.executor.read(Statement(f"q{number}", "SELECT 1"), ())
        assert [slow.names for slow in await bench.executor.slow_queries()] == [
            ("q4",), ("q5",), ("q6",),
        ]  # fmt: skip

    scene(run, slow_kept=3)


# --- cached rows -------------------------------------------------------------------------------


def test_rows_come_from_the_cache_until_their_ttl_has_passed() -> None:
    async def run(bench: Bench) -> None:
        assert await bench.journey("u1") == []
        await bench.event("e1", "u1")
        bench.clock.advance(59.9)
        assert await bench.journey("u1") == []
        assert bench.executor.statistics()["user_journey"]["cache_hits"] == 1
        bench.clock.advance(0.1)
        assert await bench.journey("u1") == ["e1"]

    scene(run)


def test_statement_without_a_rule_is_never_cached() -> None:
    async def run(bench: Bench) -> None:
        await bench.executor.read(COUNT, ())
        await bench.database.write((statements.INSERT_SITE, [("s1", 1, 1)]))
        assert await bench.executor.read(COUNT, ()) == [(1,)]
        assert len(bench.cache) == 0

    scene(run)


def test_rows_that_were_handed_out_can_be_changed_without_harm() -> None:
    async def run(bench: Bench) -> None:
        await bench.event("e1", "u1")
        for _ in range(3):
            rows = await bench.executor.read(statements.USER_JOURNEY, ("u1", 100))
            assert len(rows) == 1
            rows.clear()

    scene(run)


@pytest.mark.parametrize(
    "key", [cache_key("journey", "u1"), "journey:u1:100", "journey", "journey:*", "*", "*1", "j*u1"]
)
def test_invalidation_by_the_applications_key_reaches_the_rows_behind_it(key: str) -> None:
    async def run(bench: Bench) -> None:
        await bench.journey("u1")
        await bench.journey("u1", 5)
        await bench.event("e1", "u1")
        assert bench.executor.invalidate(key) == 2
        assert await bench.journey("u1") == ["e1"]

    scene(run)


@pytest.mark.parametrize(
    "key", ["journey:u", "journey:u12", "journey:u.", "(", "u1", "*2", "journey:u1*0"]
)
def test_invalidation_of_another_key_leaves_the_rows(key: str) -> None:
    async def run(bench: Bench) -> None:
        await bench.journey("u1")
        assert bench.executor.invalidate(key) == 0
        assert len(bench.cache) == 1

    scene(run)


def test_invalidated_credits_of_one_model_drop_the_journey_they_come_from() -> None:
    async def run(bench: Bench) -> None:
        await bench.executor.read(statements.CONVERSION_JOURNEY, (1_000, "c1"))
        assert bench.executor.invalidate(cache_key("attribution", "c1", "linear")) == 1

    scene(run)


def test_rows_read_before_an_invalidation_are_not_kept_after_it() -> None:
    async def run(bench: Bench) -> None:
        bench.database.meanwhile = lambda: bench.executor.invalidate("journey:u1")
        await bench.journey("u1")
        bench.database.meanwhile = lambda: None
        await bench.event("e1", "u1")
        assert await bench.journey("u1") == ["e1"]

    scene(run)


def test_cache_is_bounded_in_entries_and_bytes_and_forgets_the_coldest() -> None:
    cache = QueryCache(ttl=60.0, max_entries=3, max_bytes=5_000)
    for name in "abc":
        cache.set((name,), name, [], 0.0)
    cache.get(("a",), 1.0)
    cache.set(("d",), "d", [], 1.0)
    assert [name for name in "abcd" if cache.get((name,), 2.0) is not None] == ["a", "c", "d"]
    cache.set(("large",), "large", [("x" * 4_000,)], 2.0)
    assert len(cache) == 1
    assert cache.bytes <= 5_000
    cache.set(("huge",), "huge", [("x" * 6_000,)], 2.0)
    assert cache.get(("huge",), 2.0) is None
    cache.invalidate("*")
    assert (len(cache), cache.bytes) == (0, 0)


ALPHABET = "ab:*.("


def regex_of(pattern: str) -> str:
    return "".join(".*" if c == "*" else re.escape(c) for c in pattern)


@given(st.text(ALPHABET, max_size=8), st.text("ab:.(", min_size=1, max_size=8))
@example("a*:b", "a")
@example("**", "a")
def test_only_the_star_is_special(pattern: str, key: str) -> None:
    """Against regular expressions: a key, one above it, or one that may lie below it."""
    is_named = re.fullmatch(regex_of(pattern), key, re.DOTALL) is not None
    is_above = "*" not in pattern and key.startswith(pattern + ":")
    # Keys below are named if the pattern, cut at a colon, names this one.
    beginnings = [regex_of(pattern[:end]) for end, c in enumerate(pattern) if c == ":"]
    is_below = any(re.fullmatch(part, key, re.DOTALL) for part in beginnings)
    assert reaches(pattern, key) == (is_named or is_above or is_below)


def test_pattern_of_many_stars_is_answered_at_once() -> None:
    assert not reaches("*a" * 200 + "b", "a" * 500 + "c")


# --- bulk inserts ------------------------------------------------------------------------------

COLUMNS = ("site_id", "enabled", "max_event_bytes")


@pytest.mark.parametrize("number", [0, 1, 32, 33, 34, 66, 500])
def test_rows_are_inserted_in_one_operation(number: int) -> None:
    async def run(bench: Bench) -> None:
        rows = [(f"s{i:03}", i % 2, i) for i in range(number)]
        await bench.executor.insert_many("sites", COLUMNS, rows[:1])
        await bench.database.write((Statement("clear", "DELETE FROM sites"), [()]))
        calls = bench.database.calls
        assert await bench.executor.insert_many("sites", COLUMNS, rows) == number
        assert bench.database.calls - calls == (number > 0)
        everything = Statement("all", "SELECT * FROM sites ORDER BY site_id")
        assert await bench.executor.read(everything, ()) == rows

    scene(run)


@pytest.mark.parametrize("bad", [0, 40, 79])
def test_failing_row_undoes_them_all(bad: int) -> None:
    async def run(bench: Bench) -> None:
        rows = [(f"s{i}", None if i == bad else 1, i) for i in range(80)]
        with pytest.raises(StoreError, match="insert_many_sites"):
            await bench.executor.insert_many("sites", COLUMNS, rows)
        assert await bench.executor.read(COUNT, ()) == [(0,)]

    scene(run)


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("nowhere", COLUMNS, "no table nowhere"),
        ('sites"; DROP TABLE sites; --', COLUMNS, "not the name of a table"),
        ("sites", ("site_id", "owner"), "has no column 'owner'; it has site_id, enabled"),
        ("sites", ("site_id) VALUES ('x'); --",), "has no column"),
        ("sites", ("site_id", "site_id"), "each column once"),
        ("sites", (), "each column once"),
    ],
)
def test_identifier_that_the_schema_lacks_is_refused(
    table: str, columns: tuple[str, ...], message: str
) -> None:
    async def run(bench: Bench) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            await bench.executor.insert_many(table, columns, [("x",) * len(columns)])
        assert await bench.executor.read(COUNT, ()) == [(0,)]

    scene(run)


def test_row_of_another_length_is_refused() -> None:
    async def run(bench: Bench) -> None:
        with pytest.raises(ValueError, match="another length"):
            await bench.executor.insert_many("sites", COLUMNS, [("s1", 1, 1), ("s2", 1)])

    scene(run)
