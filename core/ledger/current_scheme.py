"""The scheme that is in force in one process, kept up to date with the models of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from core.attribution.scheme import Scheme
from core.clock import Clock
from core.context import BATCH_SLOTS, CURRENT, Operation, Span
from core.errors import StoreError
from core.query.queries import Queries


class CurrentScheme:
    """Holds a scheme, and replaces it as a newer model becomes known.

    refresh: seconds for which `look` uses the known scheme before it asks the database again.
    retain: keeps a task until it has ended.
    """

    __slots__ = ("_clock", "_due", "_queries", "_refresh", "_retain", "scheme")

    def __init__(
        self,
        scheme: Scheme,
        queries: Queries,
        clock: Clock,
        *,
        refresh: float,
        retain: Callable[[asyncio.Task[Any]], None],
    ) -> None:
        self.scheme = scheme
        self._queries = queries
        self._clock = clock
        self._refresh = refresh
        self._retain = retain
        self._due = clock.now() + refresh

    def adopt(self, stored: Sequence[Any]) -> None:
        """Put the model of the row (number, JSON) in force, unless a newer one is."""
        if stored[0] > (self.scheme.number or 0):
            self.scheme = Scheme(self.scheme.parameters, stored)

    def look(self, span: Span) -> Scheme:
        """Return the scheme in force; look for a newer model in the background if it is time.

        The caller does not wait for it: an unavailable database must not delay a cached answer.
        """
        now = self._clock.now()
        if now >= self._due:
            self._due = now + self._refresh
            asking = self._ask(type(span)(span.row, is_batch=span.is_batch))
            self._retain(asyncio.get_running_loop().create_task(asking))
        return self.scheme

    async def _ask(self, span: Span) -> None:
        CURRENT.set(Operation(span, (BATCH_SLOTS if span.is_batch else span.slots)["model"]))
        try:
            stored = await self._queries.newer_model(self.scheme.number or 0)
        except StoreError:
            return  # the known scheme stays in force, and the next look asks again
        if stored is not None:
            self.adopt(stored)
