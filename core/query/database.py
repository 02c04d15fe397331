"""L3: the database behind one protocol, and SQLite as its first implementation."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from core.errors import InputError, Overloaded, Refused, StoreError, StoreTimeout
from core.query.lane import LOCK_MS, Lane, is_locked
from core.query.limits import limit
from core.query.migrations import check_schema, migrate
from core.query.statement import Statement
from core.query.statements import HAS_TABLE

MAX_WAITING = 10_000
"""Queries that may wait for their turn; further queries are refused."""

_LOCK_SECONDS = LOCK_MS / 1000
_RETRY_SECONDS = 0.01
_MEMORY_PAGE_BYTES = 8_192

_T = TypeVar("_T")

NO_VALUES = (OverflowError, UnicodeEncodeError)
"""Errors of drivers for a number above 64 bits and a text that UTF-8 cannot encode."""

Row = tuple[Any, ...]
Command = tuple[Statement, Sequence[Sequence[Any]]]
"""A statement that writes, and the parameters of each of its rows."""


Usage = Callable[[Statement, int, int], None]
"""Called with a statement and its rows read and written, as the database itself counts them."""


class Database(Protocol):
    """One database; each operation is one round trip and raises StoreError if it fails.

    The subclasses of StoreError: Overloaded if too many calls wait; StoreTimeout; Refused if a
    write breaks a rule of its table or holds a value that no column takes. A write that was
    cancelled or timed out may have taken effect: the whole transaction or nothing of it.
    """

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement*; if it writes, its effect is durable."""
        ...

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction, all or none; return the rows that each changed."""
        ...

    async def close(self) -> None:
        """Finish the running calls and close the file."""
        ...


@runtime_checkable
class Metered(Protocol):
    """A database that counts the rows that it reads and writes."""

    on_usage: Usage | None


Synchronous = Literal["normal", "full"]


class SqliteDatabase:
    """SQLite in a file (write-ahead log) or in memory: one writer, and readers beside it.

    readers: further connections to the file, for reads. A read sees every write that was answered
    before the read was called. Without readers one connection runs one operation at a time in the
    order of arrival, like D1. Each connection has a thread, so a slow disk does not block the
    event loop.
    inline: operations run in the caller, without a time limit or a queue; simulated time needs
    this.

    timeout: seconds from the call to its result, waiting included; a query that runs longer is
    interrupted. If there is a timeout, a call that waits for another program's lock (5 s at most)
    lets the calls behind it go first. max_waiting: calls that may wait; further calls get
    Overloaded. A call that is cancelled while it waits never runs. A running call that is
    cancelled is interrupted and holds its connection until then.

    synchronous: "full" waits for the disk before a write is answered, so that a power cut loses
    none; with "normal" it may lose the last commits. The file stays intact if the process ends at
    any point, and no answered write is lost by that.
    The limits of D1 apply here, too.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        inline: bool = False,
        readers: int = 0,
        timeout: float | None = None,
        max_waiting: int = MAX_WAITING,
        synchronous: Synchronous = "normal",
    ) -> None:
        if readers and (path is None or inline):
            raise ValueError("readers need a file, and threads")
        self._path = path
        self._timeout = timeout
        self._max_waiting = max_waiting
        self._lanes: list[Lane] = []
        try:
            self.connection = _connect(path)
            try:
                if path is None:  # larger pages are faster if nothing is written to a disk
                    self.connection.execute(f"PRAGMA page_size = {_MEMORY_PAGE_BYTES}")
                check_schema(self.connection, path)
                _use_wal(self.connection)
                self.connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
                migrate(self.connection, path)
                limit(self.connection)  # after migrating: an old schema may exceed the limits
                if path is not None:
                    _check_within_limits(path)
                self._writer = None if inline else Lane("sqlite-writer", [self.connection])
                reading = [_connect(path) for _ in range(readers)]
            except BaseException:
                self.connection.close()  # an open transaction would lock the file for others
                raise
        except sqlite3.DatabaseError as error:
            if is_locked(error):
                raise InputError(
                    f"{path}: another program keeps it locked; try again when it has finished"
                ) from None
            raise InputError(
                f"{path}: not a usable database ({error}); give another file"
            ) from None
        for connection in reading:
            connection.execute("PRAGMA query_only = ON")
            limit(connection)
        self._reader = Lane("sqlite-reader", reading) if reading else self._writer

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement*."""
        if self._writer is None:
            return _read(self.connection, statement, parameters)
        lane = self._writer if statement.writes else self._reader
        assert lane is not None
        return await self._in_thread(
            lane, f"query {statement.name}",
            lambda connection: _read(connection, statement, parameters),
        )  # fmt: skip

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction, all or none; return the rows that each changed."""
        if self._writer is None:
            return _write(self.connection, commands)
        return await self._in_thread(
            self._writer, f"write {_names(commands)}",
            lambda connection: _write(connection, commands),
        )  # fmt: skip

    async def close(self) -> None:
        """Finish the running calls and close the file."""
        if self._reader is not None and self._reader is not self._writer:
            self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self.connection.close()

    async def _in_thread(
        self, lane: Lane, what: str, call: Callable[[sqlite3.Connection], _T]
    ) -> _T:
        if lane.waiting >= self._max_waiting:
            raise Overloaded(
                f"{what}: the database is overloaded, {lane.waiting} queries wait for their turn; "
                "try again later, or send fewer queries"
            )
        if self._timeout is None:
            return await lane.run(call)
        deadline = time.monotonic() + self._timeout
        try:
            return await lane.run(call, deadline)
        except TimeoutError:
            raise StoreTimeout(f"{what} did not end within {self._timeout:g} s") from None
        except StoreError as error:
            if time.monotonic() < deadline or not is_locked(error.__cause__):
                raise
            raise StoreTimeout(f"{what} did not end within {self._timeout:g} s: the database is "
                               "locked by another program") from error  # fmt: skip


