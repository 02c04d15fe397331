"""Claims about the rows of credits: what is written is read, and long journeys have many."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from core.attribution.models import MODELS
from core.errors import InputError, Refused
from core.ledger.recount import recount, uneven
from core.ledger.stored_credits import TOUCHES_PER_ROW, credit_rows, joined, stored_credits
from core.query.limits import MAX_VALUE_BYTES
from core.query.migrations import migrate
from core.query.statements import INSERT_CREDITS


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Return a connection to an empty database."""
    found = sqlite3.connect(":memory:", isolation_level=None)
    migrate(found, "new")
    yield found
    found.close()


def shares_of(count: int) -> list[list[float]]:
    """Return credits that differ by model and sum to 1."""
    return [[2 * (place + 1) / (count * (count + 1)) for place in range(count)] for _ in MODELS]


@pytest.mark.parametrize("count", [1, 5, TOUCHES_PER_ROW, TOUCHES_PER_ROW + 1, 2_500])
def test_view_and_reader_show_what_was_written(connection: sqlite3.Connection, count: int) -> None:
    channels = ['a"],["b', "ü\n", "email"] * count
    shares = shares_of(count)
    rows = credit_rows("c1", channels[:count], shares)
    assert len(rows) == -(-count // TOUCHES_PER_ROW)
    connection.executemany(INSERT_CREDITS.sql, rows)
    columns = ", ".join(MODELS)
    sql = f"SELECT touchpoint_index, touchpoints, utm_source, {columns} FROM touch_credits"
    assert connection.execute(sql).fetchall() == [
        (place, count, channels[place], *(of_model[place] for of_model in shares))
        for place in range(count)
    ]
    texts = [text for *_, text in rows]
    assert joined("c1", map(str, texts)) == (channels[:count], shares)
    (page,) = stored_credits(connection)
    assert [*page.channels] == channels[:count]
    assert [column.tolist() for column in page.credits] == shares
    assert uneven(connection) == []


def test_row_of_long_names_keeps_within_the_limit_of_d1() -> None:
    channels = [f"{place}" + "\U0001f600" * 5_000 for place in range(300)]
    rows = credit_rows("c1", channels, shares_of(300))
    assert len(rows) > 3
    assert all(len(str(text).encode()) < MAX_VALUE_BYTES for *_, text in rows)
    assert joined("c1", [str(text) for *_, text in rows]) == (channels, shares_of(300))


def test_other_spacing_is_read_as_well(connection: sqlite3.Connection) -> None:
    text = '[["a"], [1], [1], [1], [1], [1], [1], [null]]'
    connection.execute(INSERT_CREDITS.sql, ("c7", 0, 1, text))
    (page,) = stored_credits(connection)
    assert [*page.channels] == ["a"]
    assert uneven(connection) == []


def test_conversion_without_a_touch_has_no_row() -> None:
    assert credit_rows("c1", (), [[] for _ in MODELS]) == []


@pytest.mark.parametrize("credit", [float("nan"), float("inf")])
def test_credit_that_is_no_finite_number_is_refused(credit: float) -> None:
    with pytest.raises(Refused, match="'c1' is no finite number"):
        credit_rows("c1", ["a", "b"], [[0.5, credit] for _ in MODELS])


@pytest.mark.parametrize(
    "text", ["", "[]", '[["a"],[1]]', "{}", '[["a"],[1],[1],[1],[1],[1],[1],["x"]]',
             '[["a"],[1],[1],[1],[1],[1],[1],[1,1]]', "null"]
)  # fmt: skip
def test_row_that_holds_no_touches_is_named(connection: sqlite3.Connection, text: str) -> None:
    connection.execute(INSERT_CREDITS.sql, ("c7", 0, 1, text))
    with pytest.raises(InputError, match="credits of 'c7' holds no touches"):
        recount(connection)
