"""What an import is asked for, and what that makes of a file's columns."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from core.errors import InputError
from core.ledger.intake.cells import Form
from core.ledger.intake.events import Rules
from core.ledger.intake.fields import Columns
from core.ledger.intake.rows import Rows
from core.ledger.intake.times import Times, Unit, Unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an import is asked for; columns: stated ones, by field. The rest is as in `Rules`."""

    columns: dict[str, str]
    conversions: tuple[str, ...] = ()
    touches: tuple[str, ...] = ()
    currency: str = ""
    form: Form | None = None
    has_header: bool = True
    time_unit: Unit | None = None
    time_zone: str | None = None
    time_format: str = ""


def check_header(file: Path, rows: Rows, columns: Columns, asked: Asked) -> None:
    """Raise InputError if the header is a row: columns are numbers, and its time is a time."""
    if not asked.has_header or rows.is_nested or "time" not in asked.columns:
        return
    if not all(text.isdecimal() for text in asked.columns.values()):
        return
    header = columns.columns["time"].places[0][0]
    with suppress(Unusable):
        Times(asked.time_unit, UTC, asked.time_format).of(header)
        raise InputError(
            f"{file}: the first row has the time {header!r}, so it is an event and no header; say "
            "--no-header"
        )


def rules_of(file: Path, number: int, columns: Columns, asked: Asked) -> Rules:
    """Return what counts as what in *file*; InputError if nothing says what a conversion is."""
    has_flag = "conversion" in columns.columns and (
        not asked.conversions or "conversion" in asked.columns
    )
    names = asked.conversions
    if not has_flag and not names:
        if not columns.shape:
            has = "event" in columns.columns
            raise InputError(
                f"{file}: nothing says which events are conversions; say "
                + ("--conversion NAME (of the event), or " if has else "")
                + "--columns conversion=COLUMN (a flag)"
            )
        names = ("purchase",)
    if names and "event" not in columns.columns:
        raise InputError(
            f"--conversion {names[0]}: {file} has no column with names of events; say "
            "--columns event=COLUMN"
        )
    if asked.touches and "event" not in columns.columns:
        raise InputError(
            f"--touch {asked.touches[0]}: {file} has no column with names of events; say "
            "--columns event=COLUMN"
        )
    if asked.currency and "currency" not in columns.columns:
        raise InputError(
            f"--currency {asked.currency}: {file} has no column with currencies; say "
            "--columns currency=COLUMN, or leave it out"
        )
    return Rules(
        conversions=frozenset(names),
        touches=frozenset(asked.touches or (("session_start",) if columns.shape else ())),
        currency=asked.currency.upper(),
        has_flag=has_flag,
        has_id="id" in columns.columns,
        has_campaign=any(n in columns.columns for n in ("medium", "campaign", "term", "content")),
        prefix=f"row-{number + 1}-",
    )
