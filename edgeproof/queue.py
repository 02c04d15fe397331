"""edgeproof queue: what waits for attribution in a database, and what was given up."""

from __future__ import annotations

import typer

from core.delivery.backlog import Backlog
from edgeproof.database import DatabaseOption
from edgeproof.group import HelpfulGroup
from edgeproof.options import JsonOption, PlainOption
from edgeproof.waiting import ConversionsOption, Waiting

app = typer.Typer(
    cls=HelpfulGroup,
    help="Show and mend the conversions queue of a database.",
    no_args_is_help=True,
)

_WAITING = Waiting(
    command="queue",
    rows=lambda database, clock, owner: Backlog(database, clock, owner=owner),
    holder="a consumer's",
    noun="conversion",
    plural="conversions",
    remedy="queues them again",
)


@app.command("status")
def status(db: DatabaseOption, plain: PlainOption = False, as_json: JsonOption = False) -> int:
    """Show how many conversions wait, are in hand, have failed, or are dead.

    Example: edgeproof queue status --db data/cdp.sqlite
    """
    return _WAITING.status(db, plain=plain, as_json=as_json)


@app.command("dead")
def dead(db: DatabaseOption, plain: PlainOption = False, as_json: JsonOption = False) -> int:
    """List the conversions that were given up, each with the reason.

    Example: edgeproof queue dead --db data/cdp.sqlite
    """
    return _WAITING.dead(db, plain=plain, as_json=as_json)


@app.command("retry")
def retry(
    db: DatabaseOption, conversion: ConversionsOption = None, as_json: JsonOption = False
) -> int:
    """Queue the dead conversions again, all or those named; a running service takes them up.

    Example: edgeproof queue retry --db data/cdp.sqlite --id c17
    """
    return _WAITING.retry(db, conversion, as_json=as_json)
