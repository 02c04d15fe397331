"""The database of one replication: the service's rows and SQL, in memory and at no real cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from core.errors import Refused, StoreError
from core.query.database import NO_VALUES, Command, Row
from core.query.limits import LIMITS
from core.query.statement import Statement

_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX

_STATEMENTS_LATER = 512
"""Executions, even of few statements, after which apsw drops a prepared statement: its maximum."""


class Image:
    """A database as it was at one time, to be copied."""

    def __init__(self, serialised: bytes) -> None:
        """serialised: the result of `sqlite3.Connection.serialize`."""
        self._connection = apsw.Connection(":memory:")
        self._connection.deserialize("main", serialised)

    def copy(self) -> ScratchDatabase:
        """Return a database of its own with the same rows."""
        connection = apsw.Connection(":memory:", flags=_FLAGS, statementcachesize=_STATEMENTS_LATER)
        with connection.backup("main", self._connection, "main") as backup:
            backup.step()
        for category, most in LIMITS:
            connection.limit(category, most)
        return ScratchDatabase(connection)


class ScratchDatabase:
    """SQLite in memory whose operations run where they are called, and end with the process.

    It uses apsw, which takes half the time of sqlite3 for an insert. It keeps one transaction open,
    because a commit costs as much as the insert before it. So no other connection ever sees its
    rows; savepoints make each write all or nothing.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        # Otherwise SQLite plans a query with a range of parameters anew for each of their values.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        self._cursor = connection.cursor()
        self._cursor.execute("PRAGMA journal_mode = MEMORY")
        self._cursor.execute("BEGIN")

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement*; StoreError if it fails."""
        try:
            return self._cursor.execute(statement.sql, parameters).fetchall()
        except (apsw.Error, *NO_VALUES) as error:
            raise StoreError(f"query {statement.name} failed: {error}") from error

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands*, all or none; return the rows that each changed.

        Raise Refused if one breaks a rule of its table, StoreError if it fails otherwise.
        """
        cursor, connection = self._cursor, self._connection
        try:
            if len(commands) == 1 and len(commands[0][1]) == 1:  # SQLite undoes it by itself
                statement, rows = commands[0]
                before = connection.total_changes()
                cursor.execute(statement.sql, rows[0])
                return [connection.total_changes() - before]
            cursor.execute("SAVEPOINT before")
            try:
                changed = []
                for statement, rows in commands:
                    before = connection.total_changes()
                    cursor.executemany(statement.sql, rows)
                    changed.append(connection.total_changes() - before)
            except BaseException:
                cursor.execute("ROLLBACK TO before")
                raise
            finally:
                cursor.execute("RELEASE before")
        except (apsw.Error, *NO_VALUES) as error:
            names = ", ".join(statement.name for statement, _ in commands)
            kind = Refused if isinstance(error, (apsw.ConstraintError, *NO_VALUES)) else StoreError
            raise kind(f"write {names} failed: {error}") from error
        return changed

    async def close(self) -> None:
        """Close the connection and free its memory."""
        self._connection.close()
