"""Claims about databases: one contract for every implementation, and what a file may hold."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.context import CURRENT, Operation, Purpose, Span
from core.distributions import Distribution
from core.emulation.database import DelayedDatabase
from core.emulation.executions import Executions
from core.emulation.faults import FaultSchedule
from core.errors import InputError, Refused, StoreError
from core.query import statements
from core.query.d1 import D1Database
from core.query.database import Command, Database, SqliteDatabase
from core.query.executor import QueryExecutor
from core.query.migrations import latest_version
from core.query.statement import Statement
from core.scenario.tiers import L3
from sim.database import Image, ScratchDatabase
from tests.core.query.fake_d1 import ACCOUNT, TOKEN, FakeD1, serving


class Instant:
    """A platform on which nothing takes any time."""

    def __init__(self) -> None:
        self._clock = ManualClock()

    def now(self) -> float:
        return self._clock.now()

    def until(self, _: float) -> Awaitable[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def uniform(self, _: Purpose) -> float:
        return 0.5

    def sampler(self, purpose: Purpose, distribution: Distribution) -> Callable[[], float]:
        return lambda: distribution.sample(self.uniform(purpose))

    def charge(self, _: str) -> float:
        return self._clock.now()


def delayed(folder: Path) -> DelayedDatabase:
    inner = SqliteDatabase(folder / "cdp.sqlite")
    return DelayedDatabase(inner, L3(), FaultSchedule(()), Instant(), Executions(1))


def scratch() -> ScratchDatabase:
    return Image(SqliteDatabase(None, inline=True).connection.serialize()).copy()


def executed(database: Database) -> QueryExecutor:
    return QueryExecutor(database, ManualClock())


SERVER = FakeD1()


def over_http(folder: Path) -> D1Database:
    name = folder.name
    SERVER.database(name)
    return D1Database(ACCOUNT, name, TOKEN, base_url=SERVER.base_url)


OPENERS: dict[str, Callable[[Path], Database]] = {
    "file, in a thread": lambda folder: SqliteDatabase(folder / "cdp.sqlite"),
    "memory, in a thread": lambda _: SqliteDatabase(None),
    "memory, inline": lambda _: SqliteDatabase(None, inline=True),
    "memory, in a simulation": lambda _: scratch(),
    "file, inline": lambda folder: SqliteDatabase(folder / "cdp.sqlite", inline=True),
    "file, three readers": lambda folder: SqliteDatabase(folder / "cdp.sqlite", readers=3),
    "file, limited": lambda folder: SqliteDatabase(folder / "cdp.sqlite", timeout=60.0),
    "behind a delay": delayed,
    "executor": lambda folder: executed(SqliteDatabase(folder / "cdp.sqlite")),
    "D1": over_http,
    "executor over D1": lambda folder: executed(over_http(folder)),
}
UNORDERED = {"file, three readers", "D1", "executor over D1"}
"""Operations that are under way at a time overlap."""


@pytest.fixture(autouse=True, scope="module")
def serve_d1() -> Iterator[None]:
    """Answer for every D1 database of these tests."""
    with serving(SERVER):
        yield


Scene = Callable[[Database], Awaitable[None]]
Run = Callable[[Scene], None]

SITES = Statement("sites", "SELECT site_id FROM sites ORDER BY site_id")
COUNT = Statement("count", "SELECT count(*) FROM sites")
RAISE_LIMIT = Statement(
    "raise_limit", "UPDATE sites SET max_event_bytes = ? WHERE max_event_bytes < ?"
)
NONSENSE = Statement("nonsense", "INSERT INTO nowhere VALUES (?)")


def site(name: str) -> Command:
    return statements.INSERT_SITE, [(name, 1, 100)]


@pytest.fixture(params=OPENERS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Return what runs a scene on a new database of each kind, and closes it."""

    def run_scene(scene: Scene) -> None:
        async def main() -> None:
            CURRENT.set(Operation(Span(), 0))
            database = OPENERS[request.param](tmp_path)
            try:
                await scene(database)
            finally:
                await database.close()

        asyncio.run(main())

    return run_scene


def test_write_tells_the_rows_that_each_command_changed(run: Run) -> None:
    async def scene(database: Database) -> None:
        many = [(f"s{i}", 1, i) for i in range(5)]
        assert await database.write((statements.INSERT_SITE, many)) == [5]
        assert await database.write((RAISE_LIMIT, [(10, 3)])) == [3]
        assert await database.write((RAISE_LIMIT, [(20, 3)]), site("x")) == [0, 1]
        assert await database.write((RAISE_LIMIT, [(20, 11), (30, 25)])) == [10]
        assert await database.read(COUNT, ()) == [(6,)]

    run(scene)


