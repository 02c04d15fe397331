"""Claims about what a consumer's process tells the others: its figures, and when it is silent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StoreError
from core.metrics.profiler import LatencyProfiler
from core.query import statements
from core.query.database import SqliteDatabase
from core.query.executor import QueryExecutor
from core.service.consumer_status import ConsumerStatus


def test_consumer_is_silent_before_its_first_word_and_some_seconds_after_its_last(
    tmp_path: Path,
) -> None:
    clock, consumed = ManualClock(100.0), ConsumerStatus(tmp_path)
    executor = QueryExecutor(SqliteDatabase(None, inline=True), clock)
    assert consumed.fault(clock.now()) == "it has not started yet"
    consumed.write({"queue_batches": 1}, LatencyProfiler(clock), executor, clock.now())
    assert consumed.counters() == {"queue_batches": 1}
    clock.advance(5.0)
    assert consumed.fault(clock.now()) == ""
    clock.advance(0.5)
    assert consumed.fault(clock.now()) == "no sign of life for 6 s"
    consumed.write({"queue_batches": 1}, LatencyProfiler(clock), executor, clock.now())
    assert consumed.fault(clock.now()) == ""
    consumed.forget()
    assert consumed.fault(clock.now()) == "it has not started yet"


def test_statements_and_slow_operations_come_back_from_the_file(tmp_path: Path) -> None:
    clock, consumed = ManualClock(), ConsumerStatus(tmp_path)
    assert (consumed.statements(), consumed.slow_log()) == ({}, [])

    async def main() -> None:
        database = SqliteDatabase(None, inline=True)
        executor = QueryExecutor(database, clock, slow_seconds=-1.0)
        await executor.write((statements.INSERT_SITE, [("s1", 1, 1)]))
        with pytest.raises(StoreError):
            await executor.write((statements.INSERT_SITE, [("s1", 1, 1)]))
        await executor.read(statements.SITE, ("s1",))
        consumed.write({}, LatencyProfiler(clock), executor, clock.now())
        assert consumed.slow_log() == executor.slow_log
        told = {name: found.to_json() for name, found in consumed.statements().items()}
        assert told == executor.statistics()
        consumed.write({"queue_batches": 1}, LatencyProfiler(clock), None, clock.now())
        assert consumed.counters() == {"queue_batches": 1}
        assert consumed.slow_log() == executor.slow_log  # as it was told before
        elsewhere = QueryExecutor(database, clock)
        assert await elsewhere.explained(consumed.slow_log()) == await executor.slow_queries()
        await database.close()

    asyncio.run(main())
