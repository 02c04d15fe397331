"""Fill a database with a population, its conversions already attributed."""

from __future__ import annotations

import sqlite3

from core.attribution.batch import attribution_commands
from core.attribution.journeys import LOOKBACK_MS, journeys_of
from core.clock import DATA_EPOCH_MS
from core.population import Population
from core.query import statements

_ALL_JOURNEYS = statements.CONVERSION_JOURNEY.sql.replace(
    "WHERE c.conversion_id = ? ORDER BY", "ORDER BY c.conversion_id,"
)


def seed_database(connection: sqlite3.Connection, population: Population) -> None:
    """Write *population* in one transaction; a database that holds sites already is left alone."""
    if connection.execute("SELECT 1 FROM sites LIMIT 1").fetchone():
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(statements.INSERT_SITE.sql, population.sites)
    connection.executemany(statements.INSERT_USER.sql, population.users)
    connection.executemany(
        statements.INSERT_EVENT.sql,
        (
            (event, user, name, source, time, None, None)
            for event, user, name, source, time in population.touches
        ),
    )
    connection.executemany(
        statements.INSERT_EVENT.sql,
        (
            (event, user, "purchase", "(direct)", time, None, conversion)
            for conversion, event, user, time, _ in population.conversions
        ),
    )
    connection.executemany(statements.INSERT_CONVERSION.sql, population.conversions)
    journeys = journeys_of(connection.execute(_ALL_JOURNEYS, (LOOKBACK_MS,)))
    for statement, rows in attribution_commands(journeys, DATA_EPOCH_MS):
        connection.executemany(statement.sql, rows)
    connection.execute("COMMIT")
