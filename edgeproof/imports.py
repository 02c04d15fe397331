"""edgeproof import: take data as people have them into what edgeproof works with."""

from __future__ import annotations

import typer

from edgeproof.commands import IMPORTS
from edgeproof.group import ListedGroup


class ImportGroup(ListedGroup):
    """The commands of `edgeproof import`, from their table."""

    listed = IMPORTS


app = typer.Typer(
    cls=ImportGroup,
    help="Take data as you have them: raw events into a database (events), access logs into a "
    "scenario (log).",
    no_args_is_help=True,
)
