"""SQL of `edgeproof import events`, which runs on a local database in bulk."""

from __future__ import annotations

# Duplicates of an event bring no conversion, and duplicates of a conversion no place in the queue.
INSERT_CONVERSION = (
    "INSERT INTO conversions (conversion_id, event_id, user_id, conversion_timestamp, value)"
    " SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS"
    " (SELECT 1 FROM user_journeys WHERE event_id = ?2 AND conversion_id = ?1)"
    " ON CONFLICT (conversion_id) DO NOTHING"
)
INSERT_QUEUED = (
    "INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms)"
    " SELECT conversion_id, conversion_timestamp, 0 FROM conversions"
    " WHERE conversion_id = ? AND event_id = ? AND processed = 0"
    " ON CONFLICT (conversion_id) DO NOTHING"
)
IS_REPEATED = "SELECT 1 FROM conversions WHERE conversion_id = ? AND event_id <> ?"
INDEX = "user_journeys_by_user"
"""Left out while rows are written, and made again after the last."""
INDEX_SQL = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?"
SUMS = "SELECT count(*), coalesce(sum(value), 0) FROM conversions"
DROP_INDEX = f"DROP INDEX IF EXISTS {INDEX}"

# Only a database that was imported has this table: the service knows nothing of it.
MAKE_FILES = (
    "CREATE TABLE IF NOT EXISTS imports (number INTEGER PRIMARY KEY, file TEXT NOT NULL,"
    " identity TEXT NOT NULL, asked TEXT NOT NULL, rows INTEGER NOT NULL, state TEXT NOT NULL,"
    " is_done INTEGER NOT NULL)"
)
HAS_FILES = "SELECT 1 FROM sqlite_schema WHERE name = 'imports'"
FILES = "SELECT number, file, identity, asked, rows, state, is_done FROM imports ORDER BY number"
UNFINISHED_FILES = "SELECT file FROM imports WHERE is_done = 0 ORDER BY number"
NOTE_FILE = "INSERT OR REPLACE INTO imports VALUES (?, ?, ?, ?, ?, ?, ?)"
