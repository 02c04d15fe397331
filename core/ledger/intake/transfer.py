"""One pass over files of events into a database of their own, which can be resumed."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import tzinfo
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.event import MAX_ID_LENGTH
from core.ledger.intake.asked import Asked, check_header, rules_of
from core.ledger.intake.events import Batch, Interpreter, Tally
from core.ledger.intake.fields import map_columns
from core.ledger.intake.passage import Passage, Transaction
from core.ledger.intake.rows import open_rows
from core.ledger.intake.times import Times
from core.query import import_statements as sql
from core.query import statements
from core.query.database import SqliteDatabase
from core.texts import count_of

BATCH_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import came to.

    events and conversions: in the database now; rows: of the files; left_out: rows by reason, with
    an example each; notices: what was taken for granted; told: by file, which column is what.
    """

    rows: int
    events: int
    conversions: int
    value: float
    currency: str
    duplicates: int
    left_out: dict[str, int]
    examples: dict[str, str]
    notices: tuple[str, ...]
    told: tuple[str, ...]
    resumed_at: int
    is_known: bool


def import_events(
    files: Sequence[Path],
    database: Path,
    asked: Asked,
    *,
    zone: tzinfo | None = None,
    batch_rows: int = BATCH_ROWS,
    on_progress: Callable[[float, int], None] | None = None,
) -> Imported:
    """Write the events of *files* into *database*, which then holds nothing else.

    Each batch is one transaction that also notes how far the pass is, so a pass that ended early
    goes on there. zone: of times without one. on_progress is given the share and the rows done.
    Raise InputError for files or a database that cannot be used; a database that this call made is
    removed then.
    """
    is_new = not database.exists()
    try:
        with closing(SqliteDatabase(database, inline=True).connection) as connection:
            connection.execute("PRAGMA cache_size = -65536")
            return _import(connection, files, database, asked, zone, batch_rows, on_progress)
    except sqlite3.Error as error:
        raise InputError(
            f"--db {database}: cannot be written ({error}); see that nothing else holds it, and "
            "that its disk has room: the same command goes on where it stopped"
        ) from None
    except InputError:
        if is_new:
            for ending in ("", "-wal", "-shm"):
                with suppress(OSError):
                    database.with_name(database.name + ending).unlink()
        raise


def _import(
    connection: sqlite3.Connection,
    files: Sequence[Path],
    database: Path,
    asked: Asked,
    zone: tzinfo | None,
    batch_rows: int,
    on_progress: Callable[[float, int], None] | None,
) -> Imported:
    known = _begun(connection, database)
    if known and len(known) != len(files):
        raise InputError(
            f"--db {database}: holds an import of {count_of(len(known), 'file')}; give the "
            "same ones, or "
            "another --db"
        )
    text = json.dumps(asdict(asked), sort_keys=True)
    each = [
        Passage(n, path, text, known[n] if n < len(known) else None) for n, path in enumerate(files)
    ]
    if not known:
        # Sorted once at the end it costs a third of what it costs row by row.
        connection.execute(sql.DROP_INDEX)
        for file in each:
            file.note(connection)
    resumed_at = sum(file.rows for file in each)
    is_known = all(file.is_done for file in each)
    for file in each:
        if not file.is_done:
            done = sum(other.tally.rows for other in each[: file.number])

            def tell(share: float, rows: int, at: int = file.number, done: int = done) -> None:
                if on_progress is not None:
                    on_progress((at + share) / len(each), done + rows)

            currency = next((f.tally.currency for f in each if f.tally.currency), "")
            _pass(connection, file, asked, zone, batch_rows, currency, tell)
    _build_index(connection)
    return _summed(connection, each, asked, database, resumed_at, is_known=is_known)


def _build_index(connection: sqlite3.Connection) -> None:
    """Build the index of journeys as the schema has it, where it is missing."""
    if connection.execute(sql.INDEX_SQL, (sql.INDEX,)).fetchone() is None:
        with closing(SqliteDatabase(None, inline=True).connection) as fresh:
            (made,) = fresh.execute(sql.INDEX_SQL, (sql.INDEX,)).fetchone()
        connection.execute(made)


def _begun(connection: sqlite3.Connection, database: Path) -> list[Any]:
    """Return the rows of an import that the database holds; InputError if it holds other data."""
    has = connection.execute(sql.HAS_FILES).fetchone()
    if has is None and connection.execute(statements.IS_FILLED.sql).fetchone()[0]:
        raise InputError(
            f"--db {database}: holds events or users already, and an import fills a database of "
            "its own; give a new file"
        )
    connection.execute(sql.MAKE_FILES)
    return connection.execute(sql.FILES).fetchall()


