"""Claims about SQLite as a database of the service: waiting, time limits, cancellation, readers."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import Overloaded, StoreError, StoreTimeout
from core.query import statements
from core.query.database import Command, SqliteDatabase
from core.query.lane import Lane
from core.query.statement import Statement

COUNT = Statement("count", "SELECT count(*) FROM sites")
GATED = Statement("gated", "SELECT gate()")
GATED_INSERT = Statement("gated_insert", "INSERT INTO sites VALUES (?, gate(), 1)")
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"
ENDLESS_READ = Statement("endless", ENDLESS.format("max(i)"))
ENDLESS_WRITE = Statement(
    "endless_write", f"INSERT INTO sites {ENDLESS.format(chr(39) + 'x' + chr(39) + ' || i, 1, 1')}"
)


def site(name: str) -> Command:
    return statements.INSERT_SITE, [(name, 1, 100)]


class Gate:
    """A query that begins and then waits until it is let through."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self._open = threading.Event()
        database.connection.create_function("gate", 0, self._wait)

    def _wait(self) -> int:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self._open.wait(30)
        return 1

    def let_through(self) -> None:
        self._open.set()


Scene = Callable[[SqliteDatabase, Gate], Awaitable[None]]


def run(folder: Path, scene: Scene, **options: Any) -> None:
    """Run *scene* on a new database."""

    async def main() -> None:
        database = SqliteDatabase(folder / "cdp.sqlite", **options)
        gate = Gate(database)
        try:
            await scene(database, gate)
        finally:
            gate.let_through()
            await database.close()

    asyncio.run(main())


def test_call_beyond_those_that_may_wait_is_refused_and_the_others_are_served(
    tmp_path: Path,
) -> None:
    async def scene(database: SqliteDatabase, gate: Gate) -> None:
        running = asyncio.ensure_future(database.read(GATED, ()))
        await gate.begun.wait()
        waiting = [asyncio.ensure_future(database.write(site(f"s{i}"))) for i in range(3)]
        await asyncio.sleep(0)
        for call in (database.read(COUNT, ()), database.write(site("late"))):
            with pytest.raises(Overloaded) as caught:
                await call
            assert "the database is overloaded, 3 queries wait" in str(caught.value)
            assert "try again later" in str(caught.value)
        gate.let_through()
        assert await running == [(1,)]
        assert await asyncio.gather(*waiting) == [[1]] * 3
        assert await database.read(COUNT, ()) == [(3,)]

    run(tmp_path, scene, max_waiting=3)


def test_cancelled_call_that_waits_never_runs_and_leaves_its_place(tmp_path: Path) -> None:
    async def scene(database: SqliteDatabase, gate: Gate) -> None:
        running = asyncio.ensure_future(database.read(GATED, ()))
        await gate.begun.wait()
        waiting = asyncio.ensure_future(database.write(site("s1")))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        other = asyncio.ensure_future(database.write(site("s2")))  # there is room for one
        await asyncio.sleep(0)
        gate.let_through()
        await asyncio.gather(running, other)
        assert await database.read(COUNT, ()) == [(1,)]

    run(tmp_path, scene, max_waiting=1)


@pytest.mark.parametrize("readers", [0, 2])
def test_cancelled_query_is_interrupted_and_the_next_one_is_not(
    tmp_path: Path, readers: int
) -> None:
    async def scene(database: SqliteDatabase, _: Gate) -> None:
        for _attempt in range(5):
            endless = asyncio.ensure_future(database.read(ENDLESS_READ, ()))
            await asyncio.sleep(0.001)
            endless.cancel()
            with pytest.raises(asyncio.CancelledError):
                await endless
            assert await database.read(COUNT, ()) == [(0,)]

    run(tmp_path, scene, readers=readers)


