"""edgeproof outbox: what waits for the destination in a database, and what it did not take."""

from __future__ import annotations

import typer

from core.delivery.outbox import Outbox
from edgeproof.database import DatabaseOption
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
def status(db: DatabaseOption, plain: PlainOption = False, as_json: JsonOption = False) -> int:
    """Show how many finished conversions wait for the destination, or were given up.

    Example: edgeproof outbox status --db data/cdp.sqlite
    """
    return _WAITING.status(db, plain=plain, as_json=as_json)


@app.command("dead")
def dead(db: DatabaseOption, plain: PlainOption = False, as_json: JsonOption = False) -> int:
    """List the conversions that the destination did not take, each with the reason.

    Example: edgeproof outbox dead --db data/cdp.sqlite
    """
    return _WAITING.dead(db, plain=plain, as_json=as_json)


@app.command("retry")
def retry(
    db: DatabaseOption, conversion: ConversionsOption = None, as_json: JsonOption = False
) -> int:
    """Send again what was given up, all or those named; a running service does it.

    Example: edgeproof outbox retry --db data/cdp.sqlite --id c17
    """
    return _WAITING.retry(db, conversion, as_json=as_json)
