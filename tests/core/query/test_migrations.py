"""Claims about migrations: numbered, once each, and no row lost on the way."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from core.attribution.models import HEURISTICS
from core.clock import ManualClock
from core.delivery.backlog import Backlog
from core.errors import InputError
from core.query.database import SqliteDatabase
from core.query.limits import limit
from core.query.migrations import latest_version, migrate, migrations, statements_of, version_of
from core.query.statement import Statement
from tests.conftest import ROOT

SHARES = ", ".join("0.5" for _ in range(6))


def connect(path: Path | str = ":memory:") -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def schema_of(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def first_version(path: Path) -> None:
    """Make a database as the first version did, with rows, one conversion waiting."""
    connection = connect(path)
    script = (ROOT / "core/query/schema/0001_first.sql").read_text(encoding="utf-8")
    connection.executescript(script)
    connection.executescript(
        f"""
        PRAGMA user_version = 1;
        INSERT INTO sites VALUES ('s1', 1, 100);
        INSERT INTO users VALUES ('u1', 'new', 'a profile');
        INSERT INTO user_journeys (event_id, user_id, event_name, utm_source, event_timestamp)
          VALUES ('t1', 'u1', 'page_view', 'email', 10), ('t2', 'u1', 'page_view', 'bing', 20);
        INSERT INTO conversions VALUES ('c1', 'e1', 'u1', 30, 5.0, 1),
          ('c2', 'e2', 'u1', 40, 6.0, 0);
        INSERT INTO touch_credits VALUES ('c1', 0, 2, 'email', {SHARES}),
          ('c1', 1, 2, 'bing', {SHARES});
        INSERT INTO channel_performance VALUES ('linear', 'email', 0.5, 1, 2.5, 0);
        """
    )
    connection.close()


def test_database_of_the_first_version_opens_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "cdp.sqlite"
    first_version(path)

    async def main() -> None:
        database = SqliteDatabase(path)
        rows = database.connection.execute
        assert rows("SELECT * FROM sites").fetchall() == [("s1", 1, 100)]
        assert rows("SELECT * FROM users").fetchall() == [("u1", "new", "a profile")]
        assert rows("SELECT event_id, utm_source FROM user_journeys").fetchall() == [
            ("t1", "email"), ("t2", "bing"),
        ]  # fmt: skip
        assert rows("SELECT * FROM conversions").fetchall() == [
            ("c1", "e1", "u1", 30, 5.0, 1, None, None), ("c2", "e2", "u1", 40, 6.0, 0, None, None),
        ]  # fmt: skip
        assert rows("SELECT total_value FROM channel_performance").fetchall() == [(2.5,)]
        # What was waiting is in the queue; the view shows what it showed, no model more.
        assert await Backlog(database, ManualClock(), owner="a").take(10) == [("c2", 1)]
        shown = rows("SELECT attribution_model, count(*) FROM multi_touch_attribution GROUP BY 1")
        assert dict(shown.fetchall()) == dict.fromkeys(HEURISTICS, 2)
        await database.close()

    asyncio.run(main())


def test_upgraded_schema_is_that_of_a_new_database(tmp_path: Path) -> None:
    first_version(tmp_path / "old.sqlite")
    old, new = connect(tmp_path / "old.sqlite"), connect()
    migrate(old, "old")
    migrate(new, "new")
    assert schema_of(old) == schema_of(new)
    assert version_of(old) == version_of(new) == latest_version()
    old.close()
    new.close()


@pytest.mark.parametrize("version", range(1, latest_version() + 1))
def test_every_version_leads_to_the_latest(version: int) -> None:
    connection, new = connect(), connect()
    migrate(connection, "old", to=version)
    assert version_of(connection) == version
    migrate(connection, "old")
    migrate(new, "new")
    assert schema_of(connection) == schema_of(new)
    connection.close()
    new.close()


WIDE_VIEW = """
CREATE VIEW multi_touch_attribution AS
SELECT conversion_id, attribution_model, touchpoint_index, utm_source,
       100.0 * credit AS credit_percentage,
       CASE WHEN touchpoints = 1 THEN 'only'
            WHEN touchpoint_index = 0 THEN 'first'
            WHEN touchpoint_index = touchpoints - 1 THEN 'last'
            ELSE 'middle' END AS role
