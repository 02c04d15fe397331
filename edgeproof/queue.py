"""edgeproof queue: what waits for attribution in a database, and what was given up."""

from __future__ import annotations

import typer

from core.delivery.backlog import Backlog
from edgeproof.database import FileOption, PlatformOption, source_of
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
def status(
    db: FileOption = None,
    database: PlatformOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show how many conversions wait, are in hand, have failed, or are dead.

    Example: edgeproof queue status --db data/cdp.sqlite
    """
    return _WAITING.status(source_of(db, database), plain=plain, as_json=as_json)


@app.command("dead")
def dead(
    db: FileOption = None,
    database: PlatformOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """List the conversions that were given up, each with the reason.

    Example: edgeproof queue dead --db data/cdp.sqlite
    """
    return _WAITING.dead(source_of(db, database), plain=plain, as_json=as_json)


@app.command("retry")
def retry(
    db: FileOption = None,
    database: PlatformOption = None,
    conversion: ConversionsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Queue the dead conversions again, all or those named; a running service takes them up.

    Example: edgeproof queue retry --db data/cdp.sqlite --id c17
    """
    return _WAITING.retry(source_of(db, database), conversion, as_json=as_json)
