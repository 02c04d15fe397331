"""Storing conversions one by one, after a bulk store met data that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from core.attribution.journeys import journeys_of
from core.attribution.scheme import Scheme
from core.delivery.document import delivery_document
from core.ledger.connections import Writer, rows_of
from core.ledger.processor import attribution_commands
from core.query import queue_statements, statements
from core.query.statements import journeys_under

_AT_ONCE = 1_000
"""Conversions whose journeys are held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Counts of stored conversions, rows of credits, and conversions without a touch.

    rejected: conversions that could not be attributed and became dead letters.
    """

    conversions: int = 0
    touches: int = 0
    without_touches: int = 0
    rejected: int = 0

    def __add__(self, other: Stored) -> Stored:
        return Stored(
            conversions=self.conversions + other.conversions,
            touches=self.touches + other.touches,
            without_touches=self.without_touches + other.without_touches,
            rejected=self.rejected + other.rejected,
        )


def store_singly(
    connection: Writer, scheme: Scheme, ids: Sequence[str], now_ms: int, *, forwards: bool
) -> Stored:
    """Store the credits of the waiting conversions *ids*, all but those that cannot be used.

    Those become dead letters with their reason, as in the service's consumer. The caller holds
    the transaction. forwards: whether results are put out for the service's destination.
    """
    parameters = scheme.parameters
    statement = journeys_under(
        statements.WAITING_JOURNEYS, named=parameters.has_milestones, own=parameters.own_event
    )
    stored, rejected = Stored(), dict[str, str]()
    for start in range(0, len(ids), _AT_ONCE):
        some = json.dumps(ids[start : start + _AT_ONCE])
        rows = rows_of(connection, statement, parameters.lookback_ms, some)
        results = []
        for journey in journeys_of(rows, parameters.milestones):
            if fault := journey.fault():
                rejected[journey.conversion_id] = fault
            else:
                results.append((journey, scheme.credits(journey)))
        if forwards:
            connection.executemany(
                queue_statements.FORWARD.sql,
                [
                    (name, delivery_document(journey, shares), now_ms, now_ms, None, name)
                    for journey, shares in results
                    if (name := journey.conversion_id)
                ],
            )
        for command, values in attribution_commands(results, scheme, now_ms):
            connection.executemany(command.sql, values)
        connection.executemany(
            queue_statements.DROP_DEAD_LETTER.sql,
            [(journey.conversion_id,) for journey, _ in results],
        )
        lengths = [len(journey.times_ms) for journey, _ in results]
        stored += Stored(
            conversions=len(lengths), touches=sum(lengths), without_touches=lengths.count(0)
        )
    for command, values in (
        (queue_statements.REJECT, [(reason, now_ms, name) for name, reason in rejected.items()]),
        (queue_statements.DEQUEUE, [(name,) for name in rejected]),
    ):
        connection.executemany(command.sql, values)
    return stored + Stored(rejected=len(rejected))
