"""Data beside a user's own events in a database: generated users, and unlikely times."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Protocol

from core.query import scan_statements, statements
from core.query.import_statements import UNFINISHED_FILES
from core.texts import count_of
from core.units import EARLIEST_MS, LATEST_MS, slip


class _Connection(Protocol):
    def execute(self, sql: str, parameters: Any = ..., /) -> Any:
        """Return a cursor over the rows of *sql*."""
        ...


def is_invented(connection: _Connection) -> bool:
    """Return whether a service has filled the database with a scenario's population."""
    return bool(connection.execute(scan_statements.HAS_POPULATION.sql).fetchall())


def has_own_events(connection: _Connection) -> bool:
    """Return whether the newest event was tracked, not generated."""
    newest = connection.execute(scan_statements.NEWEST_IS_OWN.sql).fetchall()
    return bool(newest) and bool(newest[0][0])


State = Literal["empty", "own", "invented", "mixed"]


def database_state(file: Path) -> State:
    """Return whether a database holds own or generated events; a missing database is empty.

    An unreadable database is also "empty": opening it to write raises the error.
    """
    if not file.is_file():
        return "empty"
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            if is_invented(connection):
                return "mixed" if has_own_events(connection) else "invented"
            return "own" if _one(connection, statements.IS_FILLED.sql)[0] else "empty"
    except sqlite3.Error:
        return "empty"


def leave_out_invented(connection: _Connection) -> None:
    """Hide generated events and conversions from the connection if there are tracked ones.

    A population is not hidden if nothing was tracked.
    """
    if is_invented(connection) and has_own_events(connection):
        for statement in (scan_statements.OWN_EVENTS, scan_statements.OWN_CONVERSIONS):
            connection.execute(statement.sql).fetchall()


def database_notices(connection: _Connection, file: Path) -> list[str]:
    """Return notices about the rows, for the readers of an account of the database."""
    said = []
    if is_invented(connection):
        number = _one(connection, scan_statements.INVENTED_CONVERSIONS.sql)[0]
        what = f"{number:,} invented conversions of a scenario's population"
        said.append(
            f"{file}: {what} are left out, and so are their touches"
            if has_own_events(connection)
            else f"{file}: holds {what} and no events of your own"
        )
    for (unfinished,) in _unfinished(connection):
        said.append(
            f"{file}: the import of {unfinished} did not come to its end, so events are missing; "
            "run it again"
        )
    for statement, column in (
        (scan_statements.EVENT_SLIPS, "event_timestamp"),
        (scan_statements.CONVERSION_SLIPS, "conversion_timestamp"),
    ):
        number, example = _one(connection, statement.sql, (EARLIEST_MS, LATEST_MS))
        if number and type(example) is int:
            rows = count_of(number, "row")
            said.append(f"{file}: {column} of {rows} is unlikely; {example} is {slip(example)}")
    return said


def _unfinished(connection: _Connection) -> list[tuple[str]]:
    """Return the files whose import was interrupted; only an imported database has the table."""
    if not connection.execute(statements.HAS_TABLE.sql, ("imports",)).fetchall():
        return []
    found: list[tuple[str]] = connection.execute(UNFINISHED_FILES).fetchall()
    return found


def _one(connection: _Connection, sql: str, parameters: tuple[int, ...] = ()) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(sql, parameters).fetchall()[0]
    return row
