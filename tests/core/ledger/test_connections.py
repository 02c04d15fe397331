"""Claims about connections in bulk, by either driver: what cannot be read is one clear line."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from core.attribution.parameters import Parameters
from core.errors import InputError
from core.ledger.database_account import Survey, account_of_database, fit_database
from core.query.database import SqliteDatabase
from core.query.statements import INSERT_CONVERSION, INSERT_EVENT


@pytest.fixture(params=["apsw", "sqlite3"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "sqlite3":
        monkeypatch.setitem(sys.modules, "apsw", None)
    else:
        pytest.importorskip("apsw")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a database with three conversions of a touch each."""
    path = tmp_path / "cdp.sqlite"
    database = SqliteDatabase(path, inline=True)
    with closing(database.connection) as connection:
        for n in range(3):
            event = (f"e{n}", f"u{n}", "view", "email", 10, "", None)
            connection.execute(INSERT_EVENT.sql, event)
            connection.execute(INSERT_CONVERSION.sql, (f"c{n}", f"p{n}", f"u{n}", 20, 1.0))
    return path


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("change", "is_fitted"),
    [
        ("user_journeys SET utm_source", True),
        ("user_journeys SET user_id", True),
        ("user_journeys SET event_timestamp", True),
        ("user_journeys SET event_name", False),
        ("conversions SET user_id", True),
        ("conversions SET conversion_id", True),
        ("conversions SET value", True),
        ("conversions SET conversion_timestamp", True),
    ],
)
@pytest.mark.parametrize("value", ["CAST(x'ff41' AS TEXT)", "x'ff41'"], ids=["text", "blob"])
def test_what_is_no_text_is_read_or_one_clear_line(
    file: Path, change: str, value: str, is_fitted: bool
) -> None:
    table = change.partition(" ")[0]
    with closing(sqlite3.connect(file)) as connection, connection:
        key = "event_id = 'e1'" if table == "user_journeys" else "conversion_id = 'c1'"
        connection.execute(f"UPDATE {change} = {value} WHERE {key}")
    asked = Survey(file=file, parameters=Parameters(milestones=("view", "")))
    told = []
    for call in (account_of_database, fit_database) if is_fitted else (account_of_database,):
        try:
            call(asked)
        except InputError as error:
            told.append(str(error))
    for line in told:
        assert "\n" not in line
        assert "correct" in line or "needed" in line
    if "CAST" in value and change.startswith("user_journeys"):
        assert told