@pytest.mark.parametrize("others", [[], [site("s1")]])
def test_write_beyond_its_time_limit_is_interrupted_and_undone(
    tmp_path: Path, others: list[Command]
) -> None:
    async def scene(database: SqliteDatabase, _: Gate) -> None:
        with pytest.raises(StoreTimeout, match=r"endless_write did not end within 0\.02 s"):
            await database.write(*others, (ENDLESS_WRITE, [()]))

        async def count() -> list[tuple[Any, ...]]:
            while True:
                try:
                    return await database.read(COUNT, ())
                except StoreTimeout:
                    continue  # the interrupted write is still being undone

        assert await count() == [(0,)]

    run(tmp_path, scene, timeout=0.02)


def test_time_limit_counts_the_waiting_too(tmp_path: Path) -> None:
    async def scene(database: SqliteDatabase, gate: Gate) -> None:
        blocking = asyncio.ensure_future(database.write((GATED_INSERT, [("s0",)])))
        await gate.begun.wait()
        with pytest.raises(StoreTimeout, match="write insert_site did not end"):
            await database.write(site("s1"))
        with pytest.raises(StoreTimeout):
            await blocking
        gate.let_through()
        await database.close()  # what was given up while it waited is not run now
        check = SqliteDatabase(tmp_path / "cdp.sqlite", inline=True)
        names = await check.read(Statement("names", "SELECT site_id FROM sites"), ())
        assert ("s1",) not in names
        await check.close()

    run(tmp_path, scene, timeout=0.05)


def test_call_that_ran_into_its_limit_counts_until_its_thread_has_ended(tmp_path: Path) -> None:
    async def scene(database: SqliteDatabase, gate: Gate) -> None:
        with pytest.raises(StoreTimeout, match="query gated did not end"):
            await database.read(GATED, ())
        waiting = asyncio.ensure_future(database.write(site("s1")))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="1 queries wait for their turn"):
            await database.read(COUNT, ())
        with pytest.raises(StoreTimeout):
            await waiting
        gate.let_through()

    run(tmp_path, scene, timeout=0.05, max_waiting=1)


