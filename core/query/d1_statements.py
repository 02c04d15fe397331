"""The SQL statements that only a D1 database is asked: its schema, and its events in pages."""

from __future__ import annotations

from core.query.statement import Statement


def migration(file: str, sql: str) -> Statement:
    """Return *sql*, a statement of the migration *file*."""
    return Statement(f"migration {file}", sql)


SCHEMA_OBJECTS = Statement(
    "schema_objects",
    "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    " AND name NOT GLOB '_cf_*' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB 'd1_migrations*'",
)

# As wrangler makes it.
MAKE_MIGRATIONS = Statement(
    "make_migrations",
    "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
)

NOTE_MIGRATION = Statement("note_migration", "INSERT INTO d1_migrations (name) VALUES (?)")

# A copy of what an account of the database reads.
EVENTS_PAGE = Statement(
    "events_page",
    "SELECT id, event_id, user_id, event_name, utm_source, event_timestamp, segment, conversion_id"
    " FROM user_journeys WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
)

CONVERSIONS_PAGE = Statement(
    "conversions_page",
    "SELECT conversion_id, event_id, user_id, conversion_timestamp, value FROM conversions"
    " WHERE conversion_id > ? ORDER BY conversion_id LIMIT ?",
)

COPY_EVENT = Statement(
    "copy_event",
    "INSERT INTO user_journeys (id, event_id, user_id, event_name, utm_source, event_timestamp,"
    " segment, conversion_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
)
