"""A study of an account: the account with the tables that analysts ask for beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.attribution.account import Account
from core.attribution.bootstrap import Intervals
from core.errors import InputError

Cell = str | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: its name in files, its title, how it is read, and its rows.

    shown: rows that a report shows at most; files have all.
    """

    name: str
    title: str
    how: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    shown: int = 40

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON data."""
        return {
            "name": self.name,
            "title": self.title,
            "how": self.how,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "shown": self.shown,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Table:
        """Return the table of `to_json`; InputError if it is none."""
        table = cls(
            name=str(data["name"]),
            title=str(data["title"]),
            how=str(data["how"]),
            columns=tuple(map(str, data["columns"])),
            rows=tuple(tuple(row) for row in data["rows"]),
            shown=int(data["shown"]),
        )
        for row in table.rows:
            if len(row) != len(table.columns) or not all(
                cell is None or isinstance(cell, str | int | float) for cell in row
            ):
                raise InputError(f"table {table.name}: a row does not fit its columns")
        if not table.name.isidentifier():
            raise InputError(f"table {table.name[:40]!r}: is no name of a table")
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An account, the intervals of its data-driven figures, and tables.

    source: of the data, for the reader. found: figures of methods beside the account, by name.
    """

    account: Account
    source: str = ""
    intervals: Intervals | None = None
    tables: tuple[Table, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> Table | None:
        """Return the table *name*, None if there is none."""
        return next((table for table in self.tables if table.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return the study as JSON data: that of its account, and more."""
        data = self.account.to_json()
        if self.source:
            data["source"] = self.source
        if self.intervals is not None:
            data["intervals"] = self.intervals.to_json()
        data |= self.found
        if self.tables:
            data["tables"] = [table.to_json() for table in self.tables]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Study:
        """Return the study of `to_json`; InputError if it is none."""
        try:
            names = [row["model"] for row in data["rows"]]
            account = Account.from_json(data, tuple(dict.fromkeys(names)))
            intervals = data.get("intervals")
            return cls(
                account=account,
                source=str(data.get("source", "")),
                intervals=None if intervals is None else Intervals.from_json(intervals),
                tables=tuple(map(Table.from_json, data.get("tables", ()))),
                found={name: data[name] for name in FOUND if name in data},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"no attribution can be read ({error!r}); run it again") from None


FOUND = ("order_choice", "shapley", "holdout")
"""The methods beside an account whose figures a study keeps."""
