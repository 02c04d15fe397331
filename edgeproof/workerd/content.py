"""What the stores hold when the Worker starts: the database's rows, and the warm caches."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from core.application.seeding import seed_for
from core.application.warming import Warmer
from core.attribution.scheme import Scheme
from core.query.database import SqliteDatabase
from core.query.limits import MAX_VALUE_BYTES
from core.scenario.replay import prepare_service
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState, warm_state

_MOST_BYTES = MAX_VALUE_BYTES // 2
"""Of the rows that one statement inserts, as JSON."""

Seed = list[tuple[str, list[str]]]
"""Statements with their parameters."""


class Content:
    """The rows and the warm entries of a scenario, as the reference service would start with."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._database = SqliteDatabase(None, inline=True)
        prepared = prepare_service(scenario)
        self.scheme = seed_for(self._database.connection, scenario, prepared.workload)
        self._state = warm_state(scenario, prepared)

    def seeds(self) -> Iterator[Seed]:
        """Yield the statements that fill an empty D1 database, in batches of one transaction."""
        yield from seeds_of(self._database.connection)

    def warm(self) -> dict[str, Any]:
        """Return the entries of KV and of each isolate's L1 with their lives in milliseconds.

        kv: [key, value or None, ms]; hot: [key, ms]; l1: lists of [key, value or None, ms] by
        isolate, the one used last at the end.
        """
        return asyncio.run(_warm(self._database, self._scenario, self.scheme, self._state))


def seeds_of(connection: sqlite3.Connection) -> Iterator[Seed]:
    """Yield the statements that bring an empty database to the tables and rows of *connection*."""
    made = connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
        " AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    ).fetchall()
    tables = [(name, sql) for kind, name, sql in made if kind == "table"]
    yield [(sql, []) for _, sql in tables]
    for name, _ in tables:
        for rows in _chunks(connection, name):
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
            listed = ", ".join(f'"{column}"' for column in columns)
            values = ", ".join(f"json_extract(value, '$[{at}]')" for at in range(len(columns)))
            sql = f'INSERT INTO "{name}" ({listed}) SELECT {values} FROM json_each(?)'
            yield [(sql, [rows])]
    yield [(sql, []) for kind, _, sql in made if kind != "table"]


def _chunks(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    """Yield the rows of *table* as JSON lists of bounded size."""
    found: list[str] = []
    size = 0
    for row in connection.execute(f'SELECT * FROM "{table}"'):
        text = json.dumps(row)
        if found and size + len(text) > _MOST_BYTES:
            yield f"[{','.join(found)}]"
            found, size = [], 0
        found.append(text)
        size += len(text) + 1
    if found:
        yield f"[{','.join(found)}]"


async def _warm(
    database: SqliteDatabase, scenario: Scenario, scheme: Scheme, state: WarmState
) -> dict[str, Any]:
    warmer = Warmer(database, scenario, scheme)
    known: dict[tuple[str, int], tuple[str, str | None]] = {}

    async def entry(cache_type: str, subject: int) -> tuple[str, str | None]:
        found = known.get((cache_type, subject))
        if found is None:
            kind, key, value, _ = await warmer.entry(cache_type, subject)
            text = None if value is None else kind.codec.encode(value).decode()
            found = known[cache_type, subject] = key, text
        return found

    l1: list[list[Any]] = [[] for _ in range(scenario.topology.isolate_count)]
    kv, hot = [], []
    for held in state.l2:
        key, text = await entry(held.cache_type, held.subject)
        kv.append([key, text, round(1000 * held.residual)])
        if held.hot > 0:
            hot.append([key, round(1000 * held.hot)])
    for kept in state.l1:
        key, text = await entry(kept.cache_type, kept.subject)
        l1[kept.isolate].append([key, text, round(1000 * kept.residual)])
    return {"kv": kv, "hot": hot, "l1": l1}
