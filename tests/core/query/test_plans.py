"""Claims about query plans: every statement finds its rows through the index made for it."""

from __future__ import annotations

import ast
import asyncio
import re
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from core.attribution.models import MODELS
from core.query import queue_statements, statements
from core.query.database import SqliteDatabase
from core.query.statement import Statement
from tests.conftest import ROOT
from tests.core.query.known_statements import MODULES
from tests.core.query.known_statements import STATEMENTS as ALL

_MODULES = {f"core/query/{module.__name__.rpartition('.')[2]}.py" for module in MODULES}

_TOUCHES = "j USING COVERING INDEX user_journeys_by_user (user_id=? AND event_timestamp>? AND"
_NAMED_TOUCHES = _TOUCHES.replace("COVERING ", "")  # the events' names are in no index
_PREVIOUS = "p USING COVERING INDEX conversions_by_user (user_id=? AND conversion_timestamp<?)"
_CONVERSION = "USING PRIMARY KEY (conversion_id=?)"

_QUEUED = f"conversion_queue {_CONVERSION}"
_BY_TIME = "conversion_queue USING INDEX conversion_queue_by_time (available_at_ms"
_BY_USER = "user_journeys USING INDEX user_journeys_by_user"
_IN_ORDER = "user_journeys USING COVERING INDEX user_journeys_by_user"
_OUTBOX = f"outbox {_CONVERSION}"
_OUTBOX_BY_TIME = "outbox_by_time (available_at_ms"

