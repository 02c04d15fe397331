"""Claims about D1's own engine: it answers, changes and counts as SQLite and our tables say."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.d1_rows import PATH, differences, measured_on
from bench.platform.comparison import Answer, Pair, Used, never_run, same_tables
from bench.platform.known import OF_FILES, STATEMENTS
from bench.platform.runtime import Runtime
from core.errors import Refused, StoreError
from core.query import statements
from core.query.d1 import D1Database
from core.query.database import Row, SqliteDatabase
from core.query.statement import Statement
from scenarios.node import Node

CHANGE_NOTHING = {"make_migrations"}
"""Statements that neither find nor change a row."""


def used_of(pairs: Sequence[Pair]) -> list[Used]:
    return [used for pair in pairs for both in pair.compared for used in both.used]


def test_every_statement_runs_and_finds_or_changes_rows(pairs: list[Pair]) -> None:
    assert never_run(pairs) == []
    effective = {used.statement.name for used in used_of(pairs) if used.returned or used.changed}
    assert {*STATEMENTS} - effective - {*OF_FILES} == CHANGE_NOTHING


def test_a_statement_that_never_runs_is_found(pairs: list[Pair]) -> None:
    assert {*STATEMENTS} - {*never_run([])} == {*OF_FILES}
    assert "all_journeys" in never_run(pairs[:1])  # only a start runs it


def test_every_answer_is_that_of_sqlite(pairs: list[Pair]) -> None:
    assert sum(len(pair.compared) for pair in pairs) > 500
    wrong = [both for pair in pairs for both in pair.compared if not both.agrees()]
    assert [(both.call, both.sqlite, both.d1) for both in wrong] == []


def test_every_stored_value_and_its_type_is_that_of_sqlite(pairs: list[Pair]) -> None:
    for pair in pairs:
        ours, theirs = pair.contents
        assert ours.keys() == theirs.keys()
        assert len(ours) >= 12
        for table in ours:
            assert same_tables(ours[table], theirs[table]), (ours[table], theirs[table])


def test_a_difference_of_a_type_or_a_digit_would_be_seen() -> None:
    ours: list[Row] = [("a", 1), ("b", 2.5)]
    assert same_tables(ours, [("b", 2.5), ("a", 1.0)])  # JSON has one kind of number
    for theirs in ([("a", 1), ("b", "2.5")], [("a", 1), ("b", 2.5000001)], [("a", 1)]):
        assert not same_tables(ours, theirs)
    changed = Answer(changed=[1, 2])
    assert not changed.agrees(replace(changed, changed=[2, 1]), ordered=True)
    assert not changed.agrees(Answer(error=StoreError("no")), ordered=True)
    assert not Answer(error=Refused("x")).agrees(Answer(error=StoreError("x")), ordered=True)


def billed(connection: sqlite3.Connection, statement: Statement, changed: int) -> int:
    """Return the rows that D1 should bill for a write, by the schema.

    A row and each of its indexes for an insert; a row and the indexes of what it sets for an
    update; a row for a delete.
    """
    found = re.match(
        r"INSERT INTO \"?(\w+)|UPDATE (\w+) SET (.*?) WHERE|DELETE FROM (\w+)", statement.sql
    )
    if found is None:
        return 0
    into, updated, sets, _ = found.groups()
    if into is None and updated is None:
        return changed
    table = into or updated
    is_keyed = (
        "WITHOUT ROWID"
        in connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[
            0
        ]
    )
    touched = 1
    for _, index, _, origin, _ in connection.execute(f"PRAGMA index_list({table})"):
        if origin == "pk" and is_keyed:
            continue  # the table itself
        columns = [row[2] for row in connection.execute(f"PRAGMA index_info({index})")]
        is_set = sets and any(re.search(rf"\b{column} =", sets) for column in columns)
        touched += bool(into or is_set)
    return changed * touched


def test_rows_written_follow_from_the_schema(pairs: list[Pair]) -> None:
    writes = [used for used in used_of(pairs) if used.changed]
    assert len({used.statement.name for used in writes}) > 30
    connection = pairs[0].sqlite.connection
    wrong = [
        (used.statement.name, used.changed, used.rows_written)
        for used in writes
        # The second run of the first updates what it inserted; the second has AUTOINCREMENT.
        if used.statement.name not in ("reject", "note_migration")
        and used.rows_written != billed(connection, used.statement, used.changed)
    ]
    assert wrong == []
    assert all(not used.rows_written for used in used_of(pairs) if not used.changed)


def test_committed_rows_are_those_that_the_engine_counts(
    runtime: Runtime, pairs: list[Pair], node: Node
) -> None:
    committed = json.loads(PATH.read_text(encoding="utf-8"))
    found = asyncio.run(measured_on(runtime, pairs))
    assert differences(committed, found) == []  # else: python -m bench.d1_rows --write
    assert committed["versions"] == dict(node.versions)


def asked(runtime: Runtime, statement: Statement, parameters: Sequence[object] = ()) -> list[Row]:
    """Return what a database without tables answers."""

    async def ask() -> list[Row]:
        database: D1Database = runtime.open("d0")
        try:
            return await database.read(statement, parameters)
        finally:
            await database.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("name", OF_FILES)
def test_d1_refuses_temporary_views(runtime: Runtime, pairs: list[Pair], name: str) -> None:
    with pytest.raises(StoreError, match="not authorized"):
        asked(runtime, STATEMENTS[name])


@pytest.mark.parametrize(
    "value", [5, True, -7, 2**53, 5.0, 0.1, None, "", "5", "é\U0001f600\x00x", b"", b"6"]
)
def test_a_parameter_has_the_type_that_sqlite_gives_it(
    runtime: Runtime, pairs: list[Pair], value: object
) -> None:
    kinds = Statement("kinds", "SELECT typeof(?1), ?1 / 2, CAST(?1 AS TEXT), ?1 = '5', ?1, ?1 AS a")
    database = SqliteDatabase(None, inline=True)
    ours = database.connection.execute(kinds.sql, [value]).fetchall()
    asyncio.run(database.close())
    assert asked(runtime, kinds, [value]) == ours


def test_columns_of_one_name_keep_their_values(runtime: Runtime, pairs: list[Pair]) -> None:
    twice = Statement("twice", "SELECT 1 AS a, 2 AS a, x'00ff' AS \"2\", 'x' AS \"1\"")
    assert asked(runtime, twice) == [(1, 2, b"\x00\xff", "x")]


def test_a_broken_rule_is_a_refusal_and_a_batch_all_or_nothing(
    runtime: Runtime, pairs: list[Pair]
) -> None:
    async def scene() -> None:
        database = runtime.open("d0")  # the schema is there
        site = ("s-twice", 1, 1)
        try:
            with pytest.raises(Refused, match=r"UNIQUE constraint failed: sites\.site_id"):
                await database.write((statements.INSERT_SITE, [site, site]))
            assert await database.read(statements.SITE, ("s-twice",)) == []
        finally:
            await database.close()

    asyncio.run(scene())


def test_answers_of_many_megabytes_are_read_whole(runtime: Runtime, pairs: list[Pair]) -> None:
    rows = Statement(
        "rows",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " SELECT i, replace(hex(zeroblob(500000)), '0', 'x') FROM n",
    )
    found = asked(runtime, rows, (12,))
    assert [(number, len(text)) for number, text in found] == [(n + 1, 10**6) for n in range(12)]
