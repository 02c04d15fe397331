"""Tables of a study as files: CSV, and Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

from core.attribution.account import Account, ChannelRow
from core.attribution.cells import guarded
from core.attribution.study import Table
from core.errors import InputError


def check_parquet() -> None:
    """Raise InputError if Parquet cannot be written."""
    if find_spec("pyarrow") is None:
        raise InputError(
            "--export parquet: pyarrow is not installed; pip install pyarrow, or use csv"
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
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, Any] = {}
    for place, name in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        is_text = any(isinstance(cell, str) for cell in cells)
        kind = pyarrow.string() if is_text else pyarrow.float64()
        columns[name] = pyarrow.array(cells, type=kind)
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()
