"""Claims about `edgeproof attribute fit` and `recount`, as a user runs them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from core.attribution.models import MODELS
from core.clock import ManualClock
from core.context import Span
from core.ledger.processor import BatchAttributionProcessor
from core.metrics.profiler import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries
from core.query.queue_statements import ENQUEUE
from core.query.statements import INSERT_CONVERSION, INSERT_EVENT
from edgeproof.main import main
from tests.core.ledger.damage import TRIPLED
from tests.core.ledger.shop import purchase, touch
from tests.edgeproof.commands import (
    LIMIT_SECONDS,
    Watched,
    called,
    descendants,
    edgeproof,
    environment,
    on_terminal,
    running,
)


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
    again = called(
        "attribute", "fit", "--db", str(shop), "--json", "--min-conversions", "1", cwd=shop.parent
    )
    found = json.loads(again.stdout)
    assert found["number"] == 2
    assert found["fallback"] == ""
    with closing(sqlite3.connect(shop)) as connection:
        assert connection.execute("SELECT count(*) FROM fitted_models").fetchone() == (2,)


@pytest.mark.parametrize(
    ("options", "channels", "parameters"),
    [
        ((), {"email", "google"}, {"order": 1, "lookback_ms": 30 * 86_400_000}),
        (("--lookback", "15ms"), {"google"}, {"lookback_ms": 15}),
        (("--order", "3"), {"email", "google"}, {"order": 3}),
        (("--direct", "ignore"), {"email", "google"}, {"direct": "ignore unless all direct"}),
        (("--own-event",), {"email", "google"}, {"own_event": True}),
        (("--most-channels", "1"), {"email", "(other)"}, {}),
    ],
)
def test_fit_takes_its_parameters_from_the_options(
    shop: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    channels: set[str],
    parameters: dict[str, object],
) -> None:
    assert main(["attribute", "fit", "--db", str(shop), "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["weights"]) == channels
    assert parameters.items() <= found["parameters"].items()


def test_fit_chooses_the_order_by_cross_validation_and_says_so(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attribute", "fit", "--db", str(shop), "--plain", "--order", "auto"]) == 0
    shown = capsys.readouterr().out
    assert ": order 1, from" in shown
    assert "Notice: --order auto chooses 1: the lowest order within one standard" in shown
    assert main(["attribute", "fit", "--db", str(shop), "--order", "some"]) == 2
    assert "--order some: use 1, 2, 3 or auto" in capsys.readouterr().err
    assert main(["attribute", "fit", "--db", str(shop), "--order", "4"]) == 2
    assert "order" in capsys.readouterr().err


def test_fit_and_dead_letters_show_names_as_they_are_on_a_terminal(shop: Path) -> None:
    with closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute("UPDATE user_journeys SET utm_source = '[/b]' WHERE event_id = 'e1'")
    code, shown = on_terminal("attribute", "fit", "--db", str(shop), cwd=shop.parent)
    assert code == 0, shown
    assert "[/b]" in shown
    waiting(shop, 1)
    with closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute("UPDATE conversions SET value = '[/i]' WHERE conversion_id = 'w0'")
    store = ("attribute", "store", "--db", str(shop), "--scenario", "baseline")
    assert called(*store, cwd=shop.parent).returncode == 0
    code, shown = on_terminal("queue", "dead", "--db", str(shop), cwd=shop.parent)
    assert code == 0, shown
    assert "[/i]" in shown


def test_recount_tells_wrong_totals_by_its_exit_code_and_mends_them(shop: Path) -> None:
    recount = ("attribute", "recount", "--db", str(shop), "--plain")
    assert called(*recount, cwd=shop.parent).returncode == 0
    with closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute(
            f"UPDATE channel_totals SET {', '.join(f'{m}_value = 0' for m in MODELS)}"
        )
    wrong = edgeproof(*recount, cwd=shop.parent)
    assert wrong.returncode == 1
    assert "--repair" in wrong.stdout
    assert called(*recount, "--repair", cwd=shop.parent).returncode == 0
    assert called(*recount, cwd=shop.parent).returncode == 0


def test_recount_names_conversions_whose_credits_do_not_sum_to_1(shop: Path) -> None:
    with closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute(TRIPLED)
        connection.execute(
            "UPDATE channel_totals SET linear = 3 * linear, linear_value = 3 * linear_value"
        )
    recount = ("attribute", "recount", "--db", str(shop))
    wrong = called(*recount, "--json", cwd=shop.parent)
    assert wrong.returncode == 1
    assert json.loads(wrong.stdout) == {"differences": [], "uneven": ["c1"], "repaired": False}
    said = called(*recount, "--plain", "--repair", cwd=shop.parent)
    assert said.returncode == 0
    assert "The credits of 1 conversion do not sum to 1 (c1); start the service" in said.stdout
    with closing(sqlite3.connect(shop)) as connection:
        kept = "SELECT parameters_key FROM conversions WHERE conversion_id = 'c1'"
        assert connection.execute(kept).fetchone() == (None,)


def test_recount_shows_small_differences(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute("UPDATE channel_totals SET last_click_value = last_click_value + 0.0004")
    assert main(["attribute", "recount", "--db", str(shop), "--plain"]) == 1
    (line,) = (
        line for line in capsys.readouterr().out.splitlines()
        if line.split()[:2] == ["last_click", "google"]
    )  # fmt: skip
    assert line.split()[2:] == ["1", "of", "1,", "10.0004", "1", "of", "1,", "10"]


def waiting(file: Path, users: int) -> None:
    """Add *users* with a touch and a conversion each, which nobody has attributed."""
    database = SqliteDatabase(file, inline=True)
    with closing(database.connection) as connection:
        connection.execute("BEGIN")
        for statement, rows in (
            (INSERT_EVENT, [(f"w{n}", f"w{n}", "view", "email", 10, "", None)
                            for n in range(users)]),
            (INSERT_CONVERSION, [(f"w{n}", f"p{n}", f"w{n}", 20, 1.0) for n in range(users)]),
            (ENQUEUE, [(0, 20, 20, None, f"w{n}") for n in range(users)]),
        ):  # fmt: skip
            connection.executemany(statement.sql, rows)
        connection.execute("COMMIT")


def test_store_attributes_what_waits_and_nothing_a_second_time(shop: Path) -> None:
    waiting(shop, 3)
    store = ("attribute", "store", "--db", str(shop), "--scenario", "baseline")
    done = edgeproof(*store, "--json", cwd=shop.parent)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {"conversions": 3, "touches": 3, "without_touches": 0, "rejected": 0}
    with closing(sqlite3.connect(shop)) as connection:  # baseline has a destination
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (3,)
    again = called(*store, "--plain", cwd=shop.parent)
    assert again.stdout == "No conversion waits.\n"
    assert called("attribute", "recount", "--db", str(shop), cwd=shop.parent).returncode == 0


def test_store_says_where_to_read_why_some_cannot_be_used(shop: Path) -> None:
    waiting(shop, 3)
    with closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute("UPDATE conversions SET value = 'dear' WHERE conversion_id = 'w1'")
    store = ("attribute", "store", "--db", str(shop), "--scenario", "baseline", "--plain")
    done = called(*store, cwd=shop.parent)
    assert done.returncode == 0, done.stderr
    assert "Stored 2 conversions" in done.stdout
    assert f"cannot be used: 1; edgeproof queue dead --db {shop} says why" in done.stdout
    dead = called("queue", "dead", "--db", str(shop), "--plain", cwd=shop.parent)
    assert "value is 'dear'; a finite number is needed" in dead.stdout


def test_interrupted_store_keeps_what_it_stored_and_goes_on_later(shop: Path) -> None:
    waiting(shop, 200_000)
    store = ("attribute", "store", "--db", str(shop), "--scenario", "baseline", "--plain")
    with running(*store, cwd=shop.parent) as command:
        command.wait_for("storing")
        command.interrupt()
        code, _, stderr = command.end()
    assert code == 130, stderr
    assert "Traceback" not in stderr
    with closing(sqlite3.connect(shop)) as connection:
        stored, queued = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("credits", "conversion_queue")
        )
    assert stored - 1 == 200_000 - queued  # the row of the conversion that was there before
    assert 0 < queued < 200_000
    assert called(*store, cwd=shop.parent).returncode == 0
    assert called("attribute", "recount", "--db", str(shop), cwd=shop.parent).returncode == 0


def test_interrupted_jobs_end_at_once_and_leave_nothing(shop: Path) -> None:
    waiting(shop, 100_000)
    temporary = shop.parent / "temporary"
    temporary.mkdir()
    jobs = ("attribute", "--db", str(shop), "--jobs", "2", "--plain")
    told = {"PYTHONPROFILEIMPORTTIME": "1", "TMPDIR": str(temporary)}
    with running(*jobs, cwd=shop.parent, **told) as command:
        command.wait_for("^reading: 0 %")
        command.wait_for(r"core\.attribution\.parameters$")  # by a worker, from here on
        children = Watched(descendants(command.process.pid))
        command.interrupt(group=True)
        code, out, said = command.end()
        assert children.left() == []
    assert (code, out) == (130, "")
    assert without_imports(said) == [
        "reading: 0 %", "edgeproof: interrupted; nothing was written"
    ]  # fmt: skip
    assert list(temporary.iterdir()) == []


def without_imports(said: str) -> list[str]:
    # A worker's line may begin where another process has not ended its own.
    told = (line.partition("import time:")[0] for line in said.splitlines())
    return [line for line in told if line]


def test_interrupted_start_is_one_line(shop: Path) -> None:
    told = {"PYTHONPROFILEIMPORTTIME": "1"}
    with running("attribute", "--db", str(shop), cwd=shop.parent, **told) as command:
        command.wait_for(r"core\.attribution\.parameters$")
        command.interrupt()
        code, out, said = command.end()
    assert (code, out) == (130, "")
    assert without_imports(said) == ["edgeproof: interrupted; nothing was written"]


def test_no_room_for_temporary_files_is_laid_to_their_folder(shop: Path) -> None:
    waiting(shop, 20_000)
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", sys.executable, "-m", "edgeproof",
         "attribute", "--db", str(shop), "--jobs", "2", "--json"],
        cwd=shop.parent, env=environment(), capture_output=True, text=True, timeout=LIMIT_SECONDS,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "edgeproof-" in done.stderr
    assert "let TMPDIR name a folder with more room" in done.stderr


@pytest.mark.parametrize(
    "command", [("fit",), ("store", "--scenario", "baseline"), ("recount",)], ids=" ".join
)
def test_what_is_no_database_is_one_line(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for name in ("text", "nothing"):
        done = called("attribute", *command, "--db", str(tmp_path / name), "--plain", cwd=tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert name in done.stderr
