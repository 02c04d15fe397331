"""A local copy of the events and conversions of a database that cannot be read as a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from core.query.d1_statements import CONVERSIONS_PAGE, COPY_EVENT, EVENTS_PAGE
from core.query.database import Database, SqliteDatabase
from core.query.scan_statements import NEWEST_EVENT
from core.query.statements import INSERT_CONVERSION

PAGE = 5_000
"""Rows of a read: some megabytes of an answer that may have 50."""


async def copy_events(
    database: Database,
    file: Path,
    *,
    page: int = PAGE,
    on_progress: Callable[[str, float], None] = lambda phase, share: None,
) -> int:
    """Write the events and conversions of *database* into the new *file*; return their number.

    Conversions are read first, so that every copied conversion comes with its touches. What
    arrives meanwhile may be missing.
    """
    copied = 0
    with closing(SqliteDatabase(file, inline=True).connection) as connection:
        connection.execute("BEGIN")
        after = ""
        while True:
            rows = await database.read(CONVERSIONS_PAGE, (after, page))
            connection.executemany(INSERT_CONVERSION.sql, rows)
            copied += len(rows)
            if len(rows) < page:
                break
            after = rows[-1][0]
        last = (await database.read(NEWEST_EVENT, ()))[0][0] or 0
        at = 0
        while at < last:
            rows = await database.read(EVENTS_PAGE, (at, last, page))
            connection.executemany(COPY_EVENT.sql, rows)
            copied += len(rows)
            at = rows[-1][0] if len(rows) == page else last
            on_progress("copying", at / last)
        connection.execute("COMMIT")
    return copied
