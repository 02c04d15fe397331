"""The database that a command is given."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from core.errors import InputError, StoreError
from core.query.database import Command, Database, Row, SqliteDatabase
from core.query.lane import is_locked
from core.query.migrations import latest_version, migrate, version_of
from core.query.statement import Statement
from core.query.statements import HAS_TABLE
from edgeproof.invocation import current

_T = TypeVar("_T")

DatabaseOption = Annotated[
    Path,
    typer.Option("--db", metavar="FILE", help="The database: cdp.sqlite in the service's --data."),
]


def check_database(path: Path) -> None:
    """Raise InputError unless *path* is a database of the service's; nothing is written to it."""
    if not path.is_file():
        raise InputError(
            f"--db {path}: no such file; give the cdp.sqlite of the service's --data folder"
        )
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            is_known = all(
                connection.execute(HAS_TABLE.sql, (table,)).fetchone()
                for table in ("conversions", "sites")
            )
        finally:
            connection.close()
    except sqlite3.Error as error:
        if is_locked(error):
            raise InputError(
                f"--db {path}: another program keeps it locked; try again when it has finished"
            ) from None
        raise InputError(f"--db {path}: not a usable database ({error}); give another") from None
    if not is_known:
        raise InputError(
            f"--db {path}: not a database of edgeproof's service; give the cdp.sqlite of its "
            "--data folder"
        )


def ask_database(path: Path, ask: Callable[[SqliteDatabase], Awaitable[_T]]) -> _T:
    """Return what *ask* finds or does in the database at *path*, which a service may have open.

    Its schema is brought up to date. InputError if another program keeps it locked.
    """
    check_database(path)
    current().watch(path)

    async def run() -> _T:
        database = SqliteDatabase(path)
        try:
            return await ask(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except StoreError as error:
        if not is_locked(error.__cause__):
            raise
        raise InputError(
            f"--db {path}: another program is writing to it ({error}); nothing was changed: try "
            "again when it has finished"
        ) from None


def read_database(path: Path, ask: Callable[[Database], Coroutine[Any, Any, _T]]) -> _T:
    """Return what *ask* reads from the database at *path*, which stays as it is.

    Where its schema is too old to be asked, a copy in memory is brought up to date. Raise
    InputError if it is newer than this program, StoreError if it cannot be read.
    """
    check_database(path)
    # mode=ro would leave the files of the write-ahead log behind.
    uri = f"{path.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only = ON")
        migrate(connection, path, to=0)  # which is none, but refuses a newer one
        try:
            return asyncio.run(ask(_ReadOnly(connection, path)))
        except StoreError:
            if version_of(connection) == latest_version():
                raise
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
            connection.backup(copy)
            migrate(copy, path)
            return asyncio.run(ask(_ReadOnly(copy, path)))


class _ReadOnly:
    """A database over *connection* that is only read; *path* is what errors name it by."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    async def read(self, statement: Statement, parameters: Sequence[object]) -> list[Row]:
        try:
            return self._connection.execute(statement.sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"--db {self._path}: {error}; try again later") from error

    async def write(self, *_: Command) -> list[int]:
        raise StoreError(f"--db {self._path}: it is only read here")

    async def close(self) -> None:
        """Leave the connection to whoever made it."""
