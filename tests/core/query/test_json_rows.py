"""Claims about rows as JSON: SQLite reads back what was given, and nothing is changed unsaid."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Refused
from core.query.database import SqliteDatabase
from core.query.json_rows import json_rows
from core.query.statement import Statement
from tests.core.query.known_statements import STATEMENTS

_VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(1e-200, 1e200)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)


@given(st.lists(st.tuples(_VALUES, _VALUES), min_size=1))
def test_sqlite_reads_the_values_that_were_given(rows: list[tuple[object, ...]]) -> None:
    (text,) = json_rows("write", rows)
    connection = sqlite3.connect(":memory:")
    sql = "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)"
    found = connection.execute(sql, (text,)).fetchall()
    connection.close()
    assert [[*map(repr, row)] for row in found] == [[*map(repr, row)] for row in rows]


def test_arrays_end_at_the_limit_and_lose_no_row() -> None:
    rows = [(f"é{number}", number) for number in range(100)]
    texts = [*json_rows("write", rows, most_bytes=64)]
    assert len(texts) > 10
    assert all(len(text.encode()) <= 64 for text in texts)
    assert [tuple(row) for text in texts for row in json.loads(text)] == rows
    with pytest.raises(Refused, match="D1 takes 64"):
        [*json_rows("write", [("x" * 70,)], most_bytes=64)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, "\ud800", b"x", object()])
def test_value_that_would_be_changed_is_refused(value: object) -> None:
    with pytest.raises(Refused):
        [*json_rows("write", [("fine",), (value,)])]


TOGETHER = sorted(name for name, each in STATEMENTS.items() if each.together)
ROWS: dict[str, Sequence[Sequence[Any]]] = {
    "mark_processed": [("k", 7, "c1"), (None, None, "c2"), ("k", 7, "none")],
    "insert_credits": [("c1", 0, 1, '[["a\\"b"],[1.0]]'), ("c2", 0, 1, "[[],[]]")],
    "add_to_channel": [(c, 5, *[0.1, 1, 0.3] * 7) for c in ("email", "bing", "email")],
    "dequeue": [("c1",), ("none",)],
    "forward": [("c1", "{}", 1, 2, "a", "c1"), ("c2", "{}", 1, 2, None, "c2")],
    "revive": [(1, 2, "c3"), (1, 2, "c1")],
    "drop_dead_letter": [("d1",), ("none",)],
    "delivered": [("o1",), ("none",)],
    "put_off_delivery": [(9, "away", "o1", "a"), (9, "away", "o2", "a")],
    "release_delivery": [(9, "o1", "a"), (9, "o2", "a")],
    "dead_letter_delivery": [("no", 9, "o1", "a"), ("no", 9, "o2", "a")],
    "drop_dead_delivery": [("o1", "a"), ("o2", "a")],
    "revive_delivery": [(1, 2, "d9"), (1, 2, "none")],
    "drop_undelivered": [("d9",), ("none",)],
}
FILL = """
INSERT INTO conversions (conversion_id, event_id, user_id, conversion_timestamp, value)
  VALUES ('c1', 'e1', 'u1', 1, 1.5), ('c2', 'e2', 'u2', 2, 2.5), ('c3', 'e3', 'u3', 3, 3.5);
INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms)
  VALUES ('c1', 1, 1), ('c2', 1, 1);
INSERT INTO dead_letters VALUES ('d1', 1, 'no', 1);
INSERT INTO outbox (conversion_id, document, enqueued_at_ms, available_at_ms, leased_by)
  VALUES ('o1', '{}', 1, 1, 'a'), ('o2', '{}', 1, 1, 'b');
INSERT INTO undelivered VALUES ('d9', '{}', 1, 'no', 1);
INSERT INTO channel_totals SELECT 'bing', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
  1, 1, 1;
"""


def left_by(statement: Statement, *, together: bool) -> tuple[int, str]:
    """Return the rows changed, and the whole database, after *statement* has run on its rows."""
    database = SqliteDatabase(None, inline=True)
    connection = database.connection
    connection.executescript(FILL)
    rows = ROWS[statement.name]
    if together:
        (text,) = json_rows("write", rows)
        changed = connection.execute(statement.together, (text,)).rowcount
    else:
        changed = connection.executemany(statement.sql, rows).rowcount
    dump = "\n".join(connection.iterdump())
    asyncio.run(database.close())
    return changed, dump


@pytest.mark.parametrize("name", TOGETHER)
def test_statement_does_for_many_rows_what_it_does_for_each(name: str) -> None:
    statement = STATEMENTS[name]
    changed, dump = left_by(statement, together=True)
    assert (changed, dump) == left_by(statement, together=False)
    assert changed > 0
    assert statement.executions(50) == 1
