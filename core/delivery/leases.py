"""Waiting rows in a table of the database, which one holder at a time leases.

The conversions queue and the outbox are such tables. Each has a second table of dead letters.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from core.clock import Clock, epoch_ms
from core.query.database import Command, Database, Metered, Row
from core.query.queries import Lease
from core.query.statement import Statement

LEASE_SECONDS = 30.0
MOST_COUNTED = 1_000
"""Rows that a status reads at most: D1 bills each."""

MOST_DEAD_COUNTED = MOST_COUNTED // 2
"""Dead letters that are counted at most: each takes two rows."""

_PAGE = 500
_CLAIMED_TOGETHER = 500  # a statement lists its rows, and D1 limits its bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogStatus:
    """Numbers of waiting conversions, and the enqueueing time of the oldest in epoch milliseconds.

    due: may be taken now; leased: a holder has them; later: put off after `retry` or by a holder
    that gave up its lease; failed: conversions in any of the three that failed before. All numbers
    are of the first MOST_COUNTED rows, due ones first.
    """

    due: int
    leased: int
    later: int
    failed: int
    oldest_ms: int | None

    @property
    def total(self) -> int:
        """The number of conversions that wait or are leased."""
        return self.due + self.leased + self.later

    @property
    def is_complete(self) -> bool:
        """Whether every row was counted: False if there may be more than MOST_COUNTED."""
        return self.total < MOST_COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A conversion that was given up."""

    conversion_id: str
    attempts: int
    reason: str
    died_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseStatements:
    """The statements over one table of waiting rows and the table of its dead letters."""

    waiting: Statement
    take: Statement
    found: Statement
    claim: Callable[[int], Statement]
    unclaim: Statement
    claimed: Statement
    break_leases: Statement
    dead: Statement
    number_dead: Statement


class LeasedRows:
    """A table of waiting rows, as one holder sees it; a lease lasts *seconds*.

    database: the store itself. On the platform a queue is a service beside the database, so the
    modelled latency of the database does not apply to these operations. All raise StoreError.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rows: LeaseStatements,
        *,
        owner: str,
        seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._rows = rows
        self.lease = Lease(owner, seconds)

    def _until_ms(self, more: float = 0.0) -> int:
        """Return the end, in epoch milliseconds, of a lease that begins in *more* seconds."""
        return epoch_ms(self._clock) + round(1000 * (self.lease.seconds + more))

    async def _take(self, limit: int, due_ms: int) -> list[Row]:
        """Lease at most *limit* rows that are due at *due_ms*; return what `take` does of each.

        A database that counts its rows is asked in two operations, which read a fifth of the rows.
        """
        until_ms, owner = self._until_ms(), self.lease.owner
        if not isinstance(self._database, Metered):
            return await self._database.read(self._rows.take, (until_ms, owner, due_ms, limit))
        rows = await self._database.read(self._rows.found, (due_ms, limit))
        if not rows:
            return rows
        claims: list[Command] = []
        for start in range(0, len(rows), _CLAIMED_TOGETHER):
            ids = [row[1] for row in rows[start : start + _CLAIMED_TOGETHER]]
            listed = json.dumps(ids, ensure_ascii=False)
            claims.append((self._rows.claim(len(ids)), [(listed, until_ms, owner, due_ms)]))
        *changed, gone = await self._database.write(*claims, (self._rows.unclaim, [()]))
        if sum(changed) - gone < len(rows):  # others were there in between
            claimed = await self._database.read(self._rows.claimed, (until_ms, owner))
            mine = {name for (name,) in claimed}
            rows = [row for row in rows if row[1] in mine]
        return rows

    async def break_leases(self) -> int:
        """Make all leased rows due; return their number.

        For a holder that starts and is the only one: the holders of these leases are gone.
        """
        now = epoch_ms(self._clock)
        return (await self._database.write((self._rows.break_leases, [(now, now)])))[0]

    async def status(self) -> BacklogStatus:
        """Return the numbers of waiting rows, of the first MOST_COUNTED."""
        rows = await self._database.read(self._rows.waiting, (epoch_ms(self._clock), MOST_COUNTED))
        ((counted, due, leased, failed, oldest),) = rows
        return BacklogStatus(
            due=due, leased=leased, later=counted - due - leased, failed=failed, oldest_ms=oldest
        )

    async def dead(self) -> int:
        """Return the number of dead letters, at most MOST_DEAD_COUNTED."""
        number: int = (await self._database.read(self._rows.number_dead, (MOST_DEAD_COUNTED,)))[0][
            0
        ]
        return number

    async def dead_letters(self) -> list[DeadLetter]:
        """Return all dead letters, by conversion id."""
        letters: list[DeadLetter] = []
        after = ""
        while True:
            rows = await self._database.read(self._rows.dead, (after, _PAGE))
            letters += [
                DeadLetter(conversion_id=name, attempts=attempts, reason=reason, died_at_ms=died)
                for name, attempts, reason, died in rows
            ]
            if len(rows) < _PAGE:
                return letters
            after = rows[-1][0]
