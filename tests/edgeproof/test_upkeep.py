"""Claims about `edgeproof attribute fit` and `recount`, as a user runs them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.attribution.batch import BatchAttributionProcessor
from core.clock import ManualClock
from core.profiling import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries
from core.span import Span
from tests.core.attribution.test_batch import purchase, touch
from tests.edgeproof.commands import edgeproof


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return a database with processed conversions."""
    file = tmp_path / "cdp.sqlite"

    async def fill() -> None:
        database = SqliteDatabase(file)
        queries = Queries(database, ManualClock(), LatencyProfiler())
        for event in (touch("e1", 10), touch("e2", 20, "google"), purchase("c1", 30)):
            await queries.insert_event(event, "new")
        processor = BatchAttributionProcessor(queries, now_ms=lambda: 40)
        await processor.process(Span(is_batch=True), ["c1"])
        await database.close()

    asyncio.run(fill())
    return file


def test_fit_stores_a_model_and_says_that_data_are_few(shop: Path) -> None:
    done = edgeproof("attribute", "fit", "--db", str(shop), "--plain", cwd=shop.parent)
    assert done.returncode == 0, done.stderr
    assert "fewer than 10" in done.stdout
    again = edgeproof(
        "attribute", "fit", "--db", str(shop), "--json", "--min-conversions", "1", cwd=shop.parent
    )
    found = json.loads(again.stdout)
    assert found["number"] == 2
    assert found["fallback"] == ""
    with closing(sqlite3.connect(shop)) as connection:
        assert connection.execute("SELECT count(*) FROM fitted_models").fetchone() == (2,)


def test_recount_tells_wrong_totals_by_its_exit_code_and_mends_them(shop: Path) -> None:
    recount = ("attribute", "recount", "--db", str(shop), "--plain")
    assert edgeproof(*recount, cwd=shop.parent).returncode == 0
    with closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute("UPDATE channel_performance SET total_value = 0")
    wrong = edgeproof(*recount, cwd=shop.parent)
    assert wrong.returncode == 1
    assert "--repair" in wrong.stdout
    assert edgeproof(*recount, "--repair", cwd=shop.parent).returncode == 0
    assert edgeproof(*recount, cwd=shop.parent).returncode == 0


@pytest.mark.parametrize("command", ["fit", "recount"])
def test_what_is_no_database_is_one_line(command: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for name in ("text", "nothing"):
        done = edgeproof(
            "attribute", command, "--db", str(tmp_path / name), "--plain", cwd=tmp_path
        )
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert name in done.stderr
