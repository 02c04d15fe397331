"""edgeproof queue: what waits for attribution in a database, and what was given up."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.clock import SystemClock
from core.delivery.backlog import Backlog, BacklogStatus, DeadLetter
from core.errors import InputError
from core.query.database import Database, SqliteDatabase
from edgeproof.database import DatabaseOption, ask_database, read_database
from edgeproof.finish import show_table
from edgeproof.group import HelpfulGroup
from edgeproof.notices import tell_plain
from edgeproof.options import JsonOption, PlainOption

app = typer.Typer(
    cls=HelpfulGroup,
    help="Show and mend the conversions queue of a database.",
    no_args_is_help=True,
)


@app.command("status")
def status(db: DatabaseOption, plain: PlainOption = False, as_json: JsonOption = False) -> int:
    """Show how many conversions wait, are in hand, have failed, or are dead.

    Example: edgeproof queue status --db data/cdp.sqlite
    """

    async def ask(database: Database) -> tuple[BacklogStatus, int]:
        backlog = _backlog(database)
        return await backlog.status(), len(await backlog.dead_letters())

    found, dead = read_database(db, ask)
    show_status(found, dead, holder="a consumer's", plain=plain, as_json=as_json)
    if dead and not as_json:
        print(f"edgeproof queue dead --db {db} tells why; queue retry queues them again.")
    return 0


@app.command("dead")
def dead(db: DatabaseOption, plain: PlainOption = False, as_json: JsonOption = False) -> int:
    """List the conversions that were given up, each with the reason.

    Example: edgeproof queue dead --db data/cdp.sqlite
    """
    letters = read_database(db, lambda database: _backlog(database).dead_letters())
    show_dead(letters, none="No conversion was given up.", plain=plain, as_json=as_json)
    return 0


@app.command("retry")
def retry(
    db: DatabaseOption,
    conversion: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ID", help="Only this conversion. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Queue the dead conversions again, all or those named; a running service takes them up.

    Example: edgeproof queue retry --db data/cdp.sqlite --id c17
    """

    async def revive(database: SqliteDatabase) -> int:
        backlog = _backlog(database)
        dead = known(await backlog.dead_letters(), conversion, db, command="queue")
        return await backlog.revive(dead)

    revived = ask_database(db, revive)
    if as_json:
        print(json.dumps({"queued": revived}))
    else:
        print(f"Queued {revived} {'conversion' if revived == 1 else 'conversions'} again.")
    return 0


def show_status(
    found: BacklogStatus, dead: int, *, holder: str, plain: bool, as_json: bool
) -> None:
    """Print how many conversions wait, are in the hands of *holder*, have failed, or are dead."""
    tell_plain(plain=plain, as_json=as_json)
    counts = asdict(found)
    oldest = counts.pop("oldest_ms")
    if as_json:
        print(json.dumps({**counts, "dead": dead, "oldest_ms": oldest}))
        return
    rows: list[tuple[str, ...]] = [("conversions", "number")]
    meanings = {
        "due": "due",
        "leased": f"in {holder} hands",
        "later": "put off",
        "failed": "of these, failed before",
    }
    rows += [(meaning, str(counts[name])) for name, meaning in meanings.items()]
    rows.append(("dead", str(dead)))
    show_table(rows, plain=plain)
    if oldest is not None:
        print(f"The oldest waits since {_time(oldest)}.")


def show_dead(letters: Sequence[DeadLetter], *, none: str, plain: bool, as_json: bool) -> None:
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


def known(
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


def _backlog(database: Database) -> Backlog:
    return Backlog(database, SystemClock(), owner=f"queue-{os.getpid()}")


def _time(epoch_ms: int) -> str:
    try:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(" ", "seconds")
    except (OSError, OverflowError, ValueError):  # beyond the years that are written so
        return f"{epoch_ms} ms after 1970"