FROM (
  SELECT *, 'last_click' AS attribution_model, last_click AS credit FROM touch_credits
  UNION ALL SELECT *, 'first_click', first_click FROM touch_credits
  UNION ALL SELECT *, 'linear', linear FROM touch_credits
  UNION ALL SELECT *, 'time_decay', time_decay FROM touch_credits
  UNION ALL SELECT *, 'u_shape', u_shape FROM touch_credits
  UNION ALL SELECT *, 'w_shape', w_shape FROM touch_credits
  UNION ALL SELECT *, 'data_driven', data_driven FROM touch_credits WHERE data_driven IS NOT NULL
)
"""
"""What 0003 made until 0007: seven terms, of which D1 takes five."""


@pytest.mark.parametrize("version", [3, 6])
def test_database_with_a_view_that_d1_refuses_opens_and_shows_the_same(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "cdp.sqlite"
    first_version(path)
    old = connect(path)
    migrate(old, path, to=version)
    old.execute("DROP VIEW multi_touch_attribution")
    old.execute(WIDE_VIEW)
    old.execute(
        "INSERT INTO touch_credits VALUES ('c2', 0, 3, 'a', .1, .2, .3, .4, .5, .6, .7),"
        " ('c2', 1, 3, 'b', .7, .6, .5, .4, .3, .2, .1), ('c2', 2, 3, 'c', 0, 0, 0, 0, 0, 0, NULL)"
    )
    shown = old.execute("SELECT * FROM multi_touch_attribution").fetchall()
    assert len(shown) == 2 * 6 + 3 * 6 + 2
    old.close()
    for readers in (0, 1):
        database = SqliteDatabase(path, readers=readers)
        rows = asyncio.run(database.read(Statement("all", VIEW), ()))
        assert rows == shown
        asyncio.run(database.close())


VIEW = "SELECT * FROM multi_touch_attribution"


@pytest.mark.parametrize("version", range(latest_version() + 1))
def test_every_version_loads_under_the_limits_of_d1(version: int) -> None:
    connection = connect()
    limit(connection)
    migrate(connection, "new", to=version)
    migrate(connection, "new")
    assert version_of(connection) == latest_version()
    connection.close()


def test_migration_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "cdp.sqlite"
    first_version(path)
    connection = connect(path)
    connection.execute("CREATE TABLE dead_letters (id INTEGER)")  # stands in the way of the second
    before = schema_of(connection)
    with pytest.raises(sqlite3.Error, match="dead_letters"):
        migrate(connection, path)
    assert (schema_of(connection), version_of(connection)) == (before, 1)
    connection.execute("DROP TABLE dead_letters")
    migrate(connection, path)
    assert version_of(connection) == latest_version()
    connection.close()


def test_newer_database_is_refused_before_anything_is_done() -> None:
    connection = connect()
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match=r"here: made by a newer version \(schema 99"):
        migrate(connection, "here")
    assert schema_of(connection) == {}
    connection.close()


@pytest.mark.parametrize("version", [0, 1, 6, 1_000])
@pytest.mark.parametrize("table", ["sites", "photos", None])
def test_another_programs_database_is_refused_and_left_as_it_was(
    tmp_path: Path, version: int, table: str | None
) -> None:
    path = tmp_path / "cdp.sqlite"
    connection = connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    if table is not None:
        connection.execute(f"CREATE TABLE {table} (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    if not version and table is None:  # an empty file is a new database
        SqliteDatabase(path, inline=True).connection.close()
        return
    with pytest.raises(InputError, match=r"cdp\.sqlite: not a database of edgeproof's service"):
        SqliteDatabase(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["cdp.sqlite"]


def test_scripts_are_cut_at_the_ends_of_statements() -> None:
    script = "-- a; comment\nCREATE TABLE a (b TEXT DEFAULT ';');\n\nSELECT 1;\n"
    assert [part.strip() for part in statements_of(script)] == [
        "-- a; comment\nCREATE TABLE a (b TEXT DEFAULT ';');", "SELECT 1;",
    ]  # fmt: skip
    for script in migrations():
        assert "".join(statements_of(script)) == script


def test_packed_credits_and_totals_show_what_the_tables_of_before_held() -> None:
    connection = connect()
    migrate(connection, "old", to=7)
    generator = np.random.default_rng(5)
    for number, count in enumerate((1, 2, 7, 2_345)):
        shares = generator.random((count, 7))
        shares[:, 2] = 1 / count
        shares[:, 5] *= 1e-12
        shares[0, 0] = 0.12632985504737199  # SQLite 3.40 casts 0.126329855047372 to it
        channels = generator.choice(["email", 'we"ird\\, ü\n', "(direct)"], count).tolist()
        rows = [
            (f"c{number}", at, count, channels[at], *row[:6], row[6] if number else None)
            for at, row in enumerate(shares.tolist())
        ]
        connection.executemany(f"INSERT INTO touch_credits VALUES ({', '.join('?' * 11)})", rows)
    totals = [
        (model, channel, *generator.random(1).tolist(), 3, 0.1 + 0.2, 5)
        for model in (*HEURISTICS, "data_driven")
        for channel in ("email", "bing")
        if (model, channel) != ("data_driven", "bing")
    ]
    connection.executemany("INSERT INTO channel_performance VALUES (?, ?, ?, ?, ?, ?)", totals)
    tables = ("touch_credits", "multi_touch_attribution", "channel_performance")
    before = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    migrate(connection, "old")
    limit(connection)
    after = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    assert after == before  # to the last digit, and in the same order
    longest = "SELECT first_touch, touchpoints FROM credits WHERE conversion_id = 'c3'"
    assert connection.execute(longest).fetchall() == [(0, 2345), (1000, 2345), (2000, 2345)]
    connection.close()
