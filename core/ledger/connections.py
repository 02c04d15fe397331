"""Connections to a database for work in bulk, by the fastest driver that is installed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from core.errors import InputError
from core.ledger.provenance import leave_out_invented
from core.query.statement import Statement
from core.query.statements import HAS_TABLE


class Reader(Protocol):
    """A connection that reads."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any:
        """Return a cursor over the rows of *sql*."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Writer(Reader, Protocol):
    """A connection that also writes; transactions begin only by BEGIN."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Run *sql* once for each of *rows*."""
        ...


def open_reader(file: Path) -> Reader:
    """Return a connection that reads one state of the database *file* until it is closed.

    If the database holds both tracked events and a generated population, the connection sees only
    the tracked events.

    It uses apsw if that is installed: twice as fast, but a second SQLite within the process.
    Closing its file would drop the locks of sqlite3 on the same file, so open no other connection
    to *file* in this process meanwhile. Raise InputError if the file holds no such database.
    """
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; give the service's database")
    uri = f"{file.resolve().as_uri()}?mode=ro"
    connection: Reader | None = None
    try:
        connection = _connected(uri)
        connection.execute("PRAGMA busy_timeout = 5000").fetchall()
        connection.execute("PRAGMA cache_size = -65536").fetchall()
        connection.execute("PRAGMA mmap_size = 1073741824").fetchall()
        connection.execute("BEGIN").fetchall()
        for table in ("user_journeys", "conversions"):
            if not connection.execute(HAS_TABLE.sql, (table,)).fetchall():
                raise InputError(
                    f"{file}: has no table {table}; give a database that edgeproof made"
                )
        leave_out_invented(connection)
    except _errors() as error:
        if connection is not None:
            connection.close()
        raise InputError(f"{file}: not a usable database ({error}); give another file") from None
    except InputError:
        if connection is not None:
            connection.close()
        raise
    return connection


def open_writer(file: Path) -> Writer:
    """Return a connection that writes to the database *file*, as `open_reader` opens it.

    The file has to hold this version's schema.
    """
    try:
        connection = _connected(f"{file.resolve().as_uri()}?mode=rw")
        try:
            connection.execute("PRAGMA busy_timeout = 5000").fetchall()
            connection.execute("PRAGMA cache_size = -65536").fetchall()
            connection.execute("PRAGMA synchronous = NORMAL").fetchall()
        except BaseException:
            connection.close()
            raise
    except _errors() as error:
        raise InputError(f"{file}: not a usable database ({error}); give another file") from None
    return connection


@contextmanager
def transaction(connection: Writer) -> Iterator[None]:
    """Write all or nothing, and lock out other writers; InputError if the database refuses."""
    try:
        connection.execute("BEGIN IMMEDIATE").fetchall()
        try:
            yield
            connection.execute("COMMIT").fetchall()
        except BaseException:
            with suppress(*_errors()):  # after a full disk SQLite has rolled it back already
                connection.execute("ROLLBACK").fetchall()
            raise
    except _errors() as error:
        raise InputError(
            f"the database cannot be written ({error}); see that nothing else holds it, and that "
            "its disk has room"
        ) from None


def _connected(uri: str) -> Writer:
    try:
        import apsw
    except ImportError:
        return sqlite3.connect(uri, uri=True, isolation_level=None)
    return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)


def _errors() -> tuple[type[Exception], ...]:
    try:
        import apsw
    except ImportError:
        return (sqlite3.Error,)
    return (sqlite3.Error, apsw.Error)


def _faults() -> tuple[type[Exception], ...]:
    return (*_errors(), UnicodeDecodeError)  # apsw's error for text that is not UTF-8


def rows_of(connection: Reader, statement: Statement, *parameters: Any) -> list[Any]:
    """Return the rows of the answer; InputError if the query fails or meets invalid text."""
    try:
        return list(connection.execute(statement.sql, parameters).fetchall())
    except _faults() as error:
        raise _failed(statement, error) from None


def columns_of(
    connection: Reader, statement: Statement, parameters: Sequence[Any], width: int
) -> list[list[Any]]:
    """Return the columns of the answer; InputError if the query fails.

    Rows are freed one by one: if all were held, the garbage collector would scan them again and
    again, which costs more than the query.
    """
    columns: list[list[Any]] = [[] for _ in range(width)]
    try:
        cursor = connection.execute(statement.sql, parameters)
        if width == 2:
            first, second = columns[0].append, columns[1].append
            for one, two in cursor:
                first(one)
                second(two)
        else:
            appends = [column.append for column in columns]
            for row in cursor:
                for append, value in zip(appends, row, strict=True):
                    append(value)
    except _faults() as error:
        raise _failed(statement, error) from None
    return columns


def _failed(statement: Statement, error: Exception) -> InputError:
    if isinstance(error, UnicodeDecodeError):
        met = error.object[:40]
        return InputError(
            f"query {statement.name} met {met!r}, which is not UTF-8 text; correct its row"
        )
    return InputError(
        f"query {statement.name} failed: {error}; correct the row if it names one, or give another "
        "database"
    )
