"""edgeproof import events: raw events from files into a database that `attribute --db` reads."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from os.path import isfile
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InputError
from core.ledger.intake.asked import Asked
from core.ledger.intake.cells import FORMS, Form
from core.ledger.intake.fields import FIELDS, parse_columns
from core.ledger.intake.times import UNIT_NAMES, Unit, zone_of
from core.ledger.intake.transfer import Imported, import_events
from core.packed import access_log_hint
from core.texts import count_of
from edgeproof.invocation import current
from edgeproof.notices import tell_plain
from edgeproof.options import JsonOption, PlainOption
from edgeproof.progress import Display
from reports.words import printable

_MOST_REASONS = 10


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="CSV, TSV, NDJSON or Parquet, one event a row; also .gz, .xz, .bz2 and .zst.",
        ),
    ],
    db: Annotated[
        Path,
        typer.Option(
            "--db", metavar="FILE", help="The database to write: a new file, or one to go on with."
        ),
    ],
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="FIELD=COLUMN,...",
            help="Which column, by name or number, is what: "
            f"{', '.join(FIELDS)}. A|B takes the first that is filled, A+B joins them, A.B leads "
            "into an object. Default: told by the names, and said.",
            rich_help_panel="Reading",
        ),
    ] = None,
    conversion: Annotated[
        list[str] | None,
        typer.Option(
            "--conversion",
            metavar="EVENT",
            help="The name of events that are conversions. Repeatable. Default: a flag's column.",
            rich_help_panel="Meaning",
        ),
    ] = None,
    touch: Annotated[
        list[str] | None,
        typer.Option(
            "--touch",
            metavar="EVENT",
            help="Take only events of this name as touches. Repeatable. Default: every event that "
            "is no conversion; session_start of GA4.",
            rich_help_panel="Meaning",
        ),
    ] = None,
    currency: Annotated[
        str,
        typer.Option(
            "--currency",
            metavar="CODE",
            help="Leave conversions in other currencies out. Default: two are refused.",
            rich_help_panel="Meaning",
        ),
    ] = "",
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(FORMS),
            help="What the files are. Default: told by their content.",
            rich_help_panel="Reading",
        ),
    ] = None,
    no_header: Annotated[
        bool,
        typer.Option(
            "--no-header",
            help="The first row of a CSV is an event; name columns by number.",
            rich_help_panel="Reading",
        ),
    ] = False,
    time_unit: Annotated[
        str | None,
        typer.Option(
            "--time-unit",
            metavar="s|ms|us|ns",
            help="Of times that are numbers since 1970. Default: told by their size, and said.",
            rich_help_panel="Reading",
        ),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            "--time-zone",
            metavar="ZONE",
            help="Of times that state none, such as Europe/Berlin. Default: UTC, and said.",
            rich_help_panel="Reading",
        ),
    ] = None,
    time_format: Annotated[
        str,
        typer.Option(
            "--time-format",
            metavar="FORMAT",
            help="How times are written, such as '%d.%m.%Y %H:%M'. Default: ISO 8601, or numbers.",
            rich_help_panel="Reading",
        ),
    ] = "",
    plain: PlainOption = False,
    json: JsonOption = False,
) -> int:
    """Write raw events from files into a database of their own, which `attribute --db` reads.

    One event a row: user and time at least, and what says which events are conversions. Rows that
    cannot be used are left out, counted and named. An import that was interrupted goes on where it
    stopped when the same command is run again.

    Example: edgeproof import events events.csv --db shop.sqlite --conversion purchase
    """
    tell_plain(plain=plain, as_json=json)
    asked = Asked(
        columns=parse_columns(columns),
        conversions=tuple(conversion or ()),
        touches=tuple(touch or ()),
        currency=currency,
        form=_form(format_),
        has_header=not no_header,
        time_unit=_unit(time_unit),
        time_zone=time_zone,
        time_format=time_format,
    )
    zone = None if time_zone is None else zone_of(time_zone)
    if not db.parent.is_dir():
        raise InputError(f"--db {db}: there is no folder {db.parent}; make it first")
    if any(_is_same(file, db) for file in files):
        raise InputError(f"--db {db}: is a file to import; name another database")
    current().watch(db)
    current().goes_on = all(map(isfile, files))
    display = Display(plain=plain, quiet=json)
    try:
        with display.open():
            imported = import_events(
                files, db, asked, zone=zone,
                on_progress=lambda share, rows: display.update(
                    "importing", share, count_of(rows, "row")
                ),
            )  # fmt: skip
    except InputError as error:
        hint = next(filter(None, map(access_log_hint, files)), "")
        raise InputError(f"{error}{hint}") from None
    if json:
        print(json_module.dumps({**asdict(imported), "database": str(db)}, allow_nan=False))
    else:
        _show(imported, db)
    return 0


def _show(imported: Imported, db: Path) -> None:
    for told in imported.told:
        print(printable(f"Columns of {told}"))
    if imported.is_known:
        print(f"{db}: holds these files already; nothing was imported")
    elif imported.resumed_at:
        print(f"{db}: went on behind row {imported.resumed_at:,}")
    value = f"{imported.value:,.2f} {imported.currency}".strip()
    print(
        f"{db}: {count_of(imported.events, 'event')} of {count_of(imported.rows, 'row')}, "
        f"{count_of(imported.conversions, 'of them a conversion', 'of them conversions')} of the "
        f"value {value}"
    )
    if imported.duplicates:
        print(f"Left out: {count_of(imported.duplicates, 'row')}: duplicates of an event's id")
    by_count = sorted(imported.left_out.items(), key=lambda pair: -pair[1])
    for reason, count in by_count[:_MOST_REASONS]:
        where = imported.examples[reason]
        print(printable(f"Left out: {count_of(count, 'row')}: {reason} (first at {where})"))
    for notice in imported.notices:
        print(printable(f"Notice: {notice}"))


def _form(text: str | None) -> Form | None:
    for form in FORMS:
        if text == form:
            return form
    if text is not None:
        raise InputError(f"--format {text}: use {', '.join(FORMS)}")
    return None


def _unit(text: str | None) -> Unit | None:
    if text is not None and text not in UNIT_NAMES:
        raise InputError(f"--time-unit {text}: use {', '.join(UNIT_NAMES)}")
    return text  # type: ignore[return-value]  # checked above


def _is_same(file: Path, db: Path) -> bool:
    return db.exists() and file.exists() and file.samefile(db)
