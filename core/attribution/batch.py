"""The batch attribution processor: journeys of many conversions to stored credits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from core.attribution.journeys import Journey
from core.attribution.models import MODELS, credits_of
from core.forwarding.forwarder import Forwarder
from core.query import statements
from core.query.database import Command
from core.query.queries import Queries
from core.span import BATCH_SLOTS, CURRENT, Operation, Span


class BatchAttributionProcessor:
    """Computes every model for a batch of conversions and stores the results at once.

    A conversion that was processed before is left out, so a batch delivered twice counts once.
    forwarder: what tells a destination of finished conversions, None if there is none.
    """

    def __init__(
        self,
        queries: Queries,
        *,
        now_ms: Callable[[], int],
        forwarder: Forwarder | None = None,
    ) -> None:
        self._queries = queries
        self._now_ms = now_ms
        self._forwarder = forwarder
        self.processed = 0
        self.without_touches = 0

    async def process(self, span: Span, conversion_ids: Sequence[str]) -> None:
        """Attribute *conversion_ids* and store the results; StoreError if the database fails."""
        CURRENT.set(Operation(span, BATCH_SLOTS["batch-read"]))
        journeys = await self._queries.waiting_journeys(conversion_ids)
        if not journeys:
            return
        CURRENT.set(Operation(span, BATCH_SLOTS["batch-write"]))
        commands = attribution_commands(journeys, self._now_ms())
        if self._forwarder is not None:
            commands.append(self._forwarder.entries([j.conversion_id for j in journeys]))
        await self._queries.store_attribution(commands)
        if self._forwarder is not None:
            self._forwarder.wake()
        self.processed += len(journeys)
        self.without_touches += sum(not journey.times_ms for journey in journeys)


def attribution_commands(journeys: Iterable[Journey], now_ms: int) -> list[Command]:
    """Return the writes that store the credits of *journeys* under every model.

    channel_performance grows by the same credits, so that it equals the sum of the rows.
    """
    rows: list[tuple[object, ...]] = []
    processed: list[tuple[str]] = []
    totals: dict[tuple[str, str], list[float]] = {}
    for journey in journeys:
        processed.append((journey.conversion_id,))
        count = len(journey.times_ms)
        shares = [credits_of(model, journey.times_ms, journey.converted_ms) for model in MODELS]
        for position, channel in enumerate(journey.channels):
            credits = [share[position] for share in shares]
            rows.append((journey.conversion_id, position, count, channel, *credits))
        value = journey.value
        for model, share in zip(MODELS, shares, strict=True):
            of_channel: dict[str, float] = {}
            for channel, credit in zip(journey.channels, share, strict=True):
                of_channel[channel] = of_channel.get(channel, 0.0) + credit
            for channel, credit in of_channel.items():
                total = totals.get((model, channel))
                if total is None:
                    total = totals[model, channel] = [0.0, 0, 0.0]
                total[0] += credit
                total[1] += 1
                total[2] += credit * value
    channels = [
        (model, channel, credit, count, value, now_ms)
        for (model, channel), (credit, count, value) in sorted(totals.items())
    ]
    commands: list[Command] = [
        (statements.MARK_PROCESSED, processed),
        (statements.DEQUEUE, processed),
    ]
    if rows:
        commands += [(statements.INSERT_CREDITS, rows), (statements.ADD_TO_CHANNEL, channels)]
    return commands
