"""The query layer: the application's queries to the database, timed from call to result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from core.attribution.journeys import Journey, journeys_of
from core.attribution.parameters import Parameters
from core.clock import Clock, epoch_ms
from core.errors import StoreError
from core.event import Event
from core.metrics.profiler import LatencyProfiler
from core.metrics.span import land
from core.query import queue_statements, scan_statements, statements
from core.query.database import Command, Database, Row
from core.query.statement import Statement
from core.query.statements import journeys_under


@dataclass(frozen=True, slots=True)
class Lease:
    """The consumer that holds a conversion of the queue, and the seconds for which it does."""

    owner: str
    seconds: float


class Queries:
    """The named queries over one database; every one is profiled under its name.

    lease: of the accepting process, if that process also consumes conversions. The row in the
    queue is then inserted with this lease, which saves the database an operation. None leaves the
    row for any consumer.
    parameters: they set where journeys begin and which events mark their milestones.
    """

    __slots__ = ("_clock", "_database", "_insert_event", "_lease", "_parameters", "_profiler")

    def __init__(
        self,
        database: Database,
        clock: Clock,
        profiler: LatencyProfiler,
        *,
        lease: Lease | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._profiler = profiler
        self._lease = lease
        self._parameters = parameters or Parameters()
        self._insert_event = profiler.profile("query", statements.INSERT_EVENT.name)

    async def read(self, statement: Statement, *parameters: object) -> list[Row]:
        """Return the rows of *statement*, which only reads; StoreError if the database fails."""
        started = self._clock.now()
        try:
            rows = await self._database.read(statement, parameters)
        except StoreError:
            self._profiler.fail("query", statement.name, self._clock.now() - started)
            raise
        self._profiler.record("query", statement.name, self._clock.now() - started)
        return rows

    async def site(self, site_id: str) -> Row | None:
        """Return (enabled, max_event_bytes) of a site."""
        rows = await self.read(statements.SITE, site_id)
        return rows[0] if rows else None

    async def user(self, user_id: str) -> Row | None:
        """Return (segment, profile) of a user."""
        rows = await self.read(statements.USER, user_id)
        return rows[0] if rows else None

    async def user_journey(self, user_id: str, limit: int = 100) -> list[Row]:
        """Return the newest *limit* events of a user, oldest of them first.

        A row is (event_id, event_name, utm_source, event_timestamp, conversion_id, utm_medium,
        utm_campaign, utm_term, utm_content).
        """
        rows = await self.read(statements.USER_JOURNEY, user_id, limit)
        rows.reverse()
        return rows

    async def conversion_journey(self, conversion_id: str) -> Journey | None:
        """Return the journey of a conversion, None if there is no such conversion."""
        journeys = await self._journeys(statements.CONVERSION_JOURNEY, conversion_id)
        return journeys[0] if journeys else None

    async def waiting_journeys(self, conversion_ids: Sequence[str]) -> list[Journey]:
        """Return the journeys of those *conversion_ids* that have not been processed."""
        return await self._journeys(statements.WAITING_JOURNEYS, json.dumps(list(conversion_ids)))

    async def _journeys(self, statement: Statement, whose: str) -> list[Journey]:
        parameters = self._parameters
        if parameters.own_event or parameters.has_milestones:
            statement = journeys_under(
                statement, named=parameters.has_milestones, own=parameters.own_event
            )
        rows = await self.read(statement, parameters.lookback_ms, whose)
        return journeys_of(rows, parameters.milestones)

    async def newer_model(self, number: int) -> Row | None:
        """Return (number, JSON) of the model stored last, None if none is newer than *number*."""
        rows = await self.read(statements.NEWER_MODEL, number)
        return rows[0] if rows else None

    async def store_model(self, row: Sequence[object]) -> int:
        """Store a fitted model; return its number."""
        number: int = (await self.read(statements.INSERT_MODEL, *row))[0][0]
        return number

    async def newest_event(self) -> int:
        """Return the number of the event stored last, 0 if there is none."""
        number: int | None = (await self.read(scan_statements.NEWEST_EVENT))[0][0]
        return number or 0

    async def events(self, after: int, until: int, limit: int) -> list[Row]:
        """Return the first *limit* events numbered above *after* and up to *until*.

        A row is (number, user_id, event_timestamp, utm_source, conversion_id,
        conversion_timestamp, value), the last two None unless the event brought its conversion.
        """
        return await self.read(statements.EVENTS_AFTER, after, until, limit)

    async def channel_performance(self, model: str, limit: int = 50) -> list[Row]:
        """Return (utm_source, total_attribution, total_conversions, total_value), best first."""
        return await self.read(statements.CHANNEL_PERFORMANCE, model, limit)

    async def insert_event(self, event: Event, segment: str) -> tuple[bool, bool]:
        """Store *event*, its conversion and the conversion's row in the queue in one transaction.

        Return whether the event was new, and whether it brought a new conversion.
        """
        event_id, user_id, _, name, at_ms, source, conversion_id, value, campaign = event
        statement = statements.INSERT_EVENT
        row: tuple[object, ...] = (
            event_id, user_id, name, source, at_ms, segment, conversion_id
        )  # fmt: skip
        if campaign is not None:
            statement, row = statements.INSERT_CAMPAIGN_EVENT, row + campaign
        started = self._clock.now()
        try:
            if conversion_id is None:
                changed = await self._database.write((statement, (row,)))
            else:
                conversion = (conversion_id, event_id, user_id, at_ms, value or 0.0)
                changed = await self._database.write(
                    (statement, (row,)),
                    (statements.INSERT_CONVERSION, (conversion,)),
                    (queue_statements.ENQUEUE, (self._queued(conversion_id),)),
                )
        except StoreError:
            self._profiler.fail("query", statements.INSERT_EVENT.name, self._clock.now() - started)
            raise
        seconds = self._clock.now() - started
        self._insert_event.record(seconds)
        if self._profiler.has_spans:
            land(self._insert_event, seconds)
        return changed[0] > 0, conversion_id is not None and changed[1] > 0

    def _queued(self, conversion_id: str) -> tuple[int, int, int, str | None, str]:
        now, lease = epoch_ms(self._clock), self._lease
        if lease is None:
            return 0, now, now, None, conversion_id
        return 1, now, now + round(1000 * lease.seconds), lease.owner, conversion_id

    async def store_attribution(self, *commands: Command) -> list[int]:
        """Store the batch processor's results in one transaction; return the rows changed."""
        started = self._clock.now()
        try:
            changed = await self._database.write(*commands)
        except StoreError:
            self._profiler.fail("query", "store_attribution", self._clock.now() - started)
            raise
        self._profiler.record("query", "store_attribution", self._clock.now() - started)
        return changed
