"""The schema of a D1 database: applied where there is none, and compared with this program's.

Applied migrations are noted in the table `d1_migrations`, as `wrangler d1 migrations apply` does.
"""

from __future__ import annotations

from functools import cache

from core.errors import InputError
from core.query.d1_statements import MAKE_MIGRATIONS, NOTE_MIGRATION, SCHEMA_OBJECTS, migration
from core.query.database import Command, Database, SqliteDatabase
from core.query.migrations import folder, migrations, names_of_migrations, statements_of


async def has_tables(database: Database) -> bool:
    """Return whether the database holds any table, view or index."""
    return bool(await database.read(SCHEMA_OBJECTS, ()))


async def apply_schema(database: Database) -> None:
    """Bring an empty database to the latest schema, a migration and its note at a time."""
    await database.write((MAKE_MIGRATIONS, [()]))
    for name, script in zip(names_of_migrations(), migrations(), strict=True):
        commands: list[Command] = [(migration(name, sql), [()]) for sql in statements_of(script)]
        await database.write(*commands, (NOTE_MIGRATION, [(name,)]))


async def check_schema(database: Database, name: str) -> None:
    """Raise InputError with the remedy unless the database *name* has the latest schema."""
    objects = await database.read(SCHEMA_OBJECTS, ())
    found = {(kind, each): _plain(sql) for kind, each, sql in objects}
    remedy = f"apply the migrations in {folder()} (wrangler d1 migrations apply)"
    if ("table", "conversions") not in found or ("table", "sites") not in found:
        raise InputError(f"{name}: it has no tables of edgeproof's service; {remedy}")
    for (kind, each), sql in _latest().items():
        if found.get((kind, each)) != sql:
            raise InputError(
                f"{name}: its {kind} {each} is not that of this version; {remedy}, or use the "
                "version of edgeproof that made it"
            )


@cache
def _latest() -> dict[tuple[str, str], str]:
    connection = SqliteDatabase(None, inline=True).connection
    try:
        return {
            (kind, name): _plain(sql) for kind, name, sql in connection.execute(SCHEMA_OBJECTS.sql)
        }
    finally:
        connection.close()


def _plain(sql: str) -> str:
    """Return *sql* without comments and with single spaces."""
    lines = (line.partition("--")[0] for line in sql.splitlines())
    return " ".join(" ".join(lines).split())
