"""Waiting rows in a table of the database, which one holder at a time leases.

The conversions queue and the outbox are such tables. Each has a second table of dead letters.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.clock import Clock, epoch_ms
from core.query.database import Database
from core.query.queries import Lease
from core.query.statement import Statement

LEASE_SECONDS = 30.0
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogStatus:
    """Numbers of waiting conversions, and the enqueueing time of the oldest in epoch milliseconds.

    due: may be taken now; leased: a holder has them; later: put off after `retry` or by a holder
    that gave up its lease; failed: conversions in any of the three that failed before.
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

    due: Statement
    not_due: Statement
    break_leases: Statement
    dead: Statement


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

    async def break_leases(self) -> int:
        """Make all leased rows due; return their number.

        For a holder that starts and is the only one: the holders of these leases are gone.
        """
        now = epoch_ms(self._clock)
        return (await self._database.write((self._rows.break_leases, [(now, now)])))[0]

    async def status(self) -> BacklogStatus:
        """Return the numbers of waiting rows."""
        database, now = self._database, epoch_ms(self._clock)
        due, oldest_due, failed_due = (await database.read(self._rows.due, (now,)))[0]
        ((waiting, leased, oldest, failed),) = await database.read(self._rows.not_due, (now,))
        ages = [age for age in (oldest_due, oldest) if age is not None]
        return BacklogStatus(
            due=due,
            leased=leased,
            later=waiting - leased,
            failed=failed_due + failed,
            oldest_ms=min(ages, default=None),
        )

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
