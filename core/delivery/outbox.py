"""The outbox: finished conversions that the destination has not taken yet, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.clock import Clock, epoch_ms
from core.delivery.backlog import BacklogStatus, DeadLetter, status_of
from core.query import statements
from core.query.database import Command, Database
from core.scenario.destination import Destination

LEASE_SECONDS = 30.0
_PAGE = 500


class Delivery(NamedTuple):
    """A conversion to be delivered: the JSON text, and how often that has failed."""

    conversion_id: str
    document: str
    attempts: int


class Outbox:
    """The rows of outbox and undelivered, seen by one forwarder.

    database: the store itself. On the platform this is a queue beside the database, so no modelled
    latency of the database stands in front of these operations. All raise StoreError.
    lease: seconds for which nobody else takes what this one took.
    """

    def __init__(self, database: Database, clock: Clock, *, owner: str, lease: float) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._lease_ms = round(1000 * lease)

    def entries(self, documents: Sequence[tuple[str, str]], *, held: int = 0) -> Command:
        """Return what puts *documents*, by conversion id, out in the transaction of their results.

        The first *held* of them are leased by this outbox's owner from the start, which saves
        taking them; the others are due at once.
        """
        now = epoch_ms(self._clock)
        leased = now + self._lease_ms
        rows: list[tuple[object, ...]] = [
            (name, document, now, leased, self._owner, name) for name, document in documents[:held]
        ]
        rows += [(name, document, now, now, None, name) for name, document in documents[held:]]
        return statements.FORWARD, rows

    async def take(self, limit: int, *, due_ms: int | None = None) -> list[Delivery]:
        """Lease at most *limit* due deliveries and return them, oldest first.

        due_ms: only those that were due at that time.
        """
        now = epoch_ms(self._clock)
        due_ms = now if due_ms is None else due_ms
        rows = await self._database.read(
            statements.TAKE_DELIVERIES, (now + self._lease_ms, self._owner, due_ms, limit)
        )
        return [Delivery(*row) for _, *row in sorted(rows)]

    async def next_at_ms(self) -> int | None:
        """Return from when on the next row may be taken, None if there is no row."""
        at_ms: int | None = (await self._database.read(statements.NEXT_DELIVERY, ()))[0][0]
        return at_ms

    async def remove(self, conversion_ids: Sequence[str]) -> None:
        """Forget *conversion_ids*: the destination has taken them."""
        await self._database.write((statements.DELIVERED, [(name,) for name in conversion_ids]))

    async def put_off(self, waits: Sequence[tuple[str, float]], error: str) -> None:
        """Count a failure of each conversion in *waits*; it is due again in so many seconds."""
        now = epoch_ms(self._clock)
        rows = [(now + round(1000 * wait), error, name, self._owner) for name, wait in waits]
        await self._database.write((statements.PUT_OFF_DELIVERY, rows))

    async def release(self, conversion_ids: Sequence[str]) -> int:
        """Let those of *conversion_ids* that are held here be due now; return how many."""
        now = epoch_ms(self._clock)
        rows = [(now, name, self._owner) for name in conversion_ids]
        return (await self._database.write((statements.RELEASE_DELIVERY, rows)))[0]

    async def dead_letter(self, conversion_ids: Sequence[str], reason: str) -> None:
        """Give *conversion_ids* up, as far as they are held here."""
        now = epoch_ms(self._clock)
        await self._database.write(
            (
                statements.DEAD_LETTER_DELIVERY,
                [(reason, now, name, self._owner) for name in conversion_ids],
            ),
            (statements.DROP_DEAD_DELIVERY, [(name, self._owner) for name in conversion_ids]),
        )

    async def break_leases(self) -> int:
        """Let all be due that is in anybody's hands; return how many that were.

        For a forwarder that starts and is the only one: whoever held them is gone.
        """
        now = epoch_ms(self._clock)
        return (await self._database.write((statements.BREAK_DELIVERIES, [(now, now)])))[0]

    async def status(self) -> BacklogStatus:
        """Return how much waits."""
        now = epoch_ms(self._clock)
        return await status_of(
            self._database, statements.OUTBOX_DUE, statements.OUTBOX_NOT_DUE, now
        )

    async def dead_letters(self) -> list[DeadLetter]:
        """Return all that was given up, by conversion id."""
        letters: list[DeadLetter] = []
        after = ""
        while True:
            rows = await self._database.read(statements.UNDELIVERED, (after, _PAGE))
            letters += [
                DeadLetter(conversion_id=name, attempts=attempts, reason=reason, died_at_ms=died)
                for name, attempts, reason, died in rows
            ]
            if len(rows) < _PAGE:
                return letters
            after = rows[-1][0]

    async def revive(self, conversion_ids: Sequence[str]) -> int:
        """Put those of *conversion_ids* that were given up out again; return how many."""
        now = epoch_ms(self._clock)
        names = [*dict.fromkeys(conversion_ids)]
        if not names:
            return 0
        changed = await self._database.write(
            (statements.REVIVE_DELIVERY, [(now, now, name) for name in names]),
            (statements.DROP_UNDELIVERED, [(name,) for name in names]),
        )
        return changed[1]


def outbox_of(
    destination: Destination, database: Database, clock: Clock, *, owner: str
) -> Outbox | None:
    """Return the outbox for *destination* in *database*, None if that has no URL."""
    if destination.url is None:
        return None
    # So long may a forwarder be at what it took, if it is sent one by one.
    lease = LEASE_SECONDS + destination.batch_size * destination.timeout
    return Outbox(database, clock, owner=owner, lease=lease)
