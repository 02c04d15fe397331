"""A named SQL statement, and statements that are generated for a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Statement:
    """A named statement with ? parameters.

    rows: how many rows one execution inserts, where its text says so. writes: whether it may
    change the database; it may return rows all the same.
    together: the statement for many rows at once, "" if there is none. Its one parameter is a JSON
    array with an array of the ? parameters for each row. D1 runs it in place of one statement a
    row; SQLite runs *sql* for each row, which is faster there.
    """

    name: str
    sql: str
    rows: int = 1
    together: str = field(default="", kw_only=True)
    writes: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        reads = self.sql.lstrip().startswith(("SELECT", "EXPLAIN", "PRAGMA table_info"))
        object.__setattr__(self, "writes", not reads)

    def executions(self, rows: int) -> int:
        """Return how many statements D1 runs for so many rows of parameters."""
        return min(rows, 1) if self.together else rows


_FIELDS = [f"json_extract(r.value, '$[{place}]')" for place in range(32)]


def for_each(sql: str) -> str:
    """Return the text of `Statement.together`: in *sql*, {rows} is the source of the rows, and {0},
    {1}, ... are their values."""
    return sql.format(*_FIELDS, rows="json_each(?) AS r")


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