def test_known_event_changes_no_row(run: Run) -> None:
    row = ("e", "u", "page_view", "email", 1, "new", None)

    async def scene(database: Database) -> None:
        assert await database.write((statements.INSERT_EVENT, [row])) == [1]
        assert await database.write((statements.INSERT_EVENT, [row])) == [0]
        both = (statements.INSERT_EVENT, [row]), (statements.INSERT_EVENT, [("f", *row[1:])])
        assert await database.write(*both) == [0, 1]

    run(scene)


@pytest.mark.parametrize(
    "second",
    [
        site("s1"),  # known already
        (statements.INSERT_SITE, [("s3", 1, 100), ("s3", 1, 100)]),
        (statements.INSERT_SITE, [("s3", None, 100)]),
        (statements.INSERT_SITE, [("s3",)]),
        (NONSENSE, [("s3",)]),
    ],
    ids=["duplicate", "second row", "null", "too few", "no table"],
)
def test_failing_second_command_undoes_the_first(run: Run, second: Command) -> None:
    async def scene(database: Database) -> None:
        await database.write(site("s1"))
        with pytest.raises(StoreError) as caught:
            await database.write(site("s2"), second)
        assert f"insert_site, {second[0].name}" in str(caught.value)
        assert await database.read(SITES, ()) == [("s1",)]
        assert await database.write(site("s2")) == [1]  # the transaction has ended

    run(scene)


def test_failing_single_command_changes_nothing(run: Run) -> None:
    async def scene(database: Database) -> None:
        await database.write(site("s1"))
        for rows in ([("s1", 1, 1)], [("s2", 1, 1), ("s1", 1, 1)]):
            with pytest.raises(StoreError, match="insert_site"):
                await database.write((statements.INSERT_SITE, rows))
        assert await database.read(SITES, ()) == [("s1",)]

    run(scene)


def test_failing_query_is_a_store_error_that_names_it(run: Run) -> None:
    async def scene(database: Database) -> None:
        with pytest.raises(StoreError, match="query nowhere failed: no such table"):
            await database.read(Statement("nowhere", "SELECT 1 FROM nowhere"), ())
        with pytest.raises(StoreError, match="query site failed"):
            await database.read(statements.SITE, ("a", "b"))

    run(scene)


def test_query_without_a_match_has_no_rows(run: Run) -> None:
    async def scene(database: Database) -> None:
        assert await database.read(statements.SITE, ("s1",)) == []

    run(scene)


def test_read_sees_every_write_that_was_answered_before(run: Run) -> None:
    async def scene(database: Database) -> None:
        for count in range(30):
            found = await asyncio.gather(*(database.read(COUNT, ()) for _ in range(4)))
            assert found == [[(count,)]] * 4
            await database.write(site(f"s{count}"))

    run(scene)


def test_statement_that_writes_and_returns_rows_is_one_operation(run: Run) -> None:
    insert = Statement("insert", "INSERT INTO sites VALUES (?, 1, ?) RETURNING site_id, enabled")

    async def scene(database: Database) -> None:
        assert await database.read(insert, ("s1", 5)) == [("s1", 1)]
        assert await database.read(SITES, ()) == [("s1",)]
        with pytest.raises(StoreError, match="query insert failed: UNIQUE"):
            await database.read(insert, ("s1", 5))

    run(scene)


def test_write_that_breaks_a_rule_of_its_table_is_refused_and_any_other_failure_is_not(
    run: Run,
) -> None:
    nowhere = Statement("nowhere", "INSERT INTO nowhere VALUES (?)")

    async def scene(database: Database) -> None:
        await database.write(site("s1"))
        with pytest.raises(Refused, match="UNIQUE constraint failed"):
            await database.write(site("s2"), site("s1"))
        assert await database.read(SITES, ()) == [("s1",)]
        with pytest.raises(StoreError) as caught:
            await database.write((nowhere, [(1,)]))
        assert not isinstance(caught.value, Refused)

    run(scene)


@pytest.mark.parametrize("value", ["\ud800", 2**70], ids=["lone surrogate", "above 64 bits"])
def test_value_that_no_column_can_hold_is_refused(run: Run, value: str | int) -> None:
    async def scene(database: Database) -> None:
        with pytest.raises(StoreError, match="query site"):
            await database.read(statements.SITE, (value,))
        for rows in ([("s1", 1, value)], [("s2", 1, 1), ("s1", 1, value)]):
            with pytest.raises(Refused, match="write insert_site"):
                await database.write((statements.INSERT_SITE, rows))
        assert await database.write(site("s2")) == [1]  # nothing was kept, and none is in the way

    run(scene)


