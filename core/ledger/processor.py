"""The batch attribution processor: journeys of many conversions to stored credits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import add

from core.attribution.journeys import Journey
from core.attribution.models import MODELS
from core.attribution.scheme import Scheme
from core.context import BATCH_SLOTS, CURRENT, Operation, Span
from core.delivery.document import delivery_document
from core.delivery.forwarder import Forwarder
from core.errors import Refused
from core.ledger.stored_credits import credit_rows
from core.query import queue_statements, statements
from core.query.database import Command
from core.query.queries import Queries


class BatchAttributionProcessor:
    """Computes every model for a batch of conversions and stores the results at once.

    A conversion that was processed before is left out, so a batch delivered twice counts once. A
    conversion whose data cannot be used does not stop the others.

    in_force: returns the scheme for the batch of a span. forwarder: sends finished conversions to a
    destination, None if there is none.
    """

    def __init__(
        self,
        queries: Queries,
        *,
        now_ms: Callable[[], int],
        in_force: Callable[[Span], Scheme] = lambda _: Scheme(),
        forwarder: Forwarder | None = None,
    ) -> None:
        self._queries = queries
        self._now_ms = now_ms
        self._in_force = in_force
        self._forwarder = forwarder
        self.processed = 0
        self.without_touches = 0

    async def process(self, span: Span, conversion_ids: Sequence[str]) -> dict[str, str]:
        """Attribute *conversion_ids* and store the results; return the reasons of failures, by id.

        Raise StoreError if the database fails: conversions that are not stored then wait.
        """
        CURRENT.set(Operation(span, BATCH_SLOTS["batch-read"]))
        journeys = await self._queries.waiting_journeys(conversion_ids)
        rejected = {
            journey.conversion_id: fault for journey in journeys if (fault := journey.fault())
        }
        if rejected:
            journeys = [found for found in journeys if found.conversion_id not in rejected]
        if journeys:
            CURRENT.set(Operation(span, BATCH_SLOTS["batch-write"]))
            try:
                await self._store(span, journeys)
            except Refused:
                rejected |= await self._store_one_by_one(span, journeys)
        return rejected

    async def _store(self, span: Span, journeys: Sequence[Journey]) -> None:
        scheme = self._in_force(span)
        results = [(journey, scheme.credits(journey)) for journey in journeys]
        commands = attribution_commands(results, scheme, self._now_ms())
        if self._forwarder is None:
            changed = await self._queries.store_attribution(*commands)
        else:
            handover = self._forwarder.accept(
                [(j.conversion_id, delivery_document(j, shares)) for j, shares in results]
            )
            try:
                _, *changed = await self._queries.store_attribution(handover.command, *commands)
            except BaseException:
                await handover.failed()
                raise
            handover.stored()
        # Only a conversion without touches can have been stored by another consumer meanwhile:
        # credits are stored once, or refused.
        overtaken = len(journeys) - changed[0]
        self.processed += changed[0]
        self.without_touches += sum(not journey.times_ms for journey in journeys) - overtaken

    async def _store_one_by_one(self, span: Span, journeys: Sequence[Journey]) -> dict[str, str]:
        """Store each journey that the database accepts; return reasons for the others, by id."""
        refused = {}
        for journey in journeys:
            try:
                await self._store(span, [journey])
            except Refused as error:
                refused[journey.conversion_id] = str(error)
        if not refused:
            return refused
        # A conversion that another consumer stored in between no longer waits: that is no failure.
        waiting = await self._queries.waiting_journeys([*refused])
        return {each.conversion_id: refused[each.conversion_id] for each in waiting}


Result = tuple[Journey, Sequence[Sequence[float]]]
"""A journey, and the credits of its touches under each of MODELS."""


class _ChannelTotals:
    """A channel's credits and values from some conversions, under each of MODELS."""

    __slots__ = ("conversions", "credits", "values")

    def __init__(self) -> None:
        self.conversions = 0
        self.credits = [0.0] * len(MODELS)
        self.values = [0.0] * len(MODELS)

    def take(self, credits: Sequence[float], value: float) -> None:
        """Add the *credits* of a conversion of *value*."""
        self.conversions += 1
        self.credits = [*map(add, self.credits, credits)]
        self.values = [
            total + credit * value for total, credit in zip(self.values, credits, strict=True)
        ]

    def row(self, channel: str, now_ms: int) -> tuple[object, ...]:
        """Return the row of `add_to_channel` for *channel*."""
        number = self.conversions
        sums = [
            (credit, number, value) for credit, value in zip(self.credits, self.values, strict=True)
        ]
        return (channel, now_ms, *chain.from_iterable(sums))


def attribution_commands(results: Iterable[Result], scheme: Scheme, now_ms: int) -> list[Command]:
    """Return the writes that store *results*, which were computed under *scheme*.

    The channels' totals grow by the same credits, so that they equal the sums of the rows. Raise
    Refused for a credit that is no finite number.
    """
    rows: list[tuple[object, ...]] = []
    processed: list[tuple[object, ...]] = []
    dequeued: list[tuple[object, ...]] = []
    totals: dict[str, _ChannelTotals] = {}
    parameters_key, number = scheme.parameters_key, scheme.number
    for journey, shares in results:
        name = journey.conversion_id
        processed.append((parameters_key, number, name))
        dequeued.append((name,))
        rows += credit_rows(name, journey.channels, shares)
        of_channels: dict[str, Sequence[float]] = {}
        for channel, *credits in zip(journey.channels, *shares, strict=True):
            earlier = of_channels.get(channel)
            of_channels[channel] = credits if earlier is None else [*map(add, earlier, credits)]
        for channel, gained in of_channels.items():
            total = totals.get(channel)
            if total is None:
                total = totals[channel] = _ChannelTotals()
            total.take(gained, journey.value)
    commands: list[Command] = [
        (statements.MARK_PROCESSED, processed),
        (queue_statements.DEQUEUE, dequeued),
    ]
    if rows:
        channels = [total.row(channel, now_ms) for channel, total in sorted(totals.items())]
        commands += [(statements.INSERT_CREDITS, rows), (statements.ADD_TO_CHANNEL, channels)]
    return commands
