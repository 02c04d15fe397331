"""The durable part of the conversions queue: who has what, what failed, and what is dead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from core.clock import Clock, epoch_ms
from core.query import statements
from core.query.database import Command, Database
from core.query.queries import Lease
from core.query.statements import Statement

LEASE_SECONDS = 30.0
_PAGE = 500
_ALL_ATTEMPTS = 2**31
_FAILED = "tried {} times without success; the last error: "
_NEVER_FINISHED = "taken {} times and never finished: the consumer ended in the middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogStatus:
    """How many conversions wait, and the enqueueing time of the oldest in epoch milliseconds.

    due: may be taken now; leased: in a consumer's hands; later: put off after `retry` or by a
    consumer that gave up its lease; failed: those of all three that failed before.
    """

    due: int
    leased: int
    later: int
    failed: int
    oldest_ms: int | None

    @property
    def total(self) -> int:
        """All that wait or are in hand."""
        return self.due + self.leased + self.later


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A conversion that was given up."""

    conversion_id: str
    attempts: int
    reason: str
    died_at_ms: int


async def status_of(
    database: Database, due_rows: Statement, other_rows: Statement, now_ms: int
) -> BacklogStatus:
    """Return what two statements count of a queue's rows: those due at *now_ms*, and the others."""
    due, oldest_due, failed_due = (await database.read(due_rows, (now_ms,)))[0]
    ((waiting, leased, oldest, failed),) = await database.read(other_rows, (now_ms,))
    ages = [age for age in (oldest_due, oldest) if age is not None]
    return BacklogStatus(
        due=due,
        leased=leased,
        later=waiting - leased,
        failed=failed_due + failed,
        oldest_ms=min(ages, default=None),
    )


class Backlog:
    """The rows of conversion_queue and dead_letters, seen by one consumer.

    database: the store itself. On the platform the queue is a service beside the database, so no
    modelled latency of the database stands in front of these operations. All raise StoreError.
    """

    def __init__(
        self, database: Database, clock: Clock, *, owner: str, seconds: float = LEASE_SECONDS
    ) -> None:
        self._database = database
        self._clock = clock
        self.lease = Lease(owner, seconds)

    def _until_ms(self, more: float = 0.0) -> int:
        return epoch_ms(self._clock) + round(1000 * (self.lease.seconds + more))

    async def take(self, limit: int) -> list[tuple[str, int]]:
        """Lease at most *limit* due conversions; return them with their attempts, oldest first."""
        rows = await self._database.read(
            statements.LEASE,
            (self._until_ms(), self.lease.owner, epoch_ms(self._clock), limit),
        )
        return [(conversion, attempts) for _, conversion, attempts in sorted(rows)]

    async def renew(self, conversion_ids: Sequence[str]) -> None:
        """Hold *conversion_ids* from now on, but for those that another consumer has taken."""
        owner = self.lease.owner
        row = (self._until_ms(), owner, json.dumps([*conversion_ids]), owner)
        await self._database.write((statements.RENEW_LEASE, [row]))

    async def break_leases(self) -> int:
        """Let all be due that is in anybody's hands; return how many that were.

        For a consumer that starts and is the only one: whoever held them is gone.
        """
        now = epoch_ms(self._clock)
        return (await self._database.write((statements.BREAK_LEASES, [(now, now)])))[0]

    async def record_failure(
        self, conversion_ids: Sequence[str], error: str, *, retry_in: float
    ) -> None:
        """Keep why an attempt failed; the next one, in *retry_in* seconds, is this consumer's."""
        ids, owner = json.dumps([*conversion_ids]), self.lease.owner
        row = (self._until_ms(retry_in), owner, error, ids, owner)
        await self._database.write((statements.RECORD_FAILURE, [row]))

    async def release(self, conversion_ids: Sequence[str], *, due_in: float) -> None:
        """Give up the leases of *conversion_ids*; anybody may take them in *due_in* seconds."""
        due_ms = epoch_ms(self._clock) + round(1000 * due_in)
        row = (due_ms, json.dumps([*conversion_ids]), self.lease.owner)
        await self._database.write((statements.RELEASE, [row]))

    async def dead_letter(self, conversion_ids: Sequence[str], reason: str) -> int:
        """Move *conversion_ids* to the dead letters, but for those that another consumer has taken.

        Return how many conversions were moved.
        """
        return await self._dead_letter(
            statements.DEAD_LETTER, (_ALL_ATTEMPTS, reason), conversion_ids
        )

    async def dead_letter_spent(self, conversion_ids: Sequence[str], *, attempts: int) -> int:
        """Bury what was taken once more after as many *attempts* as it may have.

        The reason is the error that it met last; without one its consumers never finished.
        """
        reasons = (_FAILED.format(attempts), _NEVER_FINISHED.format(attempts))
        return await self._dead_letter(
            statements.DEAD_LETTER_SPENT, (attempts, *reasons), conversion_ids
        )

    async def _dead_letter(
        self, dead_letter: Statement, why: Sequence[object], conversion_ids: Sequence[str]
    ) -> int:
        ids, owner = json.dumps([*conversion_ids]), self.lease.owner
        changed = await self._database.write(
            (dead_letter, [(*why, epoch_ms(self._clock), ids, owner)]),
            (statements.DEQUEUE_DEAD, [(ids, owner)]),
        )
        return changed[0]

    async def status(self) -> BacklogStatus:
        """Return how much waits."""
        now = epoch_ms(self._clock)
        return await status_of(self._database, statements.QUEUE_DUE, statements.QUEUE_NOT_DUE, now)

    async def dead_letters(self) -> list[DeadLetter]:
        """Return all that was given up, by conversion id."""
        letters: list[DeadLetter] = []
        after = ""
        while True:
            rows = await self._database.read(statements.DEAD_LETTERS, (after, _PAGE))
            for conversion, attempts, reason, died in rows:
                letters.append(
                    DeadLetter(
                        conversion_id=conversion, attempts=attempts, reason=reason, died_at_ms=died
                    )
                )
            if len(rows) < _PAGE:
                return letters
            after = rows[-1][0]

    async def revive(self, conversion_ids: Sequence[str]) -> int:
        """Queue those of the dead *conversion_ids* again, with no attempts; return how many."""
        now = epoch_ms(self._clock)
        known = {letter.conversion_id for letter in await self.dead_letters()}
        revived = [name for name in dict.fromkeys(conversion_ids) if name in known]
        if not revived:
            return 0
        commands: list[Command] = [
            (statements.REVIVE, [(now, now, name) for name in revived]),
            (statements.DROP_DEAD_LETTER, [(name,) for name in revived]),
        ]
        return (await self._database.write(*commands))[0]