def test_numbers_and_null_keep_their_types(run: Run) -> None:
    event = ("e", "u", "page_view", "email", 1_767_225_600_000, None, None)
    conversion = ("c", "e", "u", 1_767_225_600_000, 12.5)

    async def scene(database: Database) -> None:
        await database.write(
            (statements.INSERT_EVENT, [event]), (statements.INSERT_CONVERSION, [conversion])
        )
        assert await database.read(statements.USER_JOURNEY, ("u", 100)) == [
            ("e", "page_view", "email", 1_767_225_600_000, None, None, None, None, None)
        ]
        types = Statement(
            "types",
            "SELECT typeof(event_timestamp) AS a, typeof(segment) AS b, typeof(value) AS c"
            " FROM user_journeys JOIN conversions USING (user_id)",
        )
        assert await database.read(types, ()) == [("integer", "null", "real")]

    run(scene)


@pytest.mark.parametrize("run", [kind for kind in OPENERS if kind not in UNORDERED], indirect=True)
def test_callers_see_writes_in_the_order_of_their_arrival(run: Run) -> None:
    async def scene(database: Database) -> None:
        seen: dict[int, int] = {}

        async def write(position: int) -> None:
            await database.write(site(f"s{position}"))

        async def read(position: int) -> None:
            seen[position] = (await database.read(COUNT, ()))[0][0]

        calls = [write(i) if i % 3 else read(i) for i in range(150)]
        await asyncio.gather(*calls)
        assert seen == {i: i - len(range(0, i, 3)) for i in range(0, 150, 3)}

    run(scene)


def test_text_passes_through_unharmed(run: Run) -> None:
    names = ["", "'; DROP TABLE sites; --", "ü☃🦊", "a\tb", "?"]

    async def scene(database: Database) -> None:
        await database.write((statements.INSERT_SITE, [(name, 1, 1) for name in names]))
        for name in names:
            assert await database.read(statements.SITE, (name,)) == [(1, 1)]

    run(scene)


def test_closed_database_answers_with_a_store_error(run: Run) -> None:
    async def scene(database: Database) -> None:
        await database.close()
        with pytest.raises(StoreError):
            await database.read(SITES, ())
        with pytest.raises(StoreError):
            await database.write(site("s1"))

    run(scene)


