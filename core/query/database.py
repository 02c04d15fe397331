"""L3: the database behind one protocol, and SQLite as its first implementation."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.errors import InputError, StoreError
from core.query.statements import Statement

SCHEMA_VERSION = 1

_T = TypeVar("_T")

Row = tuple[Any, ...]
Command = tuple[Statement, Sequence[Sequence[Any]]]
"""A statement that writes, and the parameters of each of its rows."""


class Database(Protocol):
    """One database; each operation is one round trip and raises StoreError if it fails."""

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement*."""
        ...

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction, all or none; return the rows each changed."""
        ...

    async def close(self) -> None:
        """Finish what runs and let go of the file."""
        ...


class SqliteDatabase:
    """SQLite in a file or in memory, one operation at a time.

    Operations run in one thread of their own, so that a slow disk does not stop the event loop;
    with *inline* they run where they are called, as simulated time demands. Without a *journal*
    a failed transaction cannot be undone: only for a copy that ends with its run.
    """

    def __init__(self, path: Path | None, *, inline: bool = False, journal: bool = True) -> None:
        try:
            self.connection = sqlite3.connect(
                ":memory:" if path is None else path,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                self.connection.execute(f"PRAGMA journal_mode = {'WAL' if journal else 'OFF'}")
                self.connection.execute("PRAGMA synchronous = NORMAL")
                self.connection.execute("PRAGMA busy_timeout = 5000")
                _migrate(self.connection, path)
            except BaseException:
                self.connection.close()  # or its transaction locks the file for others
                raise
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{path}: not a usable database ({error}); give another file"
            ) from None
        self._executor = None if inline else ThreadPoolExecutor(1, "sqlite")

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement*."""
        if self._executor is None:
            return self._read(statement, parameters)
        return await self._in_thread(self._read, statement, parameters)

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction, all or none; return the rows each changed."""
        if self._executor is None:
            return self._write(commands)
        return await self._in_thread(self._write, commands)

    async def close(self) -> None:
        """Finish what runs and let go of the file."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
        self.connection.close()

    def _in_thread(self, call: Callable[..., _T], *arguments: Any) -> Awaitable[_T]:
        loop = asyncio.get_running_loop()
        try:
            return loop.run_in_executor(self._executor, call, *arguments)
        except RuntimeError as error:
            raise StoreError(f"the database is closed: {error}") from error

    def _read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        try:
            return self.connection.execute(statement.sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"query {statement.name} failed: {error}") from error

    def _write(self, commands: Sequence[Command]) -> list[int]:
        connection = self.connection
        try:
            if len(commands) == 1 and len(commands[0][1]) == 1:
                statement, rows = commands[0]
                return [connection.execute(statement.sql, rows[0]).rowcount]
            connection.execute("BEGIN IMMEDIATE")
            try:
                changed = [
                    connection.executemany(statement.sql, rows).rowcount
                    for statement, rows in commands
                ]
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            names = ", ".join(statement.name for statement, _ in commands)
            raise StoreError(f"write {names} failed: {error}") from error
        return changed


def _migrate(connection: sqlite3.Connection, path: Path | None) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{path}: made by a newer version (schema {version}, this program knows "
            f"{SCHEMA_VERSION}); use that version or another file"
        )
    if version < SCHEMA_VERSION:
        schema = resources.files("core.query").joinpath("schema.sql").read_text(encoding="utf-8")
        for statement in schema.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
