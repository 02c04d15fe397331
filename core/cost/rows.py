"""Rows that D1 counts for each statement, from the table that was measured on its engine."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

Of = Literal["load", "event", "conversion", "batch", "delivery"]
Units = Mapping[str, float]
"""How many of each unit there are: call, event, conversion, touch, channel, batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRows:
    """The rows of one statement, as sums over units.

    of: what makes it run. queue: whether it runs only where conversions wait in rows of D1.
    """

    name: str
    of: Of
    read: Units
    written: Units
    queue: bool = False

    def rows_read(self, units: Units) -> float:
        """Return the rows read by as many of each unit."""
        return _sum(self.read, units)

    def rows_written(self, units: Units) -> float:
        """Return the rows written by as many of each unit."""
        return _sum(self.written, units)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTable:
    """The table of rows by statement, with the engine and the date of its measurement.

    queries: statements of a batch and of a delivery, as sums over units. bytes: that a row takes
    with its indexes.
    """

    date: str
    engine: str
    statements: Mapping[str, StatementRows]
    queries: Mapping[str, Units]
    bytes: Units

    def of(self, what: Of, *, has_queue: bool) -> Iterator[StatementRows]:
        """Yield the statements that *what* makes run; has_queue: those of a queue in D1, too."""
        for statement in self.statements.values():
            if statement.of == what and (has_queue or not statement.queue):
                yield statement

    def queries_of(self, what: str, units: Units) -> float:
        """Return how many statements *what* has for as many of each unit."""
        return _sum(self.queries[what], units)


@cache
def row_table() -> RowTable:
    """Return the table that comes with edgeproof."""
    file = resources.files("core.cost").joinpath("d1_rows.toml")
    return _table_of(tomllib.loads(file.read_text(encoding="utf-8")))


def _table_of(data: Mapping[str, Any]) -> RowTable:
    return RowTable(
        date=data["date"],
        engine=data["engine"],
        statements={
            name: StatementRows(
                name=name, of=each["of"], read=each.get("read", {}),
                written=each.get("written", {}), queue=each.get("queue", False),
            )
            for name, each in data["statements"].items()
        },
        queries=data["queries"],
        bytes=data["bytes"],
    )  # fmt: skip


def _sum(rows: Units, units: Units) -> float:
    return sum(count * units.get(unit, 0.0) for unit, count in rows.items())
