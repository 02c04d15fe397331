"""`edgeproof queue`: what it tells, what it mends, and which files it refuses."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.query.migrations import migrate
from edgeproof.main import main

T = 1_767_225_600_000  # 2026-01-01


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database with two due conversions, one that failed and is put off, two dead."""
    path = tmp_path / "cdp.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path)
    for name in ("c1", "c2", "c3", "d1", "d2"):
        row = (name, f"e-{name}", "u1", T, 1.0)
        connection.execute(
            "INSERT INTO conversions (conversion_id, event_id, user_id, conversion_timestamp,"
            " value) VALUES (?, ?, ?, ?, ?)",
            row,
        )
    connection.execute(
        f"INSERT INTO conversion_queue VALUES ('c1', 0, {T}, {T}, NULL, NULL),"
        f" ('c2', 0, {T + 1000}, {T}, NULL, NULL),"
        f" ('c3', 1, {T + 2000}, {2 * T}, 'a', 'the database is away')"
    )
    connection.execute(
        f"INSERT INTO dead_letters VALUES ('d1', 3, 'the disk is full', {T}),"
        f" ('d2', 3, 'no such table', {T + 5000})"
    )
    connection.close()
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command that succeeds says."""
    assert main(["queue", *arguments]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def told_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(told(capsys, *arguments, "--json"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line with which a command refuses."""
    assert main(["queue", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("edgeproof: ")
    return line


def test_status_counts_what_waits(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told_json(capsys, "status", "--db", str(database)) == {
        "due": 2, "leased": 1, "later": 0, "failed": 1, "dead": 2, "oldest_ms": T,
        "is_complete": True,
    }  # fmt: skip
    lines = told(capsys, "status", "--db", str(database), "--plain").splitlines()
    assert [line.split()[-1] for line in lines[1:6]] == ["2", "1", "0", "1", "2"]
    assert "waits since 2026-01-01 00:00:00+00:00" in lines[6]
    assert f"queue dead --db {database}" in lines[7]


def test_status_reads_a_thousand_rows_and_says_that_there_may_be_more(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms)"
            " VALUES (?, 1, 1)", [(f"many-{number}",) for number in range(1_500)],
        )  # fmt: skip
    found = told_json(capsys, "status", "--db", str(database))
    assert (found["due"], found["leased"], found["is_complete"]) == (1_000, 0, False)
    text = told(capsys, "status", "--db", str(database), "--plain")
    assert "1,000 or more wait: the numbers are of the first 1,000" in text
    assert "over 1,000 are not read" in text


def test_dead_tells_the_reasons(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told_json(capsys, "dead", "--db", str(database))["dead"]
    assert [(d["conversion_id"], d["attempts"], d["reason"]) for d in found] == [
        ("d1", 3, "the disk is full"), ("d2", 3, "no such table"),
    ]  # fmt: skip
    text = told(capsys, "dead", "--db", str(database))
    assert "d1" in text
    assert "the disk is full" in text
    assert "2026-01-01 00:00:05+00:00" in text


def test_retry_queues_all_or_those_that_are_named(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = told(capsys, "retry", "--db", str(database), "--id", "d2")
    assert one == "Queued 1 conversion again.\n"
    assert told_json(capsys, "status", "--db", str(database))["due"] == 3
    assert told_json(capsys, "retry", "--db", str(database)) == {"queued": 1}
    assert told(capsys, "retry", "--db", str(database)) == "Queued 0 conversions again.\n"
    assert told(capsys, "dead", "--db", str(database)) == "No conversion was given up.\n"


def test_retry_of_what_is_not_dead_is_refused(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "retry", "--db", str(database), "--id", "d1", "--id", "c1")
    assert "--id c1: not among the 2 dead conversions" in line
    assert told_json(capsys, "status", "--db", str(database))["dead"] == 2


@pytest.mark.parametrize("command", ["status", "dead", "retry"])
def test_missing_file_is_one_clear_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing.sqlite"
    assert f"--db {path}: no such file" in refused(capsys, command, "--db", str(path))
    assert not path.exists()
    assert "no such file" in refused(capsys, command, "--db", str(tmp_path))


@pytest.mark.parametrize("command", ["status", "dead", "retry"])
def test_wrong_database_is_one_clear_line_and_left_alone(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, other, empty = tmp_path / "notes", tmp_path / "other.sqlite", tmp_path / "empty"
    text.write_text("These are notes, and no database.\n" * 100)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE conversions (name TEXT)")
    connection.close()
    empty.touch()
    before = [path.read_bytes() for path in (text, other, empty)]
    assert "not a usable database" in refused(capsys, command, "--db", str(text))
    for path in (other, empty):
        assert "not a database of edgeproof's" in refused(capsys, command, "--db", str(path))
    assert [path.read_bytes() for path in (text, other, empty)] == before


def test_newer_database_is_one_clear_line(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer version (schema 99" in refused(capsys, "status", "--db", str(database))


@pytest.mark.parametrize("version", [1, 2, 5])
def test_queue_of_an_older_database_is_told_and_its_file_left_as_it_is(
    version: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, to=1)
    connection.execute("INSERT INTO conversions VALUES ('c1', 'e1', 'u1', ?, 1.0, 0)", (T,))
    migrate(connection, path, to=version)
    connection.close()
    before = path.read_bytes()
    assert told_json(capsys, "status", "--db", str(path))["due"] == 1
    assert told_json(capsys, "dead", "--db", str(path)) == {"dead": []}
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["old.sqlite"]


@pytest.mark.parametrize("far_ms", [9_007_199_254_740_991, 2**62])
def test_timestamp_beyond_the_calendar_is_told_as_it_stands(
    database: Path, far_ms: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE conversion_queue SET enqueued_at_ms = ?", (far_ms,))
        connection.execute("UPDATE dead_letters SET died_at_ms = ?", (far_ms,))
    connection.close()
    said = told(capsys, "status", "--db", str(database))
    assert f"waits since {far_ms} ms after 1970" in said
    assert f"{far_ms} ms" in told(capsys, "dead", "--db", str(database), "--plain")


def test_file_that_another_program_keeps_locked_is_one_clear_line(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "retry", "--db", str(database), "--id", "d1")  # it has a write-ahead log now
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    line = refused(capsys, "retry", "--db", str(database))
    assert f"--db {database}: another program is writing to it" in line
    assert "try again when it has finished" in line
    assert told_json(capsys, "status", "--db", str(database))["dead"] == 1  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert told_json(capsys, "retry", "--db", str(database)) == {"queued": 1}


def test_file_that_is_locked_as_a_whole_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path)
    connection.execute("BEGIN EXCLUSIVE")
    for command in ("status", "retry"):
        line = refused(capsys, command, "--db", str(path))
        assert f"--db {path}: another program keeps it locked" in line
        assert "try again when it has finished" in line
    connection.close()