def _connect(path: Path | None) -> sqlite3.Connection:
    return sqlite3.connect(
        ":memory:" if path is None else path,
        timeout=_LOCK_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def _check_within_limits(path: Path) -> None:
    """Raise InputError if the schema exceeds the limits of D1, such as the terms of a view."""
    with closing(_connect(path)) as connection:
        limit(connection)
        try:
            connection.execute(HAS_TABLE.sql, ("sites",))  # which reads the whole schema
        except sqlite3.DatabaseError as error:
            if is_locked(error):
                raise
            raise InputError(
                f"{path}: its schema exceeds the limits of D1 ({error}); drop the view or table "
                "that is named here"
            ) from None


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch a file to the write-ahead log; sqlite3.OperationalError if it stays locked.

    Two connections that switch a new file at the same time would deadlock, so SQLite refuses one
    of them at once, whatever its timeout. The refused one tries again.
    """
    connection.execute("PRAGMA busy_timeout = 0")  # else one try could wait as long as all of them
    for is_last in (*(False,) * int(_LOCK_SECONDS / _RETRY_SECONDS), True):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if is_last or not is_locked(error):
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            break
    connection.execute(f"PRAGMA busy_timeout = {LOCK_MS}")


def _read(
    connection: sqlite3.Connection, statement: Statement, parameters: Sequence[Any]
) -> list[Row]:
    try:
        return connection.execute(statement.sql, parameters).fetchall()
    except (sqlite3.Error, *NO_VALUES) as error:
        raise StoreError(f"query {statement.name} failed: {error}") from error


def _write(connection: sqlite3.Connection, commands: Sequence[Command]) -> list[int]:
    try:
        if len(commands) == 1 and len(commands[0][1]) == 1:
            statement, rows = commands[0]
            return [connection.execute(statement.sql, rows[0]).rowcount]
        connection.execute("BEGIN IMMEDIATE")
        try:
            changed = [
                connection.executemany(statement.sql, rows).rowcount for statement, rows in commands
            ]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # an interrupt has undone it already
                connection.execute("ROLLBACK")
            raise
    except (sqlite3.Error, *NO_VALUES) as error:
        is_rule = isinstance(error, (sqlite3.IntegrityError, *NO_VALUES))
        raise (Refused if is_rule else StoreError)(
            f"write {_names(commands)} failed: {error}"
        ) from error
    return changed


def _names(commands: Sequence[Command]) -> str:
    return ", ".join(statement.name for statement, _ in commands)
