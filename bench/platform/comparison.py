"""Operations on D1's own engine and on SQLite, side by side."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.platform.known import OF_FILES, STATEMENTS
from bench.platform.operations import STARTS, of_file, of_service, of_start
from bench.platform.recording import Call, RecordedDatabase, recorded_connection
from bench.platform.runtime import ACCOUNT, TOKEN, Runtime
from core.errors import StoreError
from core.query.d1 import D1Database
from core.query.d1_schema import apply_schema
from core.query.database import Command, Database, Row, SqliteDatabase
from core.query.statement import Statement

_NEAR = 1e-12  # relative: newer SQLite sums floats with a compensation, older does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a database answered: the rows of a read, what each command changed, or an error."""

    rows: list[Row] | None = None
    changed: list[int] | None = None
    error: StoreError | None = field(default=None, compare=False)

    def agrees(self, other: Answer, *, ordered: bool) -> bool:
        """Return whether both are the same but for the rounding of sums."""
        if type(self.error) is not type(other.error) or self.changed != other.changed:
            return False
        if self.rows is None or other.rows is None:
            return self.rows is other.rows
        ours, theirs = self.rows, other.rows
        if not ordered:
            ours, theirs = sorted(ours, key=repr), sorted(theirs, key=repr)
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))


def _same(ours: Row, theirs: Row) -> bool:
    return len(ours) == len(theirs) and all(map(_alike, ours, theirs))


