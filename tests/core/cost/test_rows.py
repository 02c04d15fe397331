"""Claims about rows and bytes by operation: those that were measured, and lines between them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import pytest

from core.attribution.journeys import Journey
from core.attribution.scheme import Scheme
from core.cost import rows
from core.ledger.processor import attribution_commands
from core.query import statements
from core.query.migrations import migrations
from core.query.row_counts import row_counts

CHANNELS = ("google", "facebook", "email", "bing", "affiliate")


@pytest.mark.parametrize("size", [1, 10, 50])
def test_results_of_a_measured_size_are_those_that_were_measured(size: int) -> None:
    counted = row_counts().operations[f"results of {size}"]
    found = rows.results(size, has_queue=True)
    assert (found.statements, found.read, found.written) == pytest.approx(
        (counted.statements, counted.rows_read, counted.rows_written)
    )


def test_a_delivery_adds_what_was_measured_and_the_row_that_is_deleted() -> None:
    counted = row_counts().operations["results of 50, forwarded"]
    found = rows.results(50, has_queue=True, is_forwarded=True)
    assert found.written == pytest.approx(counted.rows_written + 50)


def test_an_event_and_a_conversion_write_what_the_operations_say() -> None:
    touch = rows.statement("insert_event")
    conversion = touch.plus(rows.statement("insert_conversion")).plus(rows.statement("enqueue"))
    operations = row_counts().operations
    assert touch.written == operations["a touch"].rows_written
    assert conversion.written == operations["a conversion"].rows_written


def measured() -> dict[str, float]:
    """Return the bytes of a row with its indexes, on SQLite."""
    connection = sqlite3.connect(":memory:")
    connection.executescript("\n".join(migrations()))
    count, start = 4_000, 1_764_400_000_000

    def bytes_of(*commands: tuple[str, Sequence[Sequence[object]]]) -> float:
        before = size()
        for sql, parameters in commands:
            connection.executemany(sql, [tuple(row) for row in parameters])
        return (size() - before) / count

    def size() -> int:
        found: int = connection.execute("SELECT sum(pgsize) FROM dbstat").fetchone()[0]
        return found

    events = [
        (f"run12345-{n}", f"u{n % 997}", "page_view", "google", start + n, "returning", None)
        for n in range(count)
    ]
    conversions = [
        (f"run12345-c{n}", f"run12345-{n}", f"u{n % 997}", start + n, 12.5) for n in range(count)
    ]
    found = {
        "event": bytes_of((statements.INSERT_EVENT.sql, events)),
        "conversion": bytes_of((statements.INSERT_CONVERSION.sql, conversions)),
    }
    journeys = [
        Journey(
            conversion_id=f"run12345-c{n}", user_id=f"u{n % 997}",
            converted_ms=start + n, value=12.5, channels=CHANNELS,
            times_ms=tuple(range(start - 5, start)),
        )
        for n in range(count)
    ]  # fmt: skip
    scheme = Scheme()
    results = [(journey, scheme.credits(journey)) for journey in journeys]
    commands = [
        (command.sql, list(parameters))
        for command, parameters in attribution_commands(results, scheme, start)
    ]
    return {**found, "credits": bytes_of(*commands)}


def test_bytes_of_rows_are_those_of_the_schema() -> None:
    found = measured()
    assert dict(rows.BYTES) == pytest.approx(found, rel=0.15), (
        f"set core.cost.rows.BYTES to { {name: round(size) for name, size in found.items()} }"
    )
