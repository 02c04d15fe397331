"""edgeproof outbox: what waits for the destination in a database, and what it did not take."""

from __future__ import annotations

import typer

from core.delivery.outbox import Outbox
from edgeproof.database import FileOption, PlatformOption, source_of
from edgeproof.group import HelpfulGroup
from edgeproof.options import JsonOption, PlainOption
from edgeproof.waiting import ConversionsOption, Waiting

app = typer.Typer(
    cls=HelpfulGroup,
    help="Show and mend what is forwarded to the destination.",
    no_args_is_help=True,
)

_WAITING = Waiting(
    command="outbox",
    rows=lambda database, clock, owner: Outbox(database, clock, owner=owner),
    holder="a forwarder's",
    noun="delivery",
    plural="deliveries",
    remedy="sends them again",
)


@app.command("status")
def status(
    db: FileOption = None,
    database: PlatformOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show how many finished conversions wait for the destination, or were given up.

    Example: edgeproof outbox status --db data/cdp.sqlite
    """
    return _WAITING.status(source_of(db, database), plain=plain, as_json=as_json)


@app.command("dead")
def dead(
    db: FileOption = None,
    database: PlatformOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """List the conversions that the destination did not take, each with the reason.

    Example: edgeproof outbox dead --db data/cdp.sqlite
    """
    return _WAITING.dead(source_of(db, database), plain=plain, as_json=as_json)


@app.command("retry")
def retry(
    db: FileOption = None,
    database: PlatformOption = None,
    conversion: ConversionsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Send again what was given up, all or those named; a running service does it.

    Example: edgeproof outbox retry --db data/cdp.sqlite --id c17
    """
    return _WAITING.retry(source_of(db, database), conversion, as_json=as_json)
