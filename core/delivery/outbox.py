"""The outbox: finished conversions that the destination has not taken yet, with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.clock import Clock, epoch_ms
from core.delivery.leases import LEASE_SECONDS, LeasedRows, LeaseStatements
from core.query import queue_statements
from core.query.database import Command, Database
from core.scenario.destination import Destination

_ROWS = LeaseStatements(
    waiting=queue_statements.OUTBOX_WAITING,
    take=queue_statements.TAKE_DELIVERIES,
    found=queue_statements.OUTBOX_FOUND,
    claim=queue_statements.claim_deliveries,
    unclaim=queue_statements.OUTBOX_UNCLAIM,
    claimed=queue_statements.OUTBOX_CLAIMED,
    break_leases=queue_statements.BREAK_DELIVERIES,
    dead=queue_statements.UNDELIVERED,
    number_dead=queue_statements.NUMBER_UNDELIVERED,
)


class Delivery(NamedTuple):
    """A conversion to be delivered: its JSON text and the number of failed attempts."""

    conversion_id: str
    document: str
    attempts: int


class Outbox(LeasedRows):
    """The rows of outbox and undelivered, as one forwarder sees them."""

    def __init__(
        self, database: Database, clock: Clock, *, owner: str, seconds: float = LEASE_SECONDS
    ) -> None:
        super().__init__(database, clock, _ROWS, owner=owner, seconds=seconds)

    def entries(self, documents: Sequence[tuple[str, str]], *, held: int = 0) -> Command:
        """Return the command that inserts *documents*, by conversion id, with their results.

        This outbox's owner leases the first *held* of them from the start, which saves taking
        them later; the others are due at once.
        """
        now = epoch_ms(self._clock)
        leased = self._until_ms()
        rows: list[tuple[object, ...]] = [
            (name, document, now, leased, self.lease.owner, name)
            for name, document in documents[:held]
        ]
        rows += [(name, document, now, now, None, name) for name, document in documents[held:]]
        return queue_statements.FORWARD, rows

    async def take(self, limit: int, *, due_ms: int | None = None) -> list[Delivery]:
        """Lease at most *limit* due deliveries and return them, oldest first.

        due_ms: take only deliveries that were due at that time.
        """
        now = epoch_ms(self._clock)
        due_ms = now if due_ms is None else due_ms
        rows = await self._take(limit, due_ms)
        return [Delivery(*row) for _, *row in sorted(rows)]

    async def next_at_ms(self) -> int | None:
        """Return the epoch milliseconds at which the next row is due, None if there is no row."""
        at_ms: int | None = (await self._database.read(queue_statements.NEXT_DELIVERY, ()))[0][0]
        return at_ms

    async def remove(self, conversion_ids: Sequence[str]) -> None:
        """Delete the rows of *conversion_ids*: the destination has taken them."""
        await self._database.write(
            (queue_statements.DELIVERED, [(name,) for name in conversion_ids])
        )

    async def put_off(self, waits: Sequence[tuple[str, float]], error: str) -> None:
        """Count a failure of each conversion in *waits*, and make it due in so many seconds."""
        now = epoch_ms(self._clock)
        rows = [(now + round(1000 * wait), error, name, self.lease.owner) for name, wait in waits]
        await self._database.write((queue_statements.PUT_OFF_DELIVERY, rows))

    async def release(self, conversion_ids: Sequence[str]) -> int:
        """Make those of *conversion_ids* that this owner holds due now; return how many."""
        now = epoch_ms(self._clock)
        rows = [(now, name, self.lease.owner) for name in conversion_ids]
        return (await self._database.write((queue_statements.RELEASE_DELIVERY, rows)))[0]

    async def dead_letter(self, conversion_ids: Sequence[str], reason: str) -> None:
        """Move those of *conversion_ids* that this owner holds to the dead letters."""
        now = epoch_ms(self._clock)
        await self._database.write(
            (
                queue_statements.DEAD_LETTER_DELIVERY,
                [(reason, now, name, self.lease.owner) for name in conversion_ids],
            ),
            (
                queue_statements.DROP_DEAD_DELIVERY,
                [(name, self.lease.owner) for name in conversion_ids],
            ),
        )

    async def revive(self, conversion_ids: Sequence[str]) -> int:
        """Move those of *conversion_ids* that are dead letters back; return how many."""
        now = epoch_ms(self._clock)
        names = [*dict.fromkeys(conversion_ids)]
        if not names:
            return 0
        changed = await self._database.write(
            (queue_statements.REVIVE_DELIVERY, [(now, now, name) for name in names]),
            (queue_statements.DROP_UNDELIVERED, [(name,) for name in names]),
        )
        return changed[1]


def outbox_of(
    destination: Destination, database: Database, clock: Clock, *, owner: str
) -> Outbox | None:
    """Return the outbox for *destination* in *database*, None if *destination* has no URL."""
    if destination.url is None:
        return None
    # A forwarder may need that long for its rows, if it sends them one by one.
    seconds = LEASE_SECONDS + destination.batch_size * destination.timeout
    return Outbox(database, clock, owner=owner, seconds=seconds)
