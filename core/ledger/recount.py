"""Upkeep of a database's attribution: fitted models kept with it, and its totals checked."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from core.attribution.journeys import Journey, journeys_of
from core.attribution.models import MODELS
from core.attribution.scheme import Scheme
from core.ledger.stored_credits import credit_rows, stored_credits
from core.query import statements
from core.query.statements import journeys_under

TOLERANCE = 1e-11
"""Largest relative difference of two sums of the same credits in different orders. It is far above
the rounding of a float times the square root of ten million."""
_UNEVEN = 1e-9
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
    """Return the kept totals that differ from the sums of the stored credits, in order.

    Raise InputError for a row of credits that holds no touches.
    """
    return check_credits(connection)[0]


def uneven(connection: sqlite3.Connection) -> list[str]:
    """Return the conversions whose stored credits do not sum to 1 under every model, by id.

    Raise InputError for a row of credits that holds no touches.
    """
    return check_credits(connection)[1]


def check_credits(connection: sqlite3.Connection) -> tuple[list[Difference], list[str]]:
    """Return what `recount` and `uneven` do, from one pass over the stored credits."""
    kept, (counted, wrong) = _kept(connection), _counted(connection)
    differences = [
        Difference(model=place[0], channel=place[1], kept=kept.get(place), counted=found)
        for place in sorted(kept.keys() | counted.keys())
        if (found := counted.get(place)) is None
        or (before := kept.get(place)) is None
        or not found.agrees(before)
    ]
    return differences, wrong


_Totals = dict[tuple[str, str], Totals]
"""Totals by model and channel."""


def _kept(connection: sqlite3.Connection) -> _Totals:
    kept = {}
    for channel, *sums in connection.execute(statements.CHANNEL_TOTALS.sql):
        for position, model in enumerate(MODELS):
            credit, conversions, value = sums[3 * position : 3 * position + 3]
            if credit or conversions or value:
                kept[model, channel] = Totals(credit=credit, conversions=conversions, value=value)
    return kept


def _counted(connection: sqlite3.Connection) -> tuple[_Totals, list[str]]:
    """Sum up the stored credits; return the totals, and the conversions that do not sum to 1.

    Credits that were never computed (NaN) do not count.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    uneven: list[str] = []
    for page in stored_credits(connection):
        codes: dict[str, int] = {}
        of_touches = [codes.setdefault(name, len(codes)) for name in page.channels]
        channels, owners = np.array(of_touches, dtype=np.int64), page.owners
        values = page.values[owners]
        has_conversion = ~np.isnan(values)
        number, width = len(page.conversion_ids), max(1, len(codes))
        of_page = np.zeros((len(codes), len(MODELS), 3))
        is_wrong = np.zeros(number, dtype=bool)
        # The first touch of each conversion on each channel.
        firsts = np.unique(owners * width + channels, return_index=True)[1]
        is_first = np.zeros(len(channels))
        is_first[firsts] = 1.0
        for position, credit in enumerate(page.credits):
            is_known = ~np.isnan(credit)
            of_conversions = np.bincount(owners, np.where(is_known, credit, 0.0), number)
            has_any = np.bincount(owners, is_known, number) > 0
            is_wrong |= has_any & (np.abs(of_conversions - 1) > _UNEVEN)
            used = is_known & has_conversion
            channel, counts, credit = channels[used], is_first[used], credit[used]
            of_page[:, position, 0] = np.bincount(channel, credit, len(codes))
            of_page[:, position, 1] = np.bincount(channel, counts, len(codes))
            of_page[:, position, 2] = np.bincount(channel, credit * values[used], len(codes))
        uneven += [page.conversion_ids[place] for place in np.flatnonzero(is_wrong).tolist()]
        for name, code in codes.items():
            earlier = sums.get(name)
            sums[name] = of_page[code] if earlier is None else earlier + of_page[code]
    totals = {
        (model, name): Totals(credit=credit, conversions=int(conversions), value=value)
        for name, of_models in sums.items()
        for model, (credit, conversions, value) in zip(MODELS, of_models.tolist(), strict=True)
        if conversions
    }
    return totals, uneven


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
    mended = {(each.model, each.channel): each.counted for each in differences}
    kept = _kept(connection)
    for channel in sorted({each.channel for each in differences}):
        connection.execute(statements.FORGET_CHANNEL.sql, (channel,))
        of_models = [
            mended[model, channel] if (model, channel) in mended else kept.get((model, channel))
            for model in MODELS
        ]
        if any(of_models):
            sums = [
                (0.0, 0, 0.0) if each is None else (each.credit, each.conversions, each.value)
                for each in of_models
            ]
            row = (channel, now_ms, *chain.from_iterable(sums))
            connection.execute(statements.ADD_TO_CHANNEL.sql, row)
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
            rows = [
                row
                for each in usable
                for row in credit_rows(each.conversion_id, each.channels, scheme.credits(each))
            ]
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
