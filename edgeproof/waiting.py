"""Showing and mending what waits in a database: the conversions queue, or the outbox."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.clock import Clock, SystemClock
from core.delivery.backlog import Backlog
from core.delivery.leases import MOST_COUNTED, MOST_DEAD_COUNTED, BacklogStatus, DeadLetter
from core.delivery.outbox import Outbox
from core.errors import InputError
from core.query.database import Database, SqliteDatabase
from edgeproof.database import ask_database, read_database
from edgeproof.finish import show_table
from edgeproof.notices import tell_plain

ConversionsOption = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="Only this conversion. Repeatable."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the commands of one table of waiting rows do.

    command: its name. rows: makes the table's view, for an owner. holder: who has a row in hand.
    noun, plural: one row and several. remedy: what `retry` does, in its hint.
    """

    command: str
    rows: Callable[[Database, Clock, str], Backlog | Outbox]
    holder: str
    noun: str
    plural: str
    remedy: str

    def _of(self, database: Database) -> Backlog | Outbox:
        return self.rows(database, SystemClock(), f"{self.command}-{os.getpid()}")

    def status(self, db: Path, *, plain: bool, as_json: bool) -> int:
        """Show how many rows wait, are in hand, have failed, or are dead."""

        async def ask(database: Database) -> tuple[BacklogStatus, int]:
            rows = self._of(database)
            return await rows.status(), await rows.dead()

        found, dead = read_database(db, ask)
        _show_status(found, dead, holder=self.holder, plain=plain, as_json=as_json)
        if dead and not as_json:
            print(
                f"edgeproof {self.command} dead --db {db} tells why; "
                f"{self.command} retry {self.remedy}."
            )
        return 0

    def dead(self, db: Path, *, plain: bool, as_json: bool) -> int:
        """List what was given up, each with the reason."""
        letters = read_database(db, lambda database: self._of(database).dead_letters())
        none = f"No {self.noun} was given up."
        _show_dead(letters, none=none, plain=plain, as_json=as_json)
        return 0

    def retry(self, db: Path, conversions: Sequence[str] | None, *, as_json: bool) -> int:
        """Queue what was given up again, all or those of *conversions*."""

        async def revive(database: SqliteDatabase) -> int:
            rows = self._of(database)
            letters = await rows.dead_letters()
            return await rows.revive(_known(letters, conversions, db, command=self.command))

        revived = ask_database(db, revive)
        if as_json:
            print(json.dumps({"queued": revived}))
        else:
            print(f"Queued {revived} {self.noun if revived == 1 else self.plural} again.")
        return 0


def _show_status(
    found: BacklogStatus, dead: int, *, holder: str, plain: bool, as_json: bool
) -> None:
    """Print how many conversions wait, are in the hands of *holder*, have failed, or are dead."""
    tell_plain(plain=plain, as_json=as_json)
    counts = asdict(found)
    oldest = counts.pop("oldest_ms")
    is_complete = found.is_complete and dead < MOST_DEAD_COUNTED
    if as_json:
        shown = {**counts, "dead": dead, "oldest_ms": oldest, "is_complete": is_complete}
        print(json.dumps(shown))
        return
    rows: list[tuple[str, ...]] = [("conversions", "number")]
    meanings = {
        "due": "due",
        "leased": f"in {holder} hands",
        "later": "put off",
        "failed": "of these, failed before",
    }
    rows += [(meaning, str(counts[name])) for name, meaning in meanings.items()]
    rows.append(("dead", str(dead) if dead < MOST_DEAD_COUNTED else f"{dead} or more"))
    show_table(rows, plain=plain)
    if not found.is_complete:
        print(
            f"{MOST_COUNTED:,} or more wait: the numbers are of the first {MOST_COUNTED:,}, due "
            f"ones first; rows over {MOST_COUNTED:,} are not read."
        )
    if oldest is not None:
        of = "" if found.is_complete else "of these "
        print(f"The oldest {of}waits since {_time(oldest)}.")


def _show_dead(letters: Sequence[DeadLetter], *, none: str, plain: bool, as_json: bool) -> None:
    """Print *letters* with their reasons; *none* if there are none."""
    tell_plain(plain=plain, as_json=as_json)
    if as_json:
        print(json.dumps({"dead": [asdict(letter) for letter in letters]}))
        return
    if not letters:
        print(none)
        return
    rows: list[tuple[str, ...]] = [("conversion", "attempts", "given up", "reason")]
    rows += [
        (letter.conversion_id, str(letter.attempts), _time(letter.died_at_ms), letter.reason)
        for letter in letters
    ]
    show_table(rows, plain=plain)


def _known(
    letters: Sequence[DeadLetter], asked: Sequence[str] | None, db: Path, *, command: str
) -> list[str]:
    """Return the ids *asked* for, all of *letters* if None; InputError if one is not there."""
    dead = [letter.conversion_id for letter in letters]
    for name in asked or ():
        if name not in dead:
            raise InputError(
                f"--id {name}: not among the {len(dead)} dead conversions of {db}; "
                f"edgeproof {command} dead lists them"
            )
    return [*asked] if asked else dead


def _time(epoch_ms: int) -> str:
    try:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(" ", "seconds")
    except (OSError, OverflowError, ValueError):  # beyond the years that are written so
        return f"{epoch_ms} ms after 1970"
