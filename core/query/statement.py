"""A named SQL statement, and statements that are generated for a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Statement:
    """A named statement with ? parameters.

    rows: how many rows one execution inserts, where its text says so. writes: whether it may
    change the database; it may return rows all the same.
    """

    name: str
    sql: str
    rows: int = 1
    writes: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        reads = self.sql.lstrip().startswith(("SELECT", "EXPLAIN", "PRAGMA table_info"))
        object.__setattr__(self, "writes", not reads)


def whole_table(table: str, columns: Sequence[str]) -> Statement:
    """Return the statement that reads *columns* of every row; all names are from the schema."""
    return Statement(f"rows_of_{table}", f"SELECT {', '.join(columns)} FROM {table}")


def insertion(table: str, columns: Sequence[str], rows: int) -> Statement:
    """Return the statement that inserts *rows* rows into *table*; the caller checked the names."""
    names = ", ".join(f'"{column}"' for column in columns)
    places = f"({', '.join('?' for _ in columns)})"
    values = ", ".join(places for _ in range(rows))
    sql = f'INSERT INTO "{table}" ({names}) VALUES {values}'
    return Statement(f"insert_many_{table}", sql, rows)