INTENDED: dict[str, tuple[str, ...]] = {
    "site_ids": ("sites",),
    "is_filled": (
        "CONSTANT ROW",
        "users",
        "user_journeys USING COVERING INDEX",
        "conversions USING COVERING INDEX",
    ),
    "has_population": ("main.user_journeys USING INDEX sqlite_autoindex_user_journeys_1",),
    "newest_is_own": ("main.user_journeys",),
    "invented_conversions": ("main.conversions USING PRIMARY KEY (conversion_id>?",),
    "own_events": (),
    "own_conversions": (),
    "event_slips": (_IN_ORDER,),
    "conversion_slips": ("conversions USING COVERING INDEX conversions_by_user",),
    "site": ("sites USING PRIMARY KEY (site_id=?)",),
    "user": ("users USING PRIMARY KEY (user_id=?)",),
    "user_journey": (f"{_BY_USER} (user_id=?)",),
    "conversion_journey": (f"c {_CONVERSION}", _TOUCHES, _PREVIOUS),
    "waiting_journeys": (f"c {_CONVERSION}", _TOUCHES, _PREVIOUS),
    "attributed_journeys": (f"c {_CONVERSION}", _TOUCHES, _PREVIOUS),
    "named_conversion_journey": (f"c {_CONVERSION}", _NAMED_TOUCHES, _PREVIOUS),
    "named_waiting_journeys": (f"c {_CONVERSION}", _NAMED_TOUCHES, _PREVIOUS),
    "named_attributed_journeys": (f"c {_CONVERSION}", _NAMED_TOUCHES, _PREVIOUS),
    "own_conversion_journey": (f"c {_CONVERSION}", _NAMED_TOUCHES, _PREVIOUS),
    "own_waiting_journeys": (f"c {_CONVERSION}", _NAMED_TOUCHES, _PREVIOUS),
    "own_attributed_journeys": (f"c {_CONVERSION}", _NAMED_TOUCHES, _PREVIOUS),
    "all_journeys": ("c", _TOUCHES, _PREVIOUS),
    "named_all_journeys": ("c", _NAMED_TOUCHES, _PREVIOUS),
    "own_all_journeys": ("c", _NAMED_TOUCHES, _PREVIOUS),
    "attributed_otherwise": ("conversions USING PRIMARY KEY (conversion_id>?)",),
    "delete_credits": ("credits USING PRIMARY KEY (conversion_id=?)",),
    "newer_model": ("fitted_models USING INTEGER PRIMARY KEY (rowid>?)",),
    "insert_model": (),
    "events_after": ("j USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", f"c {_CONVERSION}"),
    "channel_performance": ("CONSTANT ROW", "asked", "channel_totals"),
    "stored_credits": ("t", f"c {_CONVERSION}"),
    "channel_totals": ("channel_totals",),
    "forget_channel": ("channel_totals USING PRIMARY KEY (utm_source=?)",),
    "has_table": ("sqlite_schema",),
    "stated_query": ("sites USING PRIMARY KEY (site_id=?)",),
    "stated_write": ("sites USING PRIMARY KEY (site_id=?)",),
    "newest_event": ("user_journeys",),
    "next_user": (f"{_IN_ORDER} (user_id>?)",),
    "end_of_range": (f"{_IN_ORDER} (user_id>?)",),
    "end_of_conversions": ("conversions USING COVERING INDEX conversions_by_user (user_id>?)",),
    "next_converting_user": ("conversions USING COVERING INDEX conversions_by_user (user_id>?)",),
    "touches_per_user": (f"{_IN_ORDER} (user_id>? AND user_id<?)",),
    "touches_in_order": (f"{_IN_ORDER} (user_id>? AND user_id<?)",),
    "named_touches_in_order": (f"{_BY_USER} (user_id>? AND user_id<?)",),
    "own_touches_per_user": (f"{_BY_USER} (user_id>? AND user_id<?)", f"c {_CONVERSION}"),
    "own_touches_in_order": (f"{_BY_USER} (user_id>? AND user_id<?)", f"c {_CONVERSION}"),
    "conversions_in_order": (
        "conversions USING INDEX conversions_by_user (user_id>? AND user_id<?)",
    ),
    "stored_results": (f"c {_CONVERSION}", f"t {_CONVERSION}"),
    "waiting_in_range": ("conversions USING INDEX conversions_by_user (user_id>? AND user_id<?)",),
    "mark_processed": (f"conversions {_CONVERSION}",),
    "enqueue": (f"c {_CONVERSION}", f"d {_CONVERSION}"),
    "dequeue": (_QUEUED,),
    "lease": (
        _QUEUED,
        "conversion_queue USING COVERING INDEX conversion_queue_by_time (available_at_ms<?)",
    ),
    "renew_lease": (_QUEUED,),
    "break_leases": (f"{_BY_TIME}>?)",),
    "record_failure": (_QUEUED,),
    "release": (_QUEUED,),
    "dead_letter": (_QUEUED,),
    "dead_letter_spent": (_QUEUED,),
    "reject": (f"c {_CONVERSION}", f"q {_CONVERSION}"),
    "dequeue_dead": (_QUEUED,),
    "revive": (f"conversions {_CONVERSION}",),
    "drop_dead_letter": (f"dead_letters {_CONVERSION}",),
    "queue_waiting": ("conversion_queue USING INDEX conversion_queue_by_time", "some"),
    "queue_found": (f"{_BY_TIME}<?)",),
    "queue_unclaim": (
        "conversion_queue USING COVERING INDEX conversion_queue_by_time (available_at_ms=?)",
    ),
    "queue_claimed": (f"{_BY_TIME}=?)",),
    "outbox_found": (f"outbox USING INDEX {_OUTBOX_BY_TIME}<?)",),
    "outbox_unclaim": (f"outbox USING COVERING INDEX {_OUTBOX_BY_TIME}=?)",),
    "outbox_claimed": (f"outbox USING INDEX {_OUTBOX_BY_TIME}=?)",),
    "number_dead": ("d", f"c {_CONVERSION}", "some"),
    "queue_depth": (
        "conversion_queue USING COVERING INDEX conversion_queue_by_time (available_at_ms>?)",
    ),
    "dead_letters": ("d USING PRIMARY KEY (conversion_id>?)", f"c {_CONVERSION}"),
    "forward": (f"c {_CONVERSION}",),
    "release_delivery": (_OUTBOX,),
    "restate": (f"conversions {_CONVERSION}",),
    "take_deliveries": (_OUTBOX, f"outbox USING COVERING INDEX {_OUTBOX_BY_TIME}<?)"),
    "delivered": (_OUTBOX,),
    "put_off_delivery": (_OUTBOX,),
    "next_delivery": ("outbox USING COVERING INDEX outbox_by_time",),
    "break_deliveries": (f"outbox USING INDEX {_OUTBOX_BY_TIME}>?)",),
    "dead_letter_delivery": (_OUTBOX,),
    "drop_dead_delivery": (_OUTBOX,),
    "revive_delivery": (f"undelivered {_CONVERSION}",),
    "drop_undelivered": (f"undelivered {_CONVERSION}",),
    "undelivered": ("undelivered USING PRIMARY KEY (conversion_id>?)",),
    "outbox_waiting": ("outbox USING INDEX outbox_by_time", "some"),
    "number_undelivered": ("undelivered", "some"),
    "insert_event": (),
    "insert_campaign_event": (),
    "insert_conversion": (),
    "insert_credits": (),
    "add_to_channel": (),
    "insert_site": (),
    "insert_user": (),
    "sample_touch": (),
    "copy_event": (),
    "schema_objects": ("sqlite_schema",),
    "make_migrations": (),
    "note_migration": (),
    "events_page": ("user_journeys USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",),
    "conversions_page": ("conversions USING PRIMARY KEY (conversion_id>?)",),
}

