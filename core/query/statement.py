"""A named SQL statement, and those that are made for a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statement:
    """A named statement with ? parameters."""

    name: str
    sql: str

    @property
    def writes(self) -> bool:
        """Whether it may change the database, whatever rows it returns."""
        return not self.sql.lstrip().startswith(("SELECT", "EXPLAIN", "PRAGMA table_info"))


def whole_table(table: str, columns: Sequence[str]) -> Statement:
    """Return what reads *columns* of every row of *table*, which are the schema's own names."""
    return Statement(f"rows_of_{table}", f"SELECT {', '.join(columns)} FROM {table}")


def insertion(table: str, columns: Sequence[str], rows: int) -> Statement:
    """Return what inserts so many *rows* into *table*, whose names were checked before."""
    names = ", ".join(f'"{column}"' for column in columns)
    places = f"({', '.join('?' for _ in columns)})"
    values = ", ".join(places for _ in range(rows))
    return Statement(f"insert_many_{table}", f'INSERT INTO "{table}" ({names}) VALUES {values}')
