"""The database that a command is given."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from core.errors import InputError, StoreError
from core.ledger.local_copy import copy_events
from core.ledger.scratch_folder import scratch_folder
from core.query.d1_schema import check_schema
from core.query.d1_variables import (
    ACCOUNT_VARIABLE,
    DATABASE_VARIABLE,
    TOKEN_VARIABLE,
    database_id,
)
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
FileOption = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", help="The database: cdp.sqlite in the service's --data."),
]
D1_HELP = (
    f"d1: the D1 database that {ACCOUNT_VARIABLE}, {DATABASE_VARIABLE} and {TOKEN_VARIABLE} name"
)
PlatformOption = Annotated[
    str | None,
    typer.Option("--database", metavar="d1", help=f"{D1_HELP}, in place of --db."),
]


def _needs_a_file(context: typer.Context, _: typer.CallbackParam, value: str | None) -> None:
    if value is not None:
        raise InputError(
            f"{context.info_name} needs a local file, which it reads and writes in bulk: give --db "
            f"FILE in place of --database {value[:40]}"
        )


LocalOption = Annotated[
    str | None, typer.Option("--database", hidden=True, is_eager=True, callback=_needs_a_file)
]
"""Of a command that needs a local file: it says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The database that a command was given: a file, or D1 if *path* is None."""

    path: Path | None

    @property
    def option(self) -> str:
        """The option that names it."""
        return "--database d1" if self.path is None else f"--db {self.path}"

    def __str__(self) -> str:
        """Return its name in a message."""
        return f"D1 database {database_id()}" if self.path is None else str(self.path)


def source_of(db: Path | None, database: str | None) -> Source:
    """Return the database of --db or --database; InputError unless exactly one of them is given."""
    if database is not None and database != "d1":
        raise InputError(f"--database {database[:40]}: use d1, or --db FILE for a local file")
    if (db is None) == (database is None):
        raise InputError("give the database: --db FILE or --database d1, one of them")
    return Source(path=db)


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


def ask_d1(ask: Callable[[Database], Awaitable[_T]]) -> _T:
    """Return what *ask* finds or does in the D1 database of the environment.

    Raise InputError if the environment does not name it, or it has not this version's schema.
    """

    from core.query.d1_environment import d1_from_environment  # its client is slow to import

    async def run() -> _T:
        database = d1_from_environment()
        try:
            await check_schema(database, str(Source(path=None)))
            return await ask(database)
        finally:
            await database.close()

    return asyncio.run(run())


@contextmanager
def copied_d1(notes: list[str], on_progress: Callable[[str, float], None]) -> Iterator[Path]:
    """Yield a file with the events and conversions of the D1 database, which goes away again.

    notes: gets a line that says how many rows were copied.
    """
    with scratch_folder() as folder:
        file = folder / "cdp.sqlite"
        rows = ask_d1(lambda database: copy_events(database, file, on_progress=on_progress))
        notes.append(f"{Source(path=None)}: {rows:,} rows were copied to be read")
        yield file


def ask_database(source: Source, ask: Callable[[Database], Awaitable[_T]]) -> _T:
    """Return what *ask* finds or does in a database, which a service may have open.

    The schema of a file is brought up to date. InputError if another program keeps it locked.
    """
    path = source.path
    if path is None:
        return ask_d1(ask)
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


def read_database(source: Source, ask: Callable[[Database], Coroutine[Any, Any, _T]]) -> _T:
    """Return what *ask* reads from a database, which stays as it is.

    Where the schema of a file is too old to be asked, a copy in memory is brought up to date. Raise
    InputError if it is newer than this program, StoreError if it cannot be read.
    """
    path = source.path
    if path is None:
        return ask_d1(ask)
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
