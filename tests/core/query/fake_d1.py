"""A server that answers as the documentation of D1's REST endpoint says, over SQLite.

What it refuses, and how, is what D1 refused in workerd 1.20261117.1 with miniflare 4.20260730.0,
whose binding puts "D1_ERROR: " before the same messages. The rows that it counts as read are those
that it returns: SQLite does not tell how many D1 would have scanned.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from core.query.limits import limit
from core.query.migrations import migrate

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
TOKEN = "a-token-of-the-tests"
PRAGMAS = {
    "case_sensitive_like", "defer_foreign_keys", "foreign_key_check", "foreign_key_list",
    "foreign_keys", "function_list", "ignore_check_constraints", "index_info", "index_list",
    "index_xinfo", "legacy_alter_table", "optimize", "quick_check", "recursive_triggers",
    "reverse_unordered_selects", "table_info", "table_list", "table_xinfo",
}  # fmt: skip
_TRANSACTION = re.compile(r"\s*(BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b", re.IGNORECASE)
_FORBIDDEN = {
    sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_CREATE_TEMP_TABLE,
    sqlite3.SQLITE_CREATE_TEMP_VIEW, sqlite3.SQLITE_CREATE_TEMP_INDEX,
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
}  # fmt: skip
PATH = "/client/v4/accounts/{account_id}/d1/database/{database_id}/{format}"


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class FakeD1:
    """Databases by id, each with the current schema; serves on a port of its own."""

    def __init__(self) -> None:
        self.databases: dict[str, sqlite3.Connection] = {}
        self.requests: list[Any] = []
        self.planned: deque[Response | None] = deque()
        """What the next requests are answered with; None: as they should be."""
        self.port = 0

    def database(self, database_id: str) -> sqlite3.Connection:
        """Return a new database that is known as *database_id*."""
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        limit(connection)  # before: the schema has to load on D1, too
        migrate(connection, database_id)
        self.databases[database_id] = connection
        return connection

    @property
    def base_url(self) -> str:
        """The base of the API's addresses."""
        return f"http://127.0.0.1:{self.port}/client/v4"

    async def query(self, request: Request) -> Response:
        """Answer POST .../query and .../raw."""
        try:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(10000, "Authentication error", 401)
            body = await request.json()
            self.requests.append(body)
            if self.planned and (planned := self.planned.popleft()) is not None:
                return planned
            connection = self.databases.get(request.path_params["database_id"])
            if connection is None or request.path_params["account_id"] != ACCOUNT:
                raise Refused(7404, "The database could not be found", 404)
            return JSONResponse(
                {"errors": [], "messages": [], "success": True, "result": self._run(
                    connection, body, is_raw=request.path_params["format"] == "raw"
                )}
            )  # fmt: skip
        except Refused as refused:
            errors = [{"code": refused.code, "message": str(refused)}]
            return JSONResponse(
                {"errors": errors, "messages": [], "result": [], "success": False}, refused.status
            )

    def _run(
        self, connection: sqlite3.Connection, body: Any, *, is_raw: bool = False
    ) -> list[dict[str, Any]]:
        queries = body.get("batch", [body])
        for query in queries:
            if not isinstance(query.get("sql"), str):
                raise Refused(7400, "Invalid property: sql => Required")
            if not isinstance(query.get("params", []), list):
                raise Refused(7400, "Invalid property: params => Expected array")
        if not queries:
            raise Refused(7500, "No SQL statements detected.")
        connection.execute("BEGIN")
        connection.set_authorizer(_authorised)
        try:
            results = [self._one(connection, query, is_raw=is_raw) for query in queries]
        except (sqlite3.Error, Refused) as error:
            connection.set_authorizer(None)
            connection.execute("ROLLBACK")
            if isinstance(error, Refused):
                raise
            raise Refused(7500, _message(error)) from None
        connection.set_authorizer(None)
        connection.execute("COMMIT")
        return results

    def _one(self, connection: sqlite3.Connection, query: Any, *, is_raw: bool) -> dict[str, Any]:
        if _TRANSACTION.match(query["sql"]):
            raise Refused(
                7500,
                "To execute a transaction, please use the state.storage.transaction() or "
                "state.storage.transactionSync() APIs instead of the SQL BEGIN TRANSACTION or "
                "SAVEPOINT statements.",
            )
        params = query.get("params", [])
        before = connection.total_changes
        # JavaScript has one kind of number, and true is 1.
        numbers = [float(value) if isinstance(value, int) else value for value in params]
        cursor = connection.execute(query["sql"], numbers)
        names = [column[0] for column in cursor.description or ()]
        rows = [
            [int(value) if isinstance(value, float) and value.is_integer()
             else [*value] if isinstance(value, bytes) else value for value in row]
            for row in cursor.fetchall()
        ]  # fmt: skip
        results = (
            {"columns": names, "rows": rows} if is_raw
            else [dict(zip(names, row, strict=True)) for row in rows]
        )  # fmt: skip
        changes = connection.total_changes - before
        meta = {
            "changed_db": changes > 0, "changes": changes, "duration": 0.1, "last_row_id": 0,
            "rows_read": len(rows), "rows_written": changes, "served_by_primary": True,
            "size_after": 8192,
        }  # fmt: skip
        return {"results": results, "success": True, "meta": meta}


def _authorised(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Deny what D1's authorizer denies."""
    is_denied = (
        action in _FORBIDDEN
        or (action == sqlite3.SQLITE_PRAGMA and (first or "").lower() not in PRAGMAS)
        or (action == sqlite3.SQLITE_FUNCTION and second == "sqlite_version")
    )
    return sqlite3.SQLITE_DENY if is_denied else sqlite3.SQLITE_OK


def _message(error: sqlite3.Error) -> str:
    """Return what D1 says of *error*: SQLite's text, its code and the extended one."""
    extended = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    code = "_".join(extended.split("_")[:2])
    return f"{error}: {code}" + (f" (extended: {extended})" if extended != code else "")


def plain(status: int, text: str = "upstream connect error") -> Response:
    """Return what stands before the service answers when it cannot be reached."""
    return PlainTextResponse(text, status)


@contextmanager
def serving(fake: FakeD1) -> Iterator[None]:
    """Let *fake* answer as long as the context lasts."""
    app = Starlette(routes=[Route(PATH, fake.query, methods=["POST"])])
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            fake.port = self.servers[0].sockets[0].getsockname()[1]
            started.set()

    server = Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(30)
        yield
    finally:
        server.should_exit = True
        thread.join(30)
        for connection in fake.databases.values():
            connection.close()