def test_call_that_waits_for_a_lock_lets_go_of_its_connection_at_its_limit(tmp_path: Path) -> None:
    async def scene(database: SqliteDatabase, _: Gate) -> None:
        other = sqlite3.connect(tmp_path / "cdp.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for commands in ([site("s1")], [site("s1"), site("s2")]):
            with pytest.raises(StoreTimeout, match=r"write insert_site.* did not end within 1 s"):
                await database.write(*commands)
            # The lock is held on: a read waits for no lock, and the connection is free for it.
            assert await database.read(COUNT, ()) == [(0,)]
        other.execute("ROLLBACK")
        other.close()
        assert await database.write(site("s1"), site("s2")) == [1, 1]

    run(tmp_path, scene, timeout=1.0)


def test_write_that_waits_for_a_lock_lets_the_calls_behind_it_go_first(tmp_path: Path) -> None:
    async def scene(database: SqliteDatabase, _: Gate) -> None:
        other = sqlite3.connect(tmp_path / "cdp.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(database.write(site("s1")))
        await asyncio.sleep(0)
        for _turn in range(3):
            assert await database.read(COUNT, ()) == [(0,)]
        assert not writing.done()
        other.execute("ROLLBACK")
        other.close()
        assert await writing == [1]

    run(tmp_path, scene, timeout=30.0)


def test_readers_read_while_the_writer_writes(tmp_path: Path) -> None:
    async def scene(database: SqliteDatabase, gate: Gate) -> None:
        await database.write(site("s0"))
        writing = asyncio.ensure_future(database.write((GATED_INSERT, [("s1",)]), site("s2")))
        await gate.begun.wait()
        counts = await asyncio.gather(*(database.read(COUNT, ()) for _ in range(6)))
        assert counts == [[(1,)]] * 6  # the transaction is whole or not there
        gate.let_through()
        assert await writing == [1, 1]
        assert await database.read(COUNT, ()) == [(3,)]

    run(tmp_path, scene, readers=2)


def test_reader_cannot_write(tmp_path: Path) -> None:
    async def scene(database: SqliteDatabase, _: Gate) -> None:
        # Taken for a read by its first word; the connection knows better.
        sneaky = Statement("sneaky", "EXPLAIN SELECT 1")
        assert not sneaky.writes
        assert Statement("with", "WITH a AS (SELECT 1) DELETE FROM sites").writes
        lane = database._reader
        assert lane is not None
        assert len(lane._connections) == 2
        for connection in lane._connections:
            with pytest.raises(Exception, match="readonly"):
                connection.execute("DELETE FROM sites")

    run(tmp_path, scene, readers=2)


def test_readers_need_a_file_and_threads(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need a file"):
        SqliteDatabase(None, readers=1)
    with pytest.raises(ValueError, match="and threads"):
        SqliteDatabase(tmp_path / "cdp.sqlite", readers=1, inline=True)


def test_close_waits_for_readers_and_leaves_one_file(tmp_path: Path) -> None:
    async def main() -> None:
        database = SqliteDatabase(tmp_path / "cdp.sqlite", readers=3)
        await database.write(site("s1"))
        reads = [asyncio.ensure_future(database.read(COUNT, ())) for _ in range(20)]
        await asyncio.sleep(0)
        await database.close()
        assert await asyncio.gather(*reads) == [[(1,)]] * 20
        with pytest.raises(StoreError, match="closed"):
            await database.read(COUNT, ())

    asyncio.run(main())
    assert {file.name for file in tmp_path.iterdir()} == {"cdp.sqlite"}


def test_call_whose_event_loop_has_ended_leaves_the_connection_to_the_next_one(
    tmp_path: Path,
) -> None:
    database = SqliteDatabase(tmp_path / "cdp.sqlite")
    begun, left = threading.Event(), threading.Event()

    def gate() -> int:
        begun.set()
        assert left.wait(30)
        return 1

    database.connection.create_function("gate", 0, gate)

    async def leave() -> None:
        reading = asyncio.ensure_future(database.read(GATED, ()))
        assert await asyncio.to_thread(begun.wait, 30)
        reading.cancel()

    async def come() -> None:
        assert await database.read(COUNT, ()) == [(0,)]
        await database.close()

    asyncio.run(leave())
    left.set()
    asyncio.run(come())


def test_database_that_nobody_closed_leaves_no_thread(tmp_path: Path) -> None:
    async def use() -> None:
        database = SqliteDatabase(tmp_path / "cdp.sqlite", readers=2)
        assert await database.read(COUNT, ()) == [(0,)]

    before = {*threading.enumerate()}
    asyncio.run(use())
    gc.collect()
    for thread in {*threading.enumerate()} - before:
        thread.join(30)
        assert not thread.is_alive()


def test_closed_database_takes_no_more_calls(tmp_path: Path) -> None:
    async def scene() -> None:
        database = SqliteDatabase(tmp_path / "cdp.sqlite", readers=1)
        await database.close()
        for call in (database.read(COUNT, ()), database.write(site("s1"))):
            with pytest.raises(StoreError, match="closed"):
                await call

    asyncio.run(scene())


def test_threads_that_could_not_be_started_are_started_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started = threading.Thread.start, []

    def refuses_the_second(thread: threading.Thread) -> None:
        if thread.name == "sqlite-reader":
            started.append(thread)
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuses_the_second)

    async def scene() -> None:
        database = SqliteDatabase(tmp_path / "cdp.sqlite", readers=2)
        with pytest.raises(RuntimeError, match="start new thread"):
            await database.read(COUNT, ())
        assert await database.read(COUNT, ()) == [(0,)]
        await database.close()

    asyncio.run(scene())
    assert len(started) == 3  # a connection is never given to two threads
    assert not any(thread.is_alive() for thread in started)


def test_call_that_raises_stop_iteration_ends() -> None:
    async def scene() -> None:
        lane = Lane("test", [sqlite3.connect(":memory:", check_same_thread=False)])
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(lane.run(lambda _: next(iter(()))), 30)
        lane.close()

    asyncio.run(scene())
