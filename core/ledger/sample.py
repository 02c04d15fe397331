"""A sample of a database: its newest events, copied into memory, to fit data_driven on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from math import isfinite

from core.attribution.account import time_window, transitions_of
from core.attribution.fitted import FittedModel, fit
from core.attribution.parameters import Parameters
from core.ledger.path_reader import read_paths
from core.query import scan_statements, statements
from core.query.database import Row, SqliteDatabase
from core.scenario.attribution import Attribution

PAGE = 2_000
"""Events per read, so that other users of the database do not wait long."""

MOST_CHANNELS = {1: 300, 2: 30, 3: 15}
"""Channels that a fit tells apart, by order: visitors choose their names, and a fit of the default
sample takes less than 30 MB and, with journeys of up to 40 touches, than a second."""

_LATEST_MS = 2**42  # the year 2109: later times are wrong, and too far apart for one chain


class Sample:
    """Events as `Queries.events` returns them; those that cannot be used are left out.

    If only a part of a journey was added, the sample holds the journey from there on.
    """

    def __init__(self) -> None:
        self._store = SqliteDatabase(None, inline=True)

    def add(self, events: Sequence[Row]) -> None:
        """Copy *events*; add each event only once."""
        touches, conversions = [], []
        for number, user, time, channel, conversion, converted, value in events:
            if _is_time(time) and isinstance(channel, str):
                touches.append((number, number, user, time, channel, conversion))
            if conversion is None or not _is_time(converted):
                continue
            if isinstance(value, int | float) and isfinite(value):
                conversions.append((conversion, number, user, converted, value))
        connection = self._store.connection
        connection.execute("BEGIN")
        connection.executemany(statements.SAMPLE_TOUCH.sql, touches)
        connection.executemany(statements.INSERT_CONVERSION.sql, conversions)
        connection.execute("COMMIT")

    def fit(self, parameters: Parameters, minimum: int) -> FittedModel:
        """Return the model of all that was added; InputError if it is too much for its order.

        The `MOST_CHANNELS` most frequent channels stay; the others are merged into `OTHER`.
        """
        paths = read_paths(self._store.connection, parameters)
        return fit(
            transitions_of(paths, parameters), parameters, window=time_window(paths),
            minimum=minimum, most=MOST_CHANNELS[parameters.order],
        )  # fmt: skip

    def close(self) -> None:
        """Close the copy."""
        self._store.connection.close()


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LATEST_MS


def fit_newest(connection: sqlite3.Connection, settings: Attribution) -> FittedModel:
    """Return the model of the newest events of a database, under *settings*.

    Raise InputError if they are too much for its order.
    """
    (last,) = connection.execute(scan_statements.NEWEST_EVENT.sql).fetchone()
    at, last = max(0, (last or 0) - settings.fit_events), last or 0
    sample = Sample()
    with closing(sample):
        while at < last:
            page = connection.execute(statements.EVENTS_AFTER.sql, (at, last, PAGE)).fetchall()
            sample.add(page)
            at = page[-1][0] if len(page) == PAGE else last
        return sample.fit(settings.parameters(), settings.min_conversions)
