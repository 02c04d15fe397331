"""A record of what is asked of a database: the statements with their parameters, in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.query.database import Command, Database, Row
from core.query.statement import Statement

_TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation: a read of one statement, or the commands of one transaction."""

    commands: tuple[Command, ...]
    is_read: bool


class RecordedDatabase:
    """A database that notes each operation in *calls* before it asks *database*."""

    def __init__(self, database: Database, calls: list[Call]) -> None:
        self._database = database
        self._calls = calls

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement*."""
        self._calls.append(Call(commands=((statement, [tuple(parameters)]),), is_read=True))
        return await self._database.read(statement, parameters)

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction; return the rows that each changed."""
        kept = tuple((statement, [tuple(row) for row in rows]) for statement, rows in commands)
        self._calls.append(Call(commands=kept, is_read=False))
        return await self._database.write(*kept)

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()


def recorded_connection(path: str, calls: list[Call], names: dict[str, str]) -> sqlite3.Connection:
    """Return a connection to *path* that notes each statement in *calls*, by its name in *names*.

    What begins or ends a transaction, and PRAGMA, is not noted: D1 refuses it.
    """

    def note(sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if sql.lstrip().upper().startswith((*_TRANSACTION, "PRAGMA")):
            return
        statement = Statement(names.get(sql, sql), sql)
        is_read = not statement.writes or "RETURNING" in sql
        calls.append(Call(commands=((statement, rows),), is_read=is_read))

    class Recorded(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            note(sql, [tuple(parameters)])
            return super().execute(sql, parameters)

        def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
            kept = [tuple(row) for row in rows]
            note(sql, kept)
            return super().executemany(sql, kept)

    return sqlite3.connect(path, isolation_level=None, factory=Recorded)
