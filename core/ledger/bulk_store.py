"""The ledger of credits: those of all waiting conversions of a database, stored in bulk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter

import numpy as np

from core.attribution.fused import Credit, share_credit
from core.attribution.journeys import Journey
from core.attribution.models import MODELS, weights_of
from core.attribution.parameters import Parameters
from core.attribution.paths import Floats, Paths, chosen_paths, kept_touches
from core.attribution.scheme import Scheme
from core.delivery.document import delivery_document
from core.errors import InputError
from core.ledger.connections import Writer, rows_of, transaction
from core.ledger.one_by_one import Stored, store_singly
from core.ledger.path_reader import UnusableRow, events_at_most, read_paths, user_ranges
from core.ledger.stored_credits import credit_rows, joined
from core.query import queue_statements, scan_statements, statements

RANGE_EVENTS = 50_000
"""Events of a range of users, more only if one user has more. This bounds a transaction, and the
time that other writers wait."""

_Users = tuple[str, str | bytes]


def store_waiting(
    connection: Writer,
    scheme: Scheme,
    *,
    now_ms: int,
    forwards: bool = False,
    events_per_range: int = RANGE_EVENTS,
    on_progress: Callable[[float, Stored], None] = lambda share, stored: None,
) -> Stored:
    """Attribute every conversion that waits, dead letters included, and store the results.

    Each range of users has a transaction, which reads the journeys, writes their credits, adds them
    to the channels' totals and takes the conversions from the queue. Each conversion counts once,
    even if this is interrupted or another process consumes the queue meanwhile. A conversion whose
    data cannot be used becomes a dead letter with its reason; the others are stored.
    forwards: whether the conversions also enter the outbox for the service's destination.
    on_progress: called after each range with the share done and the durably stored numbers.
    Raise InputError if the database cannot be written, or if it holds credits that were computed
    with parameters other than those of *scheme*.
    """
    key = scheme.parameters_key
    if rows_of(connection, statements.ATTRIBUTED_OTHERWISE, "", key, 1):
        raise InputError(
            "the database holds credits of other attribution parameters: name the scenario of its "
            "service, or start the service once with this scenario, which recomputes the credits"
        )
    expected = 1 + events_at_most(connection) // events_per_range
    stored = Stored()
    for number, users in enumerate(user_ranges(connection, touches=events_per_range), 1):
        stored += _store_range(connection, scheme, users, now_ms, forwards=forwards)
        on_progress(min(0.99, number / expected), stored)
    on_progress(1.0, stored)
    return stored


def _store_range(
    connection: Writer, scheme: Scheme, users: _Users, now_ms: int, *, forwards: bool
) -> Stored:
    parameters = scheme.parameters
    if not rows_of(connection, scan_statements.WAITING_IN_RANGE, *users):
        return Stored()  # this check locks nothing
    with transaction(connection):
        waiting = {
            name for (name,) in rows_of(connection, scan_statements.WAITING_IN_RANGE, *users)
        }
        try:
            found = read_paths(connection, parameters, users=users, with_ids=True)
        except UnusableRow:
            ids = sorted(waiting)
            return store_singly(connection, scheme, ids, now_ms, forwards=forwards)
        assert found.conversion_ids is not None
        # The order of the table's key is the order of its rows in the file.
        order = sorted(
            (name, at) for at, name in enumerate(found.conversion_ids) if name in waiting
        )
        paths = chosen_paths(found, np.array([at for _, at in order], dtype=np.int64))
        weights = np.array(weights_of(scheme.weights, paths.channels), dtype=np.float64)
        credit = share_credit(paths, parameters, weights=weights, keep=True)
        names = [(name,) for name, _ in order]
        marks = [(scheme.parameters_key, scheme.number, name) for name, _ in order]
        for statement, rows in (
            (queue_statements.DEQUEUE, names),
            (queue_statements.DROP_DEAD_LETTER, names),
            (statements.INSERT_CREDITS, _credit_rows(paths, parameters, credit)),
            (statements.ADD_TO_CHANNEL, _channel_rows(paths, credit, now_ms)),
        ):
            connection.executemany(statement.sql, rows)
        if forwards:
            deliveries = _deliveries(connection, [name for name, _ in order])
            due: list[tuple[object, ...]] = [
                (name, document, now_ms, now_ms, None, name) for name, document in deliveries
            ]
            connection.executemany(queue_statements.FORWARD.sql, due)
        connection.executemany(statements.MARK_PROCESSED.sql, marks)
    return Stored(
        conversions=len(paths),
        touches=len(paths.codes),
        without_touches=int(np.count_nonzero(paths.lengths == 0)),
    )


def _deliveries(connection: Writer, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the id and the document of each of the stored conversions *ids*."""
    rows = rows_of(connection, statements.STORED_RESULTS, json.dumps([*ids]))
    for (name, user, at_ms, value), group in groupby(rows, key=itemgetter(0, 1, 2, 3)):
        channels, shares = joined(name, [text for *_, text in group if text is not None])
        journey = Journey(
            conversion_id=name, user_id=user, converted_ms=at_ms, value=value,
            times_ms=(), channels=tuple(channels),
        )  # fmt: skip
        yield name, delivery_document(journey, shares)


def _credit_rows(
    paths: Paths, parameters: Parameters, credit: Credit
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of INSERT_CREDITS; touches that the direct rule leaves out get 0."""
    assert credit.credits is not None
    credits: Floats = credit.credits[:, [credit.models.index(model) for model in MODELS]]
    kept = kept_touches(paths, parameters.direct)
    if kept is not None:
        of_all = np.zeros((len(paths.codes), len(MODELS)))
        of_all[kept] = credits
        credits = of_all
    channels = np.array(paths.channels, dtype=object)[paths.codes].tolist()
    shares = [column.tolist() for column in credits.T]
    assert paths.conversion_ids is not None
    for name, start, end in zip(
        paths.conversion_ids, paths.offsets[:-1].tolist(), paths.offsets[1:].tolist(), strict=True
    ):
        of_touches = [column[start:end] for column in shares]
        yield from credit_rows(name, channels[start:end], of_touches)


def _channel_rows(paths: Paths, credit: Credit, now_ms: int) -> Iterator[tuple[object, ...]]:
    """Yield the rows of ADD_TO_CHANNEL: of each channel that a journey has, credited or not."""
    width = len(paths.channels)
    owners = np.repeat(np.arange(len(paths)), paths.lengths)
    journeys = np.bincount(np.unique(owners * width + paths.codes) % max(1, width), minlength=width)
    rows = [credit.models.index(model) for model in MODELS]
    for place, channel in enumerate(paths.channels):
        if number := int(journeys[place]):
            sums = [
                (float(credit.conversions[row, place]), number, float(credit.values[row, place]))
                for row in rows
            ]
            yield channel, now_ms, *chain.from_iterable(sums)
