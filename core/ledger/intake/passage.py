"""How far an import of a file is: kept in the database, in the transactions of the rows."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.ledger.intake.events import Tally
from core.query.import_statements import NOTE_FILE

_HEAD_BYTES = 2**20


class Passage:
    """One file on its way into the database: where it stands, and what became of its rows."""

    def __init__(self, number: int, path: Path, asked: str, known: Sequence[Any] | None) -> None:
        self.number, self.path, self.asked = number, path, asked
        self.identity = _identity(path)
        self.rows, self.is_done, self.events, self.duplicates = 0, False, 0, 0
        self.tally, self.told = Tally(), ""
        self.times: dict[str, Any] = {}
        self.has_id = False
        if known is not None:
            self._restore(known)

    def _restore(self, known: Sequence[Any]) -> None:
        _, file, identity, asked, rows, state, is_done = known
        if (identity, asked) != (self.identity, self.asked):
            what = "another file" if identity != self.identity else "other options"
            raise InputError(
                f"{self.path}: the database holds an import of {file} with {what}; remove the "
                "database, or give another --db"
            )
        if self.identity == "pipe" and not is_done:
            raise InputError(
                f"{self.path}: a pipe cannot be resumed; remove the database and begin anew"
            )
        data = json.loads(state)
        self.rows, self.is_done = rows, bool(is_done)
        self.events, self.duplicates, self.told = data["events"], data["duplicates"], data["told"]
        self.times, self.has_id = data["times"], data["has_id"]
        self.tally = Tally(**data["tally"])

    def note(self, connection: sqlite3.Connection) -> None:
        """Write how far the import is, in the transaction of the rows themselves."""
        state = {
            "events": self.events, "duplicates": self.duplicates, "told": self.told,
            "times": self.times, "has_id": self.has_id, "tally": asdict(self.tally),
        }  # fmt: skip
        connection.execute(
            NOTE_FILE,
            (self.number, str(self.path), self.identity, self.asked, self.tally.rows,
             json.dumps(state), int(self.is_done)),
        )  # fmt: skip


class Transaction:
    """All or nothing, on a connection in autocommit mode."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _identity(path: Path) -> str:
    """Return what tells whether *path* is the file of before: its size and its beginning."""
    try:
        if path.exists() and not path.is_file():
            return "pipe"
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        return f"{path.stat().st_size} {hashlib.sha256(head).hexdigest()}"
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