def _pass(
    connection: sqlite3.Connection,
    file: Passage,
    asked: Asked,
    zone: tzinfo | None,
    batch_rows: int,
    currency: str,
    tell: Callable[[float, int], None],
) -> None:
    with open_rows(file.path, asked.form, has_header=asked.has_header) as rows:
        columns = map_columns(file.path, rows.names, asked.columns, is_nested=rows.is_nested)
        check_header(file.path, rows, columns, asked)
        rules = rules_of(file.path, file.number, columns, asked)
        unit = asked.time_unit or ("us" if columns.shape else None)
        times = Times(unit, zone, asked.time_format)
        times.restore(file.times)
        file.told, file.has_id = f"{file.path}: {columns.told()}", rules.has_id
        if rows.note:
            file.told += f" ({rows.note})"
        if currency and not file.tally.currency:
            file.tally.currency, file.tally.currency_place = currency, "an earlier file"
        cells = rows.cells(columns)
        skipped = sum(1 for _ in islice(cells, file.rows))
        if skipped < file.rows:
            raise InputError(f"{file.path}: has fewer rows than were imported; it was changed")
        interpreter = Interpreter(rules, times, file.tally, lambda: rows.place)
        insert = (
            statements.INSERT_CAMPAIGN_EVENT if rules.has_campaign else statements.INSERT_EVENT
        ).sql
        for batch in interpreter.batches(cells, batch_rows):
            _store(connection, file, insert, batch, times)
            tell(rows.share(), file.tally.rows)
    file.is_done = True
    with Transaction(connection):
        file.note(connection)
    tell(1.0, file.tally.rows)


def _store(
    connection: sqlite3.Connection, file: Passage, insert: str, batch: Batch, times: Times
) -> None:
    with Transaction(connection):
        new = connection.executemany(insert, batch.events).rowcount if batch.events else 0
        if batch.conversions:
            made = connection.executemany(sql.INSERT_CONVERSION, batch.conversions).rowcount
            if made < len(batch.conversions):
                _count_repeated(connection, file.tally, batch)
            connection.executemany(sql.INSERT_QUEUED, [(c[0], c[1]) for c in batch.conversions])
        file.events += new
        file.duplicates += len(batch.events) - new
        file.times = times.state()
        file.note(connection)


def _count_repeated(connection: sqlite3.Connection, tally: Tally, batch: Batch) -> None:
    """Count conversions of *batch* whose id another event brought before."""
    for conversion_id, event_id, *_, value in batch.conversions:
        if connection.execute(sql.IS_REPEATED, (conversion_id, event_id)).fetchone():
            tally.repeated += 1
            tally.repeated_value += value


def _summed(
    connection: sqlite3.Connection,
    each: Sequence[Passage],
    asked: Asked,
    database: Path,
    resumed_at: int,
    *,
    is_known: bool,
) -> Imported:
    conversions, value = connection.execute(sql.SUMS).fetchone()
    left_out: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for file in each:
        left_out.update(file.tally.left_out)
        examples = {**file.tally.examples, **examples}
    events = sum(file.events for file in each)
    if not events or not conversions:
        what = "no row gives an event" if not events else "no event is a conversion"
        names = list(dict.fromkeys(name for file in each for name in file.tally.names))
        why = [what]
        if events and asked.conversions and not set(names) & set(asked.conversions):
            why.append(f"none is called {' or '.join(asked.conversions)}")
        why += [
            f"{count_of(n, 'row')}: {reason} ({examples[reason]})"
            for reason, n in left_out.most_common(3)
        ]
        if duplicates := sum(file.duplicates for file in each):
            why.append(f"{count_of(duplicates, 'row')}: duplicates of an event's id")
        if names and events:
            why.append(f"events are called {', '.join(names)}")
        if not any(file.tally.rows for file in each):
            why.append("there is no row below the header")
        raise InputError(f"{each[0].path}: {'; '.join(why)}; see --columns")
    return Imported(
        rows=sum(file.tally.rows for file in each),
        events=events,
        conversions=conversions,
        value=value,
        currency=next((f.tally.currency for f in each if f.tally.currency), ""),
        duplicates=sum(file.duplicates for file in each),
        left_out=dict(left_out),
        examples=examples,
        notices=tuple(_notices(each)),
        told=tuple(dict.fromkeys(file.told for file in each)),
        resumed_at=resumed_at,
        is_known=is_known,
    )


def _notices(each: Sequence[Passage]) -> Iterator[str]:
    """Yield what was taken for granted, once for all files."""
    times = Times(None, None, "")
    for file in each:
        times.add(file.times)
    yield from times.notices()
    if without := sum(file.tally.without_channel for file in each):
        yield (
            count_of(
                without, "touch has no channel and counts", "touches have no channel and count"
            )
            + " as (direct)"
        )
    if without := sum(file.tally.without_value for file in each):
        yield (
            count_of(
                without, "conversion has no value and counts", "conversions have no value and count"
            )
            + " 0"
        )
    if without := sum(file.tally.without_currency for file in each):
        currency = next((f.tally.currency for f in each if f.tally.currency), "")
        if currency:
            yield (
                f"{count_of(without, 'value has', 'values have')} no currency, taken as {currency}"
            )
    if repeated := sum(file.tally.repeated for file in each):
        value = sum(file.tally.repeated_value for file in each)
        yield (
            count_of(repeated, "row repeats", "rows repeat")
            + f" a conversion's id: each id counts once, with its first value ({value:,.2f} of "
            "value not counted)"
        )
    if cut := sum(file.tally.cut for file in each):
        yield (
            count_of(cut, "row has a name", "rows have names")
            + f" of over {MAX_ID_LENGTH} characters, which are cut there: channels that begin "
            "alike may be one now"
        )
    if not all(file.has_id for file in each):
        yield (
            "no column holds ids of events, so duplicates cannot be told; --columns id=COLUMN "
            "names one"
        )
