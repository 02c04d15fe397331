"""`edgeproof outbox`: what it tells, and what it mends."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from core.query.migrations import migrate
from edgeproof.main import main

T = 1_767_225_600_000  # 2026-01-01


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database with one due delivery, one that failed and is put off, two dead."""
    path = tmp_path / "cdp.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path)
    connection.execute(
        f"INSERT INTO outbox VALUES ('c1', '{{}}', 0, {T}, {T}, NULL, NULL),"
        f" ('c2', '{{}}', 2, {T + 1000}, {2 * T}, NULL, 'status 500')"
    )
    connection.execute(
        f"INSERT INTO undelivered VALUES ('d1', '{{\"a\": 1}}', 12, 'status 400', {T}),"
        f" ('d2', '{{}}', 12, 'no answer within 5 s', {T + 5000})"
    )
    connection.close()
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command that succeeds says."""
    assert main(["outbox", *arguments]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def told_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(told(capsys, *arguments, "--json"))


def test_status_counts_what_waits(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told_json(capsys, "status", "--db", str(database)) == {
        "due": 1, "leased": 0, "later": 1, "failed": 1, "dead": 2, "oldest_ms": T,
        "is_complete": True,
    }  # fmt: skip
    lines = told(capsys, "status", "--db", str(database), "--plain").splitlines()
    assert [line.split()[-1] for line in lines[1:6]] == ["1", "0", "1", "1", "2"]
    assert "waits since 2026-01-01 00:00:00+00:00" in lines[6]
    assert f"outbox dead --db {database}" in lines[7]


def test_dead_tells_the_reasons(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told_json(capsys, "dead", "--db", str(database))["dead"]
    assert [(d["conversion_id"], d["attempts"], d["reason"]) for d in found] == [
        ("d1", 12, "status 400"), ("d2", 12, "no answer within 5 s"),
    ]  # fmt: skip
    assert "2026-01-01 00:00:05+00:00" in told(capsys, "dead", "--db", str(database))


def test_retry_sends_the_same_document_again(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = told(capsys, "retry", "--db", str(database), "--id", "d1")
    assert one == "Queued 1 delivery again.\n"
    connection = sqlite3.connect(database)
    row = connection.execute(
        "SELECT document, attempts, leased_by FROM outbox WHERE conversion_id = 'd1'"
    ).fetchone()
    connection.close()
    assert row == ('{"a": 1}', 0, None)
    assert told_json(capsys, "status", "--db", str(database))["due"] == 2
    assert told_json(capsys, "retry", "--db", str(database)) == {"queued": 1}
    assert told(capsys, "retry", "--db", str(database)) == "Queued 0 deliveries again.\n"
    assert told(capsys, "dead", "--db", str(database)) == "No delivery was given up.\n"


def test_retry_of_what_is_not_dead_is_one_clear_line(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["outbox", "retry", "--db", str(database), "--id", "c1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--id c1: not among the 2 dead conversions" in line
    assert "edgeproof outbox dead lists them" in line


@pytest.mark.parametrize("command", ["status", "dead", "retry"])
def test_missing_file_is_one_clear_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing.sqlite"
    assert main(["outbox", command, "--db", str(path)]) == 2
    assert f"--db {path}: no such file" in capsys.readouterr().err
    assert not path.exists()
