"""The schema's versions: numbered files of SQL, each run once and in one transaction.

The files in `schema/` have the names that D1's own tool expects (NNNN_name.sql), so
`wrangler d1 migrations apply` brings a database on the platform to the same schema.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from core.errors import InputError

_NAME = re.compile(r"(\d{4})_\w+\.sql")


def folder() -> Traversable:
    """Return the folder of the migrations."""
    return resources.files("core.query").joinpath("schema")


@cache
def names_of_migrations() -> tuple[str, ...]:
    """Return the names of the migrations' files, in order."""
    names = sorted(file.name for file in folder().iterdir() if _NAME.fullmatch(file.name))
    numbers = [int(name[:4]) for name in names]
    if numbers != [*range(1, len(names) + 1)]:
        raise ValueError(f"the migrations are numbered {numbers}, not 1, 2, 3, ...")
    return tuple(names)


@cache
def migrations() -> tuple[str, ...]:
    """Return the SQL of every migration; position n holds the one from version n to n + 1."""
    return tuple(
        folder().joinpath(name).read_text(encoding="utf-8") for name in names_of_migrations()
    )


def latest_version() -> int:
    """Return the version of this program's schema."""
    return len(migrations())


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database's schema, 0 if it has none."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def check_schema(connection: sqlite3.Connection, source: object) -> None:
    """Raise InputError if the database belongs to another program. The database is not changed.

    source: the name of the database in the error.
    """
    version, is_ours, table = connection.execute(
        "SELECT (SELECT user_version FROM pragma_user_version),"
        " EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'conversions'),"
        " (SELECT min(name) FROM sqlite_schema WHERE type = 'table')"
    ).fetchone()  # one statement sees one state: others may migrate it meanwhile
    if (not is_ours) if version else (table is not None):
        found = f"it holds the table {table!r}" if table else f"its user_version is {version}"
        raise InputError(
            f"{source}: not a database of edgeproof's service, {found}; give another file or folder"
        )


def migrate(connection: sqlite3.Connection, source: object, *, to: int | None = None) -> None:
    """Bring the schema to version *to* (default: the latest), one transaction a migration.

    connection: in autocommit mode. source: the name of the database in an error. Other processes
    may migrate the same file at the same time. Raise InputError if the database is newer than this
    program.
    """
    latest = latest_version()
    target = latest if to is None else to
    while True:
        version = version_of(connection)
        if version > latest:
            raise InputError(
                f"{source}: made by a newer version (schema {version}, this program knows "
                f"{latest}); use that version or another file"
            )
        if version >= target:
            return
        connection.execute("BEGIN EXCLUSIVE")
        try:
            if version_of(connection) == version:  # no other process was first
                for statement in statements_of(migrations()[version]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def statements_of(script: str) -> Iterator[str]:
    """Yield the statements of *script*; each ends at the end of a line."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
