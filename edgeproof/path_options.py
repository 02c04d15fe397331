"""Options of `edgeproof attribute` that say where the journeys are and how a file is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeproof.database import D1_HELP

DbOption = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", help="A database of the service.", rich_help_panel="Data"),
]
D1Option = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="d1",
        help=f"{D1_HELP}. Its events are copied to a temporary file first.",
        rich_help_panel="Data",
    ),
]
PathsOption = Annotated[
    Path | None,
    typer.Option(
        "--paths",
        metavar="FILE.csv",
        help="Aggregated paths: path, total_conversions, total_conversion_value, total_null, "
        "or what other tools call them; channels joined by ' > ' or an arrow, columns by ',', "
        "';' or tab. Also .gz, .xz, .bz2 and .zst.",
        rich_help_panel="Data",
    ),
]
JoinerOption = Annotated[
    str | None,
    typer.Option(
        "--joiner",
        metavar="TEXT",
        help="With --paths: what joins the channels of a path. Default: '>', an arrow, or what "
        "the paths show, which is said.",
        rich_help_panel="Data",
    ),
]
PathColumnOption = Annotated[
    str,
    typer.Option(
        "--path-column",
        metavar="NAME",
        help="With --paths: the column of the paths, by name or by number from 1; two numbers, "
        "this and the next one, need no header.",
        rich_help_panel="Data",
    ),
]
ConversionsColumnOption = Annotated[
    str,
    typer.Option(
        "--conversions-column",
        metavar="NAME",
        help="That of the conversions: numbers, or True and False.",
        rich_help_panel="Data",
    ),
]
ValueColumnOption = Annotated[
    str,
    typer.Option(
        "--value-column",
        metavar="NAME",
        help="That of the conversions' value.",
        rich_help_panel="Data",
    ),
]
NullsColumnOption = Annotated[
    str,
    typer.Option(
        "--nulls-column",
        metavar="NAME",
        help="That of the journeys without a conversion.",
        rich_help_panel="Data",
    ),
]
CountColumnOption = Annotated[
    str,
    typer.Option(
        "--count-column",
        metavar="NAME",
        help="That of the journeys of a row whose conversions are True or False.",
        rich_help_panel="Data",
    ),
]
DirectChannelOption = Annotated[
    str,
    typer.Option(
        "--direct-channel",
        metavar="NAME",
        help="With --paths: the channel of direct traffic, such as 'Typed/Bookmarked'.",
        rich_help_panel="Data",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="Conversions from this time on: 2026-01-31, "
        "2026-01-31T12:00 (UTC) or epoch milliseconds.",
        rich_help_panel="Data",
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="TIME", help="Before this time, as it was then.", rich_help_panel="Data"
    ),
]