# A list of ids that came as a parameter.
_ALLOWED_SCAN = re.compile(r"SCAN json_each\b")

_SORT = "USE TEMP B-TREE FOR"
INTENDED_SCANS: dict[str, tuple[str, ...]] = {
    # The check of the incremental totals, and what it is compared with.
    "stored_credits": ("SCAN t",),
    "channel_totals": ("SCAN channel_totals",),
    # A row a channel, of which there are few.
    "channel_performance": (
        "SCAN CONSTANT ROW",
        "SCAN asked",
        "SCAN channel_totals",
        f"{_SORT} ORDER BY",
    ),
    # What a new database is seeded with.
    "all_journeys": ("SCAN c",),
    "named_all_journeys": ("SCAN c",),
    "own_all_journeys": ("SCAN c",),
    # They end at the first row, and the catalogue has a dozen.
    "is_filled": (
        "SCAN CONSTANT ROW",
        "SCAN users",
        "SCAN user_journeys USING COVERING INDEX sqlite_autoindex_user_journeys_1",
        "SCAN conversions USING COVERING INDEX conversions_by_user",
    ),
    "newest_is_own": ("SCAN main.user_journeys",),
    # As a service starts: a scenario has a few dozen sites.
    "site_ids": ("SCAN sites",),
    # Of an account of the whole database, which reads every row.
    "event_slips": ("SCAN user_journeys USING COVERING INDEX user_journeys_by_user",),
    "conversion_slips": ("SCAN conversions USING COVERING INDEX conversions_by_user",),
    "has_table": ("SCAN sqlite_schema",),
    # Each with a limit.
    "queue_waiting": ("SCAN conversion_queue USING INDEX conversion_queue_by_time", "SCAN some"),
    "outbox_waiting": ("SCAN outbox USING INDEX outbox_by_time", "SCAN some"),
    "number_dead": ("SCAN d", "SCAN some"),
    "number_undelivered": ("SCAN undelivered", "SCAN some"),
    "schema_objects": ("SCAN sqlite_schema",),
}
"""The lines of a plan that would be a fault in every other statement."""


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Return the connection of an empty database."""
    database = SqliteDatabase(None, inline=True)
    database.connection.execute(ALL["make_migrations"].sql)
    yield database.connection
    asyncio.run(database.close())


def plan_of(connection: sqlite3.Connection, statement: Statement) -> list[str]:
    parameters = [None] * statement.sql.count("?")
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", parameters)
    return [row[3] for row in rows]


def test_every_statement_has_an_intended_plan() -> None:
    assert set(ALL) == set(INTENDED)


@pytest.mark.parametrize("name", INTENDED)
def test_statement_uses_the_index_made_for_it(connection: sqlite3.Connection, name: str) -> None:
    plan = plan_of(connection, ALL[name])
    for step in INTENDED[name]:
        assert any(f" {step}" in line for line in plan), plan
    tables = [line for line in plan if line.startswith(("SEARCH", "SCAN"))]
    assert len(tables) == len(INTENDED[name]) + any("json_each" in line for line in plan), plan


def is_slow(line: str) -> bool:
    """Return whether a line of a plan goes through a whole table, or sorts."""
    is_scan = line.startswith("SCAN") and not _ALLOWED_SCAN.match(line)
    return is_scan or "TEMP B-TREE" in line or "AUTOMATIC" in line


@pytest.mark.parametrize("name", ALL)
def test_statement_reads_no_whole_table_and_sorts_nothing(
    connection: sqlite3.Connection, name: str
) -> None:
    slow = {line for line in plan_of(connection, ALL[name]) if is_slow(line)}
    assert slow == {*INTENDED_SCANS.get(name, ())}


def test_check_of_plans_would_see_a_lost_index(connection: sqlite3.Connection) -> None:
    connection.execute("DROP INDEX user_journeys_by_user")
    connection.execute("DROP INDEX conversion_queue_by_time")
    for name in ("user_journey", "lease", "queue_waiting", "break_leases"):
        assert any(is_slow(line) for line in plan_of(connection, ALL[name]))


def test_every_index_is_one_that_a_statement_uses(connection: sqlite3.Connection) -> None:
    plans = " ".join(line for name in ALL for line in plan_of(connection, ALL[name]))
    indexes = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    assert len(indexes) == 4
    for (name,) in indexes:
        assert f"INDEX {name} " in plans


_SQL = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|VALUES|CREATE|DROP|ALTER|VACUUM|ANALYZE|REINDEX"
    r"|ATTACH|DETACH|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b"
    r"|(?i:\s*(select\s.*\sfrom|insert\s+into|replace\s+into|delete\s+from|update\s.*\sset)\s+\w)"
    r"|.*\b(FROM|JOIN|WHERE|VALUES|(GROUP|ORDER) BY)\b",
    re.DOTALL,
)
_TRANSACTION = {"BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"}
_METHODS = {"DELETE", "FROM..TO|FILE"}  # of HTTP; what an option takes
_HOMES = {
    *_MODULES,
    "core/query/statement.py",
    "core/query/migrations.py",
    "core/query/import_statements.py",
    "core/ledger/intake/documents.py",  # asks files, by an engine of its own
    "edgeproof/workerd/content.py",  # copies whole tables, whatever the schema calls them
}


def raw_sql(source: str) -> list[str]:
    """Return the string constants of a module that look like SQL, but for docstrings.

    What begins and ends a transaction has no plan.
    """
    tree = ast.parse(source)
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in said
        if _SQL.match(node.value) and node.value not in (*_TRANSACTION, *_METHODS)
    ]


def test_sql_is_written_down_in_the_modules_of_statements_only() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): sql
        for package in ("core", "edgeproof")
        for path in sorted((ROOT / package).rglob("*.py"))
        if (sql := raw_sql(path.read_text(encoding="utf-8")))
    }
    assert found.keys() >= _HOMES
    assert {place: sql for place, sql in found.items() if place not in _HOMES} == {}


@pytest.mark.parametrize(
    "source",
    [
        'c.execute("SELECT 1 FROM sites LIMIT 1")',
        'ROWS = f"SELECT {columns} FROM {table}"',
        'ROWS = ("PRAGMA x", "delete from sites where site_id = ?")',
        'def drop():\n    """Drop it."""\n    return "DROP TABLE sites"',
        "class Store:\n    sql = base.replace('WHERE c.id = ?', '')",
        "c.execute('\\n  update sites\\n  set enabled = 0')",
    ],
)
def test_search_for_raw_sql_finds_it(source: str) -> None:
    assert len(raw_sql(source)) >= 1


def test_search_for_raw_sql_takes_no_words_for_it() -> None:
    source = '''
"""SELECT in a docstring."""
def update():
    """Update rows from one set to another."""
    print("select another file", "PRAGMA user_version")
    raise ValueError(f"from {a} to {b}; update, or set it by hand")
    connection.execute("BEGIN IMMEDIATE")
'''
    assert raw_sql(source) == []


def test_statements_are_made_in_the_modules_of_statements_only() -> None:
    made = {
        path.relative_to(ROOT).as_posix()
        for package in ("core", "edgeproof")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\bStatement\(", path.read_text(encoding="utf-8"))
    }
    # PRAGMA and EXPLAIN, and what is made for a table whose columns are given.
    assert made == {*_MODULES, "core/query/executor.py", "core/query/statement.py"}


def filled(connection: sqlite3.Connection, users: int) -> None:
    """Give each of *users* three touches and a conversion that is processed, but that of u0."""
    for user in range(users):
        rows = [
            (f"e{user}-{i}", f"u{user}", "page_view", "email", 10 * i, "new", None)
            for i in range(3)
        ]
        connection.executemany(statements.INSERT_EVENT.sql, rows)
        conversion = (f"c{user}", f"e{user}", f"u{user}", 100, 1.0)
        connection.execute(statements.INSERT_CONVERSION.sql, conversion)
        connection.execute(queue_statements.ENQUEUE.sql, (1, 0, 1_000 + user, "a", f"c{user}"))
        connection.execute(statements.INSERT_SITE.sql, (f"s{user}", 1, 1))
        connection.execute(statements.INSERT_USER.sql, (f"u{user}", "new", ""))
        channel = ("email", 0, *[1.0, 1, 1.0] * len(MODELS))
        connection.execute(statements.ADD_TO_CHANNEL.sql, channel)
    connection.execute("UPDATE conversions SET processed = 1 WHERE conversion_id != 'c0'")


def steps_of(users: int) -> dict[str, int]:
    """Return the steps of SQLite's virtual machine that each statement about u0 takes."""
    parameters: dict[str, Sequence[Any]] = {
        "site": ("s0",),
        "user": ("u0",),
        "user_journey": ("u0", 100),
        "conversion_journey": (1_000, "c0"),
        "waiting_journeys": (1_000, '["c0"]'),
        "enqueue": (1, 0, 0, "a", "c0"),
        "lease": (2_000, "b", 1_000, 10),
        "renew_lease": (2_000, "a", '["c0"]', "a"),
        "record_failure": (2_000, "a", "away", '["c0"]', "a"),
        "dead_letter": (9, "away", 0, '["c0"]', "a"),
        "reject": ("odd", 0, "c0"),
        "dead_letters": ("", 10),
        "drop_dead_letter": ("c0",),
        "queue_waiting": (1_000, 5),
        "number_dead": (10,),
        "dequeue": ("c0",),
        "revive": (0, 0, "c0"),
        "channel_performance": ("linear", 50),
        "mark_processed": ("a key", 1, "c0"),
        "attributed_otherwise": ("", "a key", 1),
        "attributed_journeys": (1_000, '["c1"]'),
        "delete_credits": ("c0",),
        "newer_model": (0,),
        "events_after": (0, 10, 10),
    }
    database = SqliteDatabase(None, inline=True)
    connection = database.connection
    filled(connection, users)
    taken = {}
    for name, values in parameters.items():
        steps: list[None] = []
        # append returns None, which lets the statement go on.
        connection.set_progress_handler(partial(steps.append, None), 1)
        connection.execute(ALL[name].sql, values).fetchall()
        connection.set_progress_handler(None, 1)
        taken[name] = len(steps)
    asyncio.run(database.close())
    return taken


def test_work_of_a_statement_does_not_grow_with_the_database() -> None:
    few, many = steps_of(5), steps_of(2_000)
    assert all(steps > 3 for steps in few.values())
    assert few == many


def test_plans_are_the_same_once_sqlite_has_statistics(connection: sqlite3.Connection) -> None:
    before = {name: plan_of(connection, ALL[name]) for name in ALL}
    filled(connection, 500)
    connection.execute("ANALYZE")
    assert {name: plan_of(connection, ALL[name]) for name in ALL} == before
