"""The durable part of the conversions queue: leases, failures and dead letters."""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.clock import Clock, epoch_ms
from core.delivery.leases import LEASE_SECONDS, LeasedRows, LeaseStatements
from core.query import queue_statements
from core.query.database import Command, Database
from core.query.statement import Statement

_ALL_ATTEMPTS = 2**31
_FAILED = "tried {} times without success; the last error: "
_NEVER_FINISHED = "taken {} times and never finished: the consumer ended in the middle"


_ROWS = LeaseStatements(
    waiting=queue_statements.QUEUE_WAITING,
    take=queue_statements.LEASE,
    found=queue_statements.QUEUE_FOUND,
    claim=queue_statements.claim_queued,
    unclaim=queue_statements.QUEUE_UNCLAIM,
    claimed=queue_statements.QUEUE_CLAIMED,
    break_leases=queue_statements.BREAK_LEASES,
    dead=queue_statements.DEAD_LETTERS,
    number_dead=queue_statements.NUMBER_DEAD,
)


class Backlog(LeasedRows):
    """The rows of conversion_queue and dead_letters, seen by one consumer."""

    def __init__(
        self, database: Database, clock: Clock, *, owner: str, seconds: float = LEASE_SECONDS
    ) -> None:
        super().__init__(database, clock, _ROWS, owner=owner, seconds=seconds)

    async def take(self, limit: int) -> list[tuple[str, int]]:
        """Lease at most *limit* due conversions; return them with their attempts, oldest first."""
        rows = await self._take(limit, epoch_ms(self._clock))
        return [(conversion, attempts) for _, conversion, attempts in sorted(rows)]

    async def renew(self, conversion_ids: Sequence[str]) -> None:
        """Renew the leases of *conversion_ids*, except of those that another consumer has taken."""
        owner = self.lease.owner
        row = (self._until_ms(), owner, json.dumps([*conversion_ids]), owner)
        await self._database.write((queue_statements.RENEW_LEASE, [row]))

    async def record_failure(
        self, conversion_ids: Sequence[str], error: str, *, retry_in: float
    ) -> None:
        """Record the error of an attempt; this consumer holds the next, in *retry_in* seconds."""
        ids, owner = json.dumps([*conversion_ids]), self.lease.owner
        row = (self._until_ms(retry_in), owner, error, ids, owner)
        await self._database.write((queue_statements.RECORD_FAILURE, [row]))

    async def release(self, conversion_ids: Sequence[str], *, due_in: float) -> None:
        """Give up the leases of *conversion_ids*; in *due_in* seconds, anyone may take them."""
        due_ms = epoch_ms(self._clock) + round(1000 * due_in)
        row = (due_ms, json.dumps([*conversion_ids]), self.lease.owner)
        await self._database.write((queue_statements.RELEASE, [row]))

    async def dead_letter(self, conversion_ids: Sequence[str], reason: str) -> int:
        """Move *conversion_ids* to the dead letters, except those that another consumer has taken.

        Return how many conversions were moved.
        """
        return await self._dead_letter(
            queue_statements.DEAD_LETTER, (_ALL_ATTEMPTS, reason), conversion_ids
        )

    async def dead_letter_spent(self, conversion_ids: Sequence[str], *, attempts: int) -> int:
        """Move *conversion_ids*, taken once more after all their *attempts*, to the dead letters.

        The reason is the last error. If there is none, the consumers never finished.
        """
        reasons = (_FAILED.format(attempts), _NEVER_FINISHED.format(attempts))
        return await self._dead_letter(
            queue_statements.DEAD_LETTER_SPENT, (attempts, *reasons), conversion_ids
        )

    async def _dead_letter(
        self, dead_letter: Statement, why: Sequence[object], conversion_ids: Sequence[str]
    ) -> int:
        ids, owner = json.dumps([*conversion_ids]), self.lease.owner
        changed = await self._database.write(
            (dead_letter, [(*why, epoch_ms(self._clock), ids, owner)]),
            (queue_statements.DEQUEUE_DEAD, [(ids, owner)]),
        )
        return changed[0]

    async def revive(self, conversion_ids: Sequence[str]) -> int:
        """Queue *conversion_ids* that are dead again, with 0 attempts; return how many."""
        now = epoch_ms(self._clock)
        known = {letter.conversion_id for letter in await self.dead_letters()}
        revived = [name for name in dict.fromkeys(conversion_ids) if name in known]
        if not revived:
            return 0
        commands: list[Command] = [
            (queue_statements.REVIVE, [(now, now, name) for name in revived]),
            (queue_statements.DROP_DEAD_LETTER, [(name,) for name in revived]),
        ]
        return (await self._database.write(*commands))[0]
