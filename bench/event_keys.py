"""What it costs to write an event as two rows in place of three: `python -m bench.event_keys`.

The events' table keyed by event_id, without a rowid, saves the index of event ids. It is measured
beside the shipped table, in turns and by CPU time.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

from core.query.migrations import migrate
from core.query.statements import INSERT_EVENT, USER_JOURNEY

USERS = 9_973
_KEYED = """
CREATE TABLE keyed (
  event_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, event_name TEXT NOT NULL,
  utm_source TEXT NOT NULL DEFAULT '(direct)', utm_medium TEXT, utm_campaign TEXT, utm_term TEXT,
  utm_content TEXT, event_timestamp INTEGER NOT NULL, segment TEXT, conversion_id TEXT
) WITHOUT ROWID;
CREATE INDEX keyed_by_user ON keyed (user_id, event_timestamp, event_id, utm_source, conversion_id);
"""
_TOUCHES = (
    "SELECT event_timestamp, utm_source FROM {table} WHERE user_id = ? AND event_timestamp > 0"
    " AND conversion_id IS NULL ORDER BY event_timestamp, {last}"
)
TABLES = {"user_journeys": "id", "keyed": "event_id"}
"""Each table, and the column that orders events of one instant."""


def measure(events: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return microseconds of CPU time by table and operation, and bytes per event."""
    found: dict[str, dict[str, list[float]]] = {table: {} for table in TABLES}
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="edgeproof-keys-") as folder:
        connections = {}
        for table in TABLES:
            connection = sqlite3.connect(Path(folder, f"{table}.sqlite"), isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            migrate(connection, table)
            connection.executescript(_KEYED)
            connections[table] = connection
        for number in range(rounds):
            for table in TABLES:
                figures = _round(connections[table], table, number, events // rounds)
                if number:  # the first round warms
                    for name, microseconds in figures.items():
                        found[table].setdefault(name, []).append(microseconds)
        for table, connection in connections.items():
            with closing(connection):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            sizes[table] = Path(folder, f"{table}.sqlite").stat().st_size / events
    return {
        table: {name: median(values) for name, values in found[table].items()}
        | {"bytes": sizes[table]}
        for table in TABLES
    }


def _round(
    connection: sqlite3.Connection, table: str, number: int, events: int
) -> dict[str, float]:
    generator = np.random.default_rng(number)
    ids = [generator.bytes(16).hex() for _ in range(events)]
    times = generator.integers(10**12, size=events).tolist()
    rows = [
        (name, f"u{user}", "page_view", "email", at_ms, "new", None)
        for name, user, at_ms in zip(
            ids, generator.integers(USERS, size=events).tolist(), times, strict=True
        )
    ]  # fmt: skip
    users = [(f"u{user}",) for user in generator.integers(USERS, size=1_000).tolist()]
    insert = INSERT_EVENT.sql.replace("user_journeys", table)
    journey = USER_JOURNEY.sql.replace("user_journeys", table).replace("id DESC", "{last} DESC")
    journey = journey.replace("{last}", TABLES[table])
    touches = _TOUCHES.format(table=table, last=TABLES[table])
    started = process_time()
    for row in rows:
        connection.execute(insert, row)
    inserted = process_time()
    for user in users:
        connection.execute(journey, (*user, 100)).fetchall()
    shown = process_time()
    for user in users:
        connection.execute(touches, user).fetchall()
    read = process_time()
    return {
        "insert": 1e6 * (inserted - started) / events,
        "a user's events": 1e6 * (shown - inserted) / len(users),
        "touches of a journey": 1e6 * (read - shown) / len(users),
    }


def main() -> int:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.event_keys", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    found = measure(arguments.events, arguments.rounds)
    shipped, keyed = found["user_journeys"], found["keyed"]
    print("| | three rows (shipped) | two rows | × |\n|---|---:|---:|---:|")
    for name, before in shipped.items():
        unit = "bytes" if name == "bytes" else "µs"
        print(
            f"| {'size of an event' if name == 'bytes' else name} | {before:.1f} {unit} |"
            f" {keyed[name]:.1f} {unit} | {keyed[name] / before:.2f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
