"""How fast raw events are imported, beside the bare inserts: `python -m bench.intake`.

Both sides write the same rows into the same tables of a new file, in transactions of the same size.
The bare side is `executemany` of rows that are parsed already, so the ratio is what reading,
mapping and checking cost.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from bench.halves import Speeds
from core.ledger.intake.asked import Asked
from core.ledger.intake.transfer import BATCH_ROWS, import_events
from core.query import statements
from core.query.database import SqliteDatabase

ROWS = 500_000
ROUNDS = 5
LIMIT = 2.0
"""The import takes at most this many times the CPU time of the bare inserts."""

FORMS = ("csv", "ndjson")
_ENQUEUE = (
    "INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms) VALUES (?, ?, 0)"
)
_CHANNELS = ("google", "facebook", "email", "(direct)", "affiliate", "display")
_HEADER = ("event_id", "user_id", "event_name", "time", "channel", "value", "currency")
_START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_SPAN = 90 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Seconds of CPU of one round."""

    bare: float
    imported: float

    @property
    def ratio(self) -> float:
        """How many times the bare inserts' time the import took."""
        return self.imported / self.bare


def raw_rows(count: int, *, seed: int = 1) -> list[tuple[str, ...]]:
    """Return *count* rows of a shop's events in the order of their times, 3 % of them orders."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, max(1, count // 6), count).tolist()
    times = np.sort(rng.integers(0, _SPAN * 1000, count)).tolist()
    channels = rng.integers(0, len(_CHANNELS), count).tolist()
    orders = (rng.random(count) < 0.03).tolist()
    rows: list[tuple[str, ...]] = []
    for number, (user, time, channel, is_order) in enumerate(
        zip(users, times, channels, orders, strict=True)
    ):
        text = datetime.fromtimestamp(_START + time / 1000, UTC).isoformat(timespec="milliseconds")
        rows.append(
            (f"e{number:08d}-{user:x}", f"visitor-{user:07d}",
             "purchase" if is_order else "page_view", text.replace("+00:00", "Z"),
             _CHANNELS[channel], f"{10 + user % 90}.50" if is_order else "",
             "EUR" if is_order else "")
        )  # fmt: skip
    return rows


def write_rows(file: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write *rows* as CSV, or as NDJSON where the name of *file* says so."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        if file.suffix == ".ndjson":
            for row in rows:
                filled = {n: v for n, v in zip(_HEADER, row, strict=True) if v}
                stream.write(json.dumps(filled) + "\n")
        else:
            writer = csv.writer(stream)
            writer.writerow(_HEADER)
            writer.writerows(rows)


def parsed(rows: Sequence[Sequence[str]]) -> list[tuple[Any, ...]]:
    """Return the events that *rows* are, as they stand in the database."""
    found = []
    for event_id, user, name, time, channel, _, _ in rows:
        at_ms = round(datetime.fromisoformat(time).timestamp() * 1000)
        conversion = event_id if name == "purchase" else None
        found.append((event_id, user, name, channel, at_ms, "new", conversion))
    return found


def insert(database: Path, events: Sequence[tuple[Any, ...]], values: Sequence[str]) -> float:
    """Insert *events* and their conversions; return the seconds of CPU that it took."""
    orders = [
        (event[6], event[0], event[1], event[4], float(value))
        for event, value in zip(events, values, strict=True)
        if event[6] is not None
    ]
    queued = [(order[0], order[3]) for order in orders]
    orders_before = np.cumsum([0, *(event[6] is not None for event in events)])
    began = process_time()
    with closing(SqliteDatabase(database, inline=True).connection) as connection:
        connection.execute("PRAGMA cache_size = -65536")
        for start in range(0, len(events), BATCH_ROWS):
            stop = min(start + BATCH_ROWS, len(events))
            first, last = int(orders_before[start]), int(orders_before[stop])
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statements.INSERT_EVENT.sql, events[start:stop])
            connection.executemany(statements.INSERT_CONVERSION.sql, orders[first:last])
            connection.executemany(_ENQUEUE, queued[first:last])
            connection.execute("COMMIT")
    return process_time() - began


def measure(folder: Path, rows: int, rounds: int, form: str, machine: Speeds) -> list[Round]:
    """Return the rounds of one form of file, the two sides in turns; the first one warms."""
    made = raw_rows(rows)
    file = folder / f"events.{form}"
    write_rows(file, made)
    events, values = parsed(made), [row[5] for row in made]
    asked = Asked(columns={}, conversions=("purchase",))
    found = []
    for number in machine.between(range(rounds + 1)):
        bare, imported = folder / f"bare-{number}.sqlite", folder / f"import-{number}.sqlite"
        seconds = insert(bare, events, values)
        began = process_time()
        import_events([file], imported, asked)
        taken = process_time() - began
        if number:
            found.append(Round(bare=seconds, imported=taken))
        elif _content(bare) != _content(imported):
            raise AssertionError("the import and the bare inserts made different databases")
        for path in folder.glob("*.sqlite*"):
            path.unlink()
    return found


def _content(database: Path) -> list[Any]:
    """Return what tells whether two databases hold the same."""
    with closing(SqliteDatabase(database, inline=True).connection) as connection:
        return [
            connection.execute(sql).fetchone()
            for sql in (
                "SELECT count(*), sum(event_timestamp), count(conversion_id), max(event_id)"
                " FROM user_journeys",
                "SELECT count(*), sum(value) FROM conversions",
                "SELECT count(*), sum(enqueued_at_ms) FROM conversion_queue",
            )
        ]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return 0, or 1 if the import takes more than LIMIT times as long."""
    parser = argparse.ArgumentParser(prog="python -m bench.intake", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default %(default)s")
    options = parser.parse_args(arguments)
    if min(options.rows, options.rounds) < 1:
        parser.error("--rows and --rounds are at least 1")
    machine = Speeds()
    worst = 0.0
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            rounds = measure(Path(folder), options.rows, options.rounds, form, machine)
        ratio = median(each.ratio for each in rounds)
        worst = max(worst, ratio)
        bare, imported = (median(getattr(r, n) for r in rounds) for n in ("bare", "imported"))
        print(
            f"{form:<7} {options.rows:,} rows: import {imported:.2f} s, "
            f"{options.rows / imported / 1e3:,.0f} k rows/s; executemany of parsed rows "
            f"{bare:.2f} s; ratio {ratio:.2f} "
            f"({min(r.ratio for r in rounds):.2f} to {max(r.ratio for r in rounds):.2f}), "
            f"at most {LIMIT:g}"
        )
    if note := machine.line():
        print(note)
    print("Seconds of CPU, medians; both sides in turns, into a new file each.")
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
