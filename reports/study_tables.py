"""Tables of a study as files: CSV, and Parquet where DuckDB is installed."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

from core.attribution.account import Account, ChannelRow
from core.attribution.cells import guarded
from core.attribution.study import Table
from core.errors import InputError


def check_parquet() -> None:
    """Raise InputError if Parquet cannot be written."""
    if find_spec("duckdb") is None:
        raise InputError(
            "--export parquet: needs a package: pip install 'edgeproof[formats]', or use csv"
        )


def credit_table(account: Account) -> Table:
    """Return the rows of *account* as a table."""
    names = tuple(each.name for each in fields(ChannelRow))
    return Table(
        name="credit",
        title="Credit",
        how="",
        columns=names,
        rows=tuple(tuple(getattr(row, name) for name in names) for row in account.rows),
    )


def table_csv(table: Table) -> str:
    """Return *table* as CSV; no cell of it is taken for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(
        [["" if cell is None else guarded(cell) for cell in row] for row in table.rows]
    )
    return text.getvalue()


def parquet(table: Table) -> bytes:
    """Return *table* as Parquet: a column holds texts or doubles."""
    check_parquet()
    import duckdb

    columns = [[row[place] for row in table.rows] for place in range(len(table.columns))]
    selected = []
    for name, cells in zip(table.columns, columns, strict=True):
        kind = "VARCHAR" if any(isinstance(cell, str) for cell in cells) else "DOUBLE"
        selected.append(f"unnest(?::{kind}[]) AS " + _quoted(name, '"'))
    with (
        tempfile.TemporaryDirectory() as folder,
        # One thread keeps the order of the rows.
        duckdb.connect(":memory:", config={"threads": 1}) as connection,
    ):
        file = Path(folder, "table.parquet")
        target = _quoted(str(file), "'")
        connection.execute(
            f"COPY (SELECT {', '.join(selected)}) TO {target} (FORMAT parquet)", columns
        )
        return file.read_bytes()


def _quoted(text: str, mark: str) -> str:
    return f"{mark}{text.replace(mark, 2 * mark)}{mark}"