@pytest.mark.parametrize("kind", ["file, in a thread", "file, three readers", "behind a delay"])
def test_close_finishes_what_was_asked_for(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        CURRENT.set(Operation(Span(), 0))
        database = OPENERS[kind](tmp_path)
        tasks = [asyncio.ensure_future(database.write(site(f"s{i}"))) for i in range(50)]
        await asyncio.sleep(0)  # every write is handed over
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await database.close()
        assert await asyncio.gather(*tasks) == [[1]] * 50

    asyncio.run(main())
    with sqlite3.connect(tmp_path / "cdp.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM sites").fetchone() == (50,)
    connection.close()


def test_event_loop_runs_on_while_the_disk_is_slow(tmp_path: Path) -> None:
    released = threading.Event()

    async def main() -> None:
        database = SqliteDatabase(tmp_path / "cdp.sqlite")
        database.connection.create_function("disk", 0, lambda: released.wait(30))
        slow = asyncio.ensure_future(database.read(Statement("slow", "SELECT disk()"), ()))
        await asyncio.sleep(0)
        released.set()
        assert await slow == [(1,)], "nothing else ran while the disk was waited for"
        await database.close()

    asyncio.run(main())


def test_existing_database_opens_with_its_rows(tmp_path: Path) -> None:
    async def main() -> None:
        for count in range(3):
            database = SqliteDatabase(tmp_path / "cdp.sqlite")
            assert await database.read(COUNT, ()) == [(count,)]
            await database.write(site(f"s{count}"))
            await database.close()

    asyncio.run(main())


def test_file_is_locked_for_no_one_after_it_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "cdp.sqlite"
    asyncio.run(SqliteDatabase(path).close())
    assert {file.name for file in tmp_path.iterdir()} == {"cdp.sqlite"}
    exclusive = sqlite3.connect(path, timeout=0, isolation_level=None)
    exclusive.execute("BEGIN EXCLUSIVE")
    exclusive.close()


def test_database_locked_by_another_program_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "cdp.sqlite"

    async def main() -> None:
        database = SqliteDatabase(path)
        database.connection.execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for commands in ([site("s1")], [site("s1"), site("s2")]):
            with pytest.raises(StoreError, match="locked"):
                await database.write(*commands)
        assert await database.read(COUNT, ()) == [(0,)]
        other.execute("ROLLBACK")
        other.close()
        assert await database.write(site("s1"), site("s2")) == [1, 1]
        await database.close()

    asyncio.run(main())


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        SqliteDatabase(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


def terms(number: int) -> str:
    return " UNION ALL ".join(["SELECT 1"] * number)


LENGTHS = {  # what is taken, and one more of it
    "terms": (terms(5), terms(6)),
    "terms of a view": (f"SELECT * FROM ({terms(5)})", f"SELECT * FROM ({terms(6)})"),
    "columns": (f"SELECT {', '.join('1' * 100)}", f"SELECT {', '.join('1' * 101)}"),
    "arguments": (f"SELECT max({', '.join('1' * 32)})", f"SELECT max({', '.join('1' * 33)})"),
    "pattern": (f"SELECT 'a' LIKE '{'a' * 50}'", f"SELECT 'a' LIKE '{'a' * 51}'"),
    "depth": (f"SELECT {'+'.join('1' * 99)}", f"SELECT {'+'.join('1' * 101)}"),
    "statement": (f"SELECT '{'a' * 99_991}'", f"SELECT '{'a' * 99_992}'"),
}


@pytest.mark.parametrize("what", LENGTHS)
def test_statement_beyond_a_limit_of_d1_is_refused_by_every_database(run: Run, what: str) -> None:
    taken, refused = LENGTHS[what]

    async def scene(database: Database) -> None:
        assert await database.read(Statement("taken", taken), ())
        with pytest.raises(StoreError):
            await database.read(Statement("refused", refused), ())
        assert await database.read(COUNT, ()) == [(0,)]

    run(scene)


def test_parameters_beyond_a_limit_of_d1_are_refused_by_every_database(run: Run) -> None:
    async def scene(database: Database) -> None:
        for number in (100, 101):
            values = Statement("values", f"VALUES {', '.join(['(?)'] * number)}")
            if number == 100:
                assert len(await database.read(values, [1.5] * number)) == 100
            else:
                with pytest.raises(StoreError):
                    await database.read(values, [1.5] * number)
        length = Statement("length", "SELECT length(?)")
        assert await database.read(length, ["a" * 2_000_000]) == [(2_000_000,)]
        with pytest.raises(StoreError):
            await database.read(length, ["a" * 2_000_001])

    run(scene)


@pytest.mark.parametrize("readers", [0, 1])
def test_file_whose_schema_d1_would_not_read_is_refused_by_name(
    tmp_path: Path, readers: int
) -> None:
    path = tmp_path / "cdp.sqlite"
    asyncio.run(SqliteDatabase(path).close())
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute(f"CREATE VIEW of_six AS {terms(6)}")
    connection.close()
    message = refused(path)
    assert "(malformed database schema (of_six) - too many terms in compound SELECT)" in message
    assert message.endswith("drop the view or table that is named here")
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("DROP VIEW of_six")
    connection.close()
    asyncio.run(SqliteDatabase(path, readers=readers).close())


def test_newer_schema_is_refused_in_one_line_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cdp.sqlite"
    asyncio.run(SqliteDatabase(path).close())
    newer = latest_version() + 1
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("INSERT INTO sites VALUES ('s1', 1, 1)")
        connection.execute(f"PRAGMA user_version = {newer}")
    connection.close()
    before = path.read_bytes()
    message = refused(path)
    assert f"schema {newer}" in message
    assert f"knows {latest_version()}" in message
    assert path.read_bytes() == before
    exclusive = sqlite3.connect(path, timeout=0, isolation_level=None)
    exclusive.execute("BEGIN EXCLUSIVE")
    exclusive.close()


@pytest.mark.parametrize(
    "content",
    [
        b"not a database, but a text that is long enough to hold a database's header" * 20,
        b"SQLite format 3\0" + b"\xff" * 4080,
    ],
    ids=["text", "broken header"],
)
def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cdp.sqlite"
    path.write_bytes(content)
    assert "not a usable database" in refused(path)
    assert path.read_bytes() == content


def test_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    assert "not a usable database" in refused(tmp_path)
    assert "not a usable database" in refused(tmp_path / "missing" / "cdp.sqlite")


def test_connection_waits_for_a_lock_after_it_was_opened(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "cdp.sqlite", inline=True)
    assert database.connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    asyncio.run(database.close())


def test_openings_of_a_new_file_at_a_time_make_one_schema(tmp_path: Path) -> None:
    # SQLite refuses some of those that switch the journal at a time, in about one of 30 files.
    for number in range(60):
        opened: list[SqliteDatabase] = []
        gate = threading.Barrier(8)

        def open_it(
            path: Path = tmp_path / f"{number}.sqlite",
            gate: threading.Barrier = gate,
            opened: list[SqliteDatabase] = opened,
        ) -> None:
            gate.wait(30)
            opened.append(SqliteDatabase(path))

        threads = [threading.Thread(target=open_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(opened) == 8
        for database in opened:
            asyncio.run(database.close())
