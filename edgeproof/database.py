"""The database that a command is given."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from core.errors import InputError
from core.query.database import SqliteDatabase
from core.query.statements import HAS_TABLE

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
        raise InputError(f"--db {path}: not a usable database ({error}); give another") from None
    if not is_known:
        raise InputError(
            f"--db {path}: not a database of edgeproof's service; give the cdp.sqlite of its "
            "--data folder"
        )


def ask_database(path: Path, ask: Callable[[SqliteDatabase], Awaitable[_T]]) -> _T:
    """Return what *ask* finds in the database at *path*, which a service may have open."""
    check_database(path)

    async def run() -> _T:
        database = SqliteDatabase(path)
        try:
            return await ask(database)
        finally:
            await database.close()

    return asyncio.run(run())
