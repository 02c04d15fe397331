"""edgeproof outbox: what waits for the destination in a database, and what it did not take."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from core.clock import SystemClock
from core.delivery.backlog import BacklogStatus
from core.delivery.outbox import LEASE_SECONDS, Outbox
from core.query.database import Database, SqliteDatabase
from edgeproof.database import DatabaseOption, ask_database, read_database
from edgeproof.group import HelpfulGroup
from edgeproof.options import JsonOption, PlainOption
from edgeproof.queue import known, show_dead, show_status

app = typer.Typer(
    cls=HelpfulGroup,
    help="Show and mend what is forwarded to the destination.",
    no_args_is_help=True,
)


@app.command("status")
def status(db: DatabaseOption, plain: PlainOption = False, as_json: JsonOption = False) -> int:
    """Show how many finished conversions wait for the destination, or were given up.

    Example: edgeproof outbox status --db data/cdp.sqlite
    """

    async def ask(database: Database) -> tuple[BacklogStatus, int]:
        outbox = _outbox(database)
        return await outbox.status(), len(await outbox.dead_letters())

    found, dead = read_database(db, ask)
    show_status(found, dead, holder="a forwarder's", plain=plain, as_json=as_json)
    if dead and not as_json:
        print(f"edgeproof outbox dead --db {db} tells why; outbox retry sends them again.")
    return 0


@app.command("dead")
def dead(db: DatabaseOption, plain: PlainOption = False, as_json: JsonOption = False) -> int:
    """List the conversions that the destination did not take, each with the reason.

    Example: edgeproof outbox dead --db data/cdp.sqlite
    """
    letters = read_database(db, lambda database: _outbox(database).dead_letters())
    show_dead(letters, none="No delivery was given up.", plain=plain, as_json=as_json)
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
    """Send again what was given up, all or those named; a running service does it.

    Example: edgeproof outbox retry --db data/cdp.sqlite --id c17
    """

    async def revive(database: SqliteDatabase) -> int:
        outbox = _outbox(database)
        names = known(await outbox.dead_letters(), conversion, db, command="outbox")
        return await outbox.revive(names)

    revived = ask_database(db, revive)
    if as_json:
        print(json.dumps({"queued": revived}))
    else:
        print(f"Queued {revived} {'delivery' if revived == 1 else 'deliveries'} again.")
    return 0


def _outbox(database: Database) -> Outbox:
    owner = f"outbox-{os.getpid()}"
    return Outbox(database, SystemClock(), owner=owner, lease=LEASE_SECONDS)