def _alike(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        # JSON has one kind of number, so 5.0 arrives as 5.
        return math.isclose(ours, theirs, rel_tol=_NEAR)
    return type(ours) is type(theirs) and ours == theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One execution of a statement on D1: rows returned and changed, and rows that D1 bills."""

    statement: Statement
    returned: int
    changed: int
    rows_read: int
    rows_written: int


class _CountingD1(D1Database):
    """A D1 database that keeps what each execution of its latest call used."""

    used: tuple[Used, ...] = ()

    def _accounted(
        self, what: str, results: Any, statements: Sequence[Statement]
    ) -> list[tuple[int, list[Row]]]:
        billed: list[tuple[int, int]] = []
        self.on_usage = lambda _, read, written: billed.append((read, written))
        answers = super()._accounted(what, results, statements)
        self.used = tuple(
            Used(
                statement=statement, returned=len(rows), changed=changed,
                rows_read=read, rows_written=written,
            )
            for statement, (changed, rows), (read, written) in zip(
                statements, answers, billed, strict=True
            )
        )  # fmt: skip
        return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One operation, both answers, and D1's count of each of its executions."""

    call: Call
    sqlite: Answer
    d1: Answer
    used: tuple[Used, ...]

    def agrees(self) -> bool:
        """Return whether both answered the same."""
        is_ordered = not (self.call.is_read and self.call.commands[0][0].writes)
        return self.sqlite.agrees(self.d1, ordered=is_ordered)


class Pair:
    """An SQLite and a D1 database that begin empty, both with the schema.

    contents: all rows of SQLite and of D1 as they were last read.
    """

    def __init__(self, sqlite: SqliteDatabase, d1: _CountingD1) -> None:
        self.sqlite = sqlite
        self.d1 = d1
        self.compared: list[Compared] = []
        self.contents: tuple[dict[str, list[Row]], dict[str, list[Row]]] = ({}, {})

    @classmethod
    async def opened(cls, runtime: Runtime) -> Pair:
        """Return a new pair on *runtime*."""
        name = runtime.next_id()
        d1 = _CountingD1(ACCOUNT, name, TOKEN, base_url=runtime.base_url)
        await apply_schema(d1)
        return cls(SqliteDatabase(None, inline=True), d1)

    async def ask(self, call: Call) -> Compared:
        """Run *call* on both."""
        self.d1.used = ()
        d1 = await _answer(self.d1, call)
        both = Compared(
            call=call, sqlite=await _answer(self.sqlite, call), d1=d1, used=self.d1.used
        )
        self.compared.append(both)
        return both

    async def close(self) -> None:
        """Close both."""
        await self.sqlite.close()
        await self.d1.close()

    async def read_tables(self) -> None:
        """Put every row of every table, with the type of each value, into `contents`."""
        self.contents = await _tables(self.sqlite), await _tables(self.d1)


async def _answer(database: Database, call: Call) -> Answer:
    try:
        if call.is_read:
            statement, (parameters,) = call.commands[0]
            return Answer(rows=await database.read(statement, parameters))
        changed = await database.write(*call.commands)
        return Answer(changed=[max(0, rows) for rows in changed])  # sqlite3 says -1 of CREATE
    except StoreError as error:
        return Answer(error=error)


async def _tables(database: Database) -> dict[str, list[Row]]:
    names = await database.read(
        Statement(
            "names",
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')"
            " AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_cf_*'"
            " AND name <> 'd1_migrations' ORDER BY name",
        ),
        (),
    )
    found = {}
    for (table,) in names:
        columns = await database.read(Statement("columns", f"PRAGMA table_info({table})"), ())
        cells = ", ".join(f'"{column[1]}", typeof("{column[1]}")' for column in columns)
        rows = await database.read(Statement("rows", f"SELECT {cells} FROM {table}"), ())
        found[table] = sorted(rows, key=repr)
    return found


def same_tables(ours: Sequence[Row], theirs: Sequence[Row]) -> bool:
    """Return whether two tables hold the same, in any order, but for the rounding of sums."""
    return Answer(rows=[*ours]).agrees(Answer(rows=[*theirs]), ordered=False)


class Twin(D1Database):
    """A D1 database whose every operation also runs on SQLite, with the statements for D1."""

    pair: Pair

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement* as D1 answers it."""
        call = Call(commands=((statement, [tuple(parameters)]),), is_read=True)
        answer = (await self.pair.ask(call)).d1
        if answer.rows is None:
            assert answer.error is not None
            raise answer.error
        return [*answer.rows]

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction; return the rows that each changed on D1."""
        kept = tuple((statement, [tuple(row) for row in rows]) for statement, rows in commands)
        answer = (await self.pair.ask(Call(commands=kept, is_read=False))).d1
        if answer.changed is None:
            assert answer.error is not None
            raise answer.error
        return [*answer.changed]


async def recorded_histories() -> list[list[Call]]:
    """Return what the operations ask of SQLite, in order, those of each database by themselves."""
    names = {statement.sql: statement.name for statement in STATEMENTS.values()}
    histories: list[list[Call]] = [[] for _ in range(1 + len(STARTS))]
    with tempfile.TemporaryDirectory(prefix="edgeproof-record-") as folder:
        served, *started = [Path(folder, f"{number}.sqlite") for number in range(len(histories))]
        database = RecordedDatabase(SqliteDatabase(served, inline=True), histories[0])
        await of_service(database)
        await database.close()
        with closing(recorded_connection(str(served), histories[0], names)) as connection:
            of_file(connection, served)
        for file, calls, parameters in zip(started, histories[1:], STARTS, strict=True):
            await SqliteDatabase(file, inline=True).close()
            with closing(recorded_connection(str(file), calls, names)) as connection:
                of_start(connection, file, parameters)
    return histories


async def compared_on(runtime: Runtime) -> list[Pair]:
    """Run on both engines what the operations ask of SQLite, and what they ask of D1.

    The caller closes the pairs, which are under way at a time.
    """
    histories = await recorded_histories()
    return [
        *await asyncio.gather(*(_replayed(runtime, calls) for calls in histories), _twin(runtime))
    ]


async def _replayed(runtime: Runtime, calls: Sequence[Call]) -> Pair:
    pair = await Pair.opened(runtime)
    for call in calls:
        await pair.ask(call)
    return pair


async def _twin(runtime: Runtime) -> Pair:
    pair = await Pair.opened(runtime)
    twin = Twin(ACCOUNT, "of-the-pair", TOKEN, base_url=runtime.base_url)
    twin.pair = pair
    try:
        await of_service(twin)
    finally:
        await twin.close()
    return pair


def never_run(pairs: Sequence[Pair]) -> list[str]:
    """Return the names of the statements that no operation of *pairs* ran, in order."""
    ran = {
        statement.name
        for pair in pairs
        for both in pair.compared
        for statement, rows in both.call.commands
        if rows
    }
    return sorted({*STATEMENTS} - ran - {*OF_FILES})
