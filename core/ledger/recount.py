"""Upkeep of a database's attribution: fitted models kept with it, and its totals checked."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from core.attribution.journeys import Journey, journeys_of
from core.attribution.models import MODELS
from core.attribution.scheme import Scheme
from core.ledger.processor import credit_rows
from core.query import statements
from core.query.statements import journeys_under

TOLERANCE = 1e-11
"""Largest relative difference of two sums of the same credits in different orders. It is far above
the rounding of a float times the square root of ten million."""
_SMALLEST = 1e-6  # absolute, in conversions or units of value: for sums that cancel out

_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The totals of one channel under one model: credit in conversions, conversions, value."""

    credit: float
    conversions: int
    value: float

    def agrees(self, other: Totals) -> bool:
        """Return whether both are the same but for rounding."""
        return self.conversions == other.conversions and all(
            math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=_SMALLEST)
            for a, b in ((self.credit, other.credit), (self.value, other.value))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An entry of channel_performance that is not the sum of the rows; None: no such entry."""

    model: str
    channel: str
    kept: Totals | None
    counted: Totals | None


def recount(connection: sqlite3.Connection) -> list[Difference]:
    """Return the kept totals that differ from the sums of the stored credits, in order."""
    counted: dict[tuple[str, str], Totals] = {}
    for channel, *sums in connection.execute(statements.RECOUNT.sql):
        for position, model in enumerate(MODELS):
            conversions, credit, value = sums[3 * position : 3 * position + 3]
            if conversions:
                counted[model, channel] = Totals(
                    credit=credit, conversions=conversions, value=value
                )
    kept = {
        (model, channel): Totals(credit=credit, conversions=conversions, value=value)
        for model, channel, credit, conversions, value in connection.execute(
            statements.CHANNEL_TOTALS.sql
        )
    }
    return [
        Difference(model=place[0], channel=place[1], kept=kept.get(place), counted=found)
        for place in sorted(kept.keys() | counted.keys())
        if (found := counted.get(place)) is None
        or (before := kept.get(place)) is None
        or not found.agrees(before)
    ]


def uneven(connection: sqlite3.Connection) -> list[str]:
    """Return the conversions whose stored credits do not sum to 1 under every model, by id."""
    return [name for (name,) in connection.execute(statements.UNEVEN_CREDITS.sql)]


def share_out_anew(connection: sqlite3.Connection, conversion_ids: Sequence[str]) -> None:
    """Mark the credits of *conversion_ids* to be computed anew at the service's next start."""
    with _transaction(connection):
        connection.executemany(
            statements.RESTATE.sql, [(None, None, name) for name in conversion_ids]
        )


def repair(connection: sqlite3.Connection, now_ms: int) -> list[Difference]:
    """Put the counted totals in place of those that differ, in one transaction; return them."""
    with _transaction(connection):
        return _repair(connection, now_ms)


def _repair(connection: sqlite3.Connection, now_ms: int) -> list[Difference]:
    differences = recount(connection)
    for each in differences:
        place = (each.model, each.channel)
        connection.execute(statements.FORGET_CHANNEL.sql, place)
        if (totals := each.counted) is not None:
            connection.execute(
                statements.ADD_TO_CHANNEL.sql,
                (*place, totals.credit, totals.conversions, totals.value, now_ms),
            )
    return differences


def restate(connection: sqlite3.Connection, scheme: Scheme, now_ms: int) -> int:
    """Recompute the credits that were stored under other parameters than *scheme*'s, all or none.

    A conversion whose data cannot be used keeps its stored credits. Return how many were
    recomputed.
    """
    restated = 0
    with _transaction(connection):
        for journeys in _stated_otherwise(connection, scheme):
            usable = [journey for journey in journeys if not journey.fault()]
            rows = credit_rows(usable, scheme)
            ids = [(journey.conversion_id,) for journey in usable]
            connection.executemany(statements.DELETE_CREDITS.sql, ids)
            connection.executemany(statements.INSERT_CREDITS.sql, rows)
            connection.executemany(
                statements.RESTATE.sql,
                [(scheme.parameters_key, scheme.number, *name) for name in ids],
            )
            restated += len(usable)
        if restated:
            _repair(connection, now_ms)
    return restated


def _stated_otherwise(connection: sqlite3.Connection, scheme: Scheme) -> Iterator[list[Journey]]:
    """Yield the journeys of processed conversions that have other parameters, page by page."""
    parameters, after = scheme.parameters, ""
    statement = journeys_under(
        statements.ATTRIBUTED_JOURNEYS, named=parameters.has_milestones, own=parameters.own_event
    )
    while True:
        ids = [
            name for (name,) in connection.execute(
                statements.ATTRIBUTED_OTHERWISE.sql, (after, scheme.parameters_key, _PAGE)
            )
        ]  # fmt: skip
        if not ids:
            return
        rows = connection.execute(statement.sql, (parameters.lookback_ms, json.dumps(ids)))
        yield journeys_of(rows.fetchall(), parameters.milestones)
        after = ids[-1]


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
