"""L3 on the platform: a D1 database behind its REST endpoint.

POST {base}/accounts/{account}/d1/database/{database}/query takes {"sql", "params"} or {"batch":
[{"sql", "params"}, ...]}, which is one transaction, and answers {"success", "errors": [{"code",
"message"}], "result": [{"results": [{column: value}], "success", "meta": {"changes", "duration",
"rows_read", "rows_written"}}]}. Writes use it. Reads use .../raw, whose "results" are {"columns":
[name], "rows": [[value]]}: an object holds one of several columns of one name. The reference calls
params strings; they are sent as JSON's own strings, numbers and null, as a Worker's `bind` takes
them. The database binds every number as a float; `core/query/parameters.py` keeps integers. Bytes
are sent as texts; those that it answers are arrays of numbers.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx

from core.errors import InputError, Overloaded, Refused, StoreError, StoreTimeout
from core.query.database import MAX_WAITING, Command, Row, Usage
from core.query.json_rows import json_rows
from core.query.limits import (
    MAX_PARAMETERS,
    MAX_RESULT_BYTES,
    MAX_STATEMENT_BYTES,
    MAX_VALUE_BYTES,
)
from core.query.parameters import Kind, with_kinds
from core.query.statement import Statement
from core.texts import one_line, parse_json, reason_of

TOKEN_VARIABLE = "EDGEPROOF_D1_TOKEN"  # the name of the variable, not a token
BASE_URL = "https://api.cloudflare.com/client/v4"
CONNECTIONS = 6
_MOST_ERRORS = 3  # errors shown of one answer, and depth of causes
_NO_REASON = "the statement did not succeed, and the answer gives no reason"
_LARGEST_INTEGER = 2**53  # JavaScript's limit: the platform runs in JavaScript
_TOKEN = re.compile(r"[!-~]+")  # characters that a header can carry
_SECONDS = re.compile(r"[0-9]{1,9}")
_ID = re.compile(r"[A-Za-z0-9_-]+")
_AUTHENTICATION = frozenset(
    {1000, 6003, 7403, 9103, 9106, 9107, 9109, 10000, 10001, *range(6100, 6120)}
)
"""Codes of errors about the token, in an error or in the causes of its `error_chain`.

6003 comes with the status 400; only its chain holds the reason: 6111, "Invalid format for
Authorization header".
"""
_PASSES = (  # documented errors that advise another attempt, whatever the status
    "reset because its code was updated",
    "Internal error while starting up D1 DB storage",
    "Internal error in D1 DB storage",
    "Network connection lost",
    "transient issue on remote node",
    "client disconnected",
)


class _Passing(StoreError):
    """A failure that another attempt may not meet, *after* seconds at the earliest."""

    after = 0.0


class _TooMany(Overloaded, _Passing):
    """The platform asks for fewer requests."""


class D1Database:
    """A D1 database over HTTP; an operation is one request.

    timeout: seconds from the call to its result, attempts and pauses included.
    attempts: of a read that meets a lost connection, the status 429 or 5xx, or an error that is
    documented to pass. The pauses are *retry_delay* seconds, twice that, and so on, each times
    *uniform*(), and at least Retry-After. A pause beyond the time limit ends the attempts. A write
    is tried once, because a failed write may have taken effect.
    max_waiting: calls in flight; further calls get Overloaded. Calls overlap on up to *connections*
    connections and may reach the database in another order. Raise InputError for a token that a
    header cannot carry, and for ids or a base URL that do not form an address.
    """

    def __init__(
        self,
        account_id: str,
        database_id: str,
        token: str,
        *,
        base_url: str = BASE_URL,
        timeout: float = 30.0,
        attempts: int = 3,
        retry_delay: float = 0.1,
        connections: int = CONNECTIONS,
        max_waiting: int = MAX_WAITING,
        uniform: Callable[[], float] = lambda: 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not _TOKEN.fullmatch(token):  # checked here: the client's message would show it
            raise InputError(
                "the API token is empty, or holds a space, a line break or a letter beyond ASCII; "
                f"give {TOKEN_VARIABLE} the token alone"
            )
        for name, value in (("account", account_id), ("database", database_id)):
            if not _ID.fullmatch(value):
                raise InputError(
                    f"the {name} id is {value[:60]!r}; give it as the platform shows it, of "
                    "letters, digits, - and _"
                )
        try:
            url = httpx.URL(base_url)
            is_address = url.scheme in ("http", "https") and url.host != ""
        except httpx.InvalidURL:
            is_address = False
        if not is_address:
            raise InputError(f"the base URL is {base_url[:60]!r}; give one such as {BASE_URL}")
        self._url = f"{base_url}/accounts/{account_id}/d1/database/{database_id}"
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"},
            timeout=None,  # the whole call has one limit
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )
        self._timeout = timeout
        self._attempts = attempts
        self._retry_delay = retry_delay
        self._room = connections + max_waiting
        self._uniform = uniform
        self._sleep = sleep
        self._in_flight = 0
        self._is_closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.on_usage: Usage | None = None

    @classmethod
    def from_environment(cls, account_id: str, database_id: str, **options: Any) -> D1Database:
        """Return the database with the token in EDGEPROOF_D1_TOKEN; InputError if it is not set."""
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise InputError(
                f"{TOKEN_VARIABLE} is not set; give it an API token with the permission D1 Edit"
            )
        return cls(account_id, database_id, token, **options)

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        """Return the rows of *statement*."""
        what = f"query {statement.name}"
        query = _query(what, statement, parameters)
        attempts = 1 if statement.writes else self._attempts
        ((_, rows),) = await self._call(what, "raw", query, [statement], attempts)
        return rows

    async def write(self, *commands: Command) -> list[int]:
        """Run *commands* in one transaction, all or none; return the rows that each changed.

        Rows that a statement can take together are one statement, more only above 2 MB.
        """
        what = f"write {', '.join(statement.name for statement, _ in commands)}"
        of_commands = [_queries(what, statement, rows) for statement, rows in commands]
        queries = [query for found in of_commands for query in found]
        if not queries:
            return [0 for _ in commands]
        statements = [
            statement
            for (statement, _), found in zip(commands, of_commands, strict=True)
            for _ in found
        ]
        body = queries[0] if len(queries) == 1 else {"batch": queries}
        results = iter(await self._call(what, "query", body, statements, attempts=1))
        return [sum(next(results)[0] for _ in found) for found in of_commands]

    async def close(self) -> None:
        """Finish the running calls and close the connections."""
        self._is_closed = True
        await self._idle.wait()
        await self._client.aclose()

    async def _call(
        self,
        what: str,
        endpoint: str,
        body: dict[str, Any],
        statements: Sequence[Statement],
        attempts: int,
    ) -> list[tuple[int, list[Row]]]:
        if self._is_closed:
            raise StoreError(f"{what} failed: the database is closed")
        if self._in_flight >= self._room:
            raise Overloaded(
                f"{what}: the database is overloaded, {self._in_flight} queries are under way; "
                "try again later, or send fewer queries"
            )
        self._in_flight += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(self._timeout) as limit:
                results = await self._persist(what, endpoint, body, attempts, limit)
        except TimeoutError:
            raise StoreTimeout(f"{what} did not end within {self._timeout:g} s") from None
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        return self._accounted(what, results, statements)

    @property
    def _token(self) -> str:
        return self._client.headers["Authorization"].removeprefix("Bearer ")

    async def _persist(
        self, what: str, endpoint: str, body: dict[str, Any], attempts: int, limit: asyncio.Timeout
    ) -> Any:
        for attempt in range(attempts):
            try:
                return await self._send(what, endpoint, body)
            except _Passing as error:
                ends = limit.when()
                is_late = ends is None or asyncio.get_running_loop().time() + error.after >= ends
                if attempt + 1 == attempts or is_late:
                    raise
                pause = max(error.after, self._retry_delay * 2**attempt * self._uniform())
            await self._sleep(pause)
        raise AssertionError("a call is attempted at least once")

    async def _send(self, what: str, endpoint: str, body: dict[str, Any]) -> Any:
        content = bytearray()
        url = f"{self._url}/{endpoint}"
        try:
            async with self._client.stream("POST", url, json=body) as answer:
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_RESULT_BYTES:
                        raise StoreError(
                            f"{what} failed: the answer is larger than {MAX_RESULT_BYTES:,} bytes, "
                            "D1's largest result; ask for fewer rows"
                        )
        except httpx.HTTPError as error:  # no connection, or an answer that cannot be read
            raise _Passing(f"{what} failed: {reason_of(error)}") from error
        try:
            data = parse_json(content)
        except ValueError:
            data = None
        if answer.is_success and isinstance(data, dict) and data.get("success") is True:
            return data.get("result")
        reason, codes = _reason(answer.status_code, data, self._token)
        if _is_rule(reason):  # first: another attempt would fail again, whatever the status
            raise Refused(f"{what} failed: {reason}")
        if answer.status_code == 429 or "overloaded" in reason.lower():
            raise _too_many(what, reason, answer.headers.get("Retry-After", ""))
        if answer.status_code in (401, 403) or codes & _AUTHENTICATION:
            raise StoreError(
                f"{what} failed: {reason}; check {TOKEN_VARIABLE}: it needs a valid API token with "
                "the permission D1 Edit on the account of this database"
            )
        is_passing = answer.status_code >= 500 and "SQLITE_ERROR" not in reason
        if is_passing or any(error in reason for error in _PASSES):
            raise _Passing(f"{what} failed: {reason}")
        raise StoreError(f"{what} failed: {reason}")

    def _accounted(
        self, what: str, results: Any, statements: Sequence[Statement]
    ) -> list[tuple[int, list[Row]]]:
        """Return (rows changed, rows) of each statement; StoreError if the answer lacks one."""
        try:
            found = [_understood(what, result, self._token) for result in results]
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
            raise StoreError(f"{what}: the answer does not have D1's documented form") from None
        if len(found) != len(statements):
            raise StoreError(f"{what}: {len(statements)} statements, {len(found)} results")
        if self.on_usage is not None:
            for statement, (_, _, rows_read, rows_written) in zip(statements, found, strict=True):
                self.on_usage(statement, rows_read, rows_written)
        return [(changes, rows) for changes, rows, _, _ in found]


def _too_many(what: str, reason: str, retry_after: str) -> _TooMany:
    """Return the error to raise; *retry_after*: the header field, which may be a date."""
    after = int(retry_after) if _SECONDS.fullmatch(retry_after) else 0
    when = f" after {after:,} s" if after else ""
    error = _TooMany(
        f"{what} failed: the database is overloaded ({reason}); send fewer queries{when}"
    )
    error.after = after
    return error


def _understood(what: str, result: Any, token: str) -> tuple[int, list[Row], int, int]:
    """Return (rows changed, rows, rows read, rows written) of one statement."""
    if result["success"] is not True:  # even if the call as a whole succeeded
        reason = _text(result.get("error") or _NO_REASON, token)
        raise (Refused if _is_rule(reason) else StoreError)(f"{what} failed: {reason}")
    meta, results = result["meta"], result["results"]
    rows = results["rows"] if isinstance(results, dict) else ()  # those of /query are not used
    return (
        int(meta.get("changes", 0)),
        [tuple([bytes(cell) if type(cell) is list else cell for cell in row]) for row in rows],
        int(meta.get("rows_read", 0)),
        int(meta.get("rows_written", 0)),
    )


def _queries(
    what: str, statement: Statement, rows: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    """Return the queries that run *statement* for each of *rows*."""
    if len(rows) == 1 or not statement.together:
        return [_query(what, statement, row) for row in rows]
    _check_size(what, statement.name, statement.together)
    return [{"sql": statement.together, "params": [text]} for text in json_rows(what, rows)]


def _check_size(what: str, name: str, sql: str) -> None:
    size = len(_encoded(what, sql))
    if size > MAX_STATEMENT_BYTES:
        raise StoreError(
            f"{what}: {name} has {size:,} bytes of SQL, D1 takes {MAX_STATEMENT_BYTES:,}"
        )


def _query(what: str, statement: Statement, parameters: Sequence[Any]) -> dict[str, Any]:
    if len(parameters) > MAX_PARAMETERS:
        raise StoreError(
            f"{what}: {statement.name} binds {len(parameters)} parameters, D1 takes "
            f"{MAX_PARAMETERS}; send fewer rows or a JSON array"
        )
    sql = with_kinds(statement.sql, tuple(map(_kind, parameters)))
    _check_size(what, statement.name, sql)
    return {"sql": sql, "params": [_parameter(what, value) for value in parameters]}


def _kind(value: object) -> Kind:
    return "integer" if isinstance(value, int) else "blob" if isinstance(value, bytes) else ""


def _parameter(what: str, value: object) -> str | int | float | None:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise Refused(
                f"{what}: {len(value)} bytes that are not UTF-8 cannot be sent to D1"
            ) from None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise Refused(f"{what}: D1 does not keep the number {value} exactly; send a text")
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused(f"{what}: {value} cannot be sent to D1")
    if isinstance(value, str):
        size = len(_encoded(what, value))
        if size > MAX_VALUE_BYTES:
            raise Refused(f"{what}: a text of {size:,} bytes, D1 takes {MAX_VALUE_BYTES:,}")
        return value
    if value is None or isinstance(value, int | float):
        return value
    raise Refused(f"{what}: a {type(value).__name__} cannot be sent to D1")


def _encoded(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused(f"{what}: {text[:60]!r} cannot be encoded as UTF-8") from None


def _is_rule(reason: str) -> bool:
    return "SQLITE_CONSTRAINT" in reason or "constraint failed" in reason


def _reason(status: int, data: Any, token: str) -> tuple[str, frozenset[int]]:
    """Return the platform's errors with their causes as one text, and all codes."""
    errors = data.get("errors") if isinstance(data, dict) else None
    if not isinstance(errors, list) or not errors:
        return f"status {status}", frozenset()
    codes: set[int] = set()
    said = "; ".join(_said(error, codes, token) for error in errors[:_MOST_ERRORS])
    if len(errors) > _MOST_ERRORS:
        said += f"; and {len(errors) - _MOST_ERRORS} more"
    return said, frozenset(codes)


def _said(error: Any, codes: set[int], token: str, depth: int = 0) -> str:
    if not isinstance(error, dict):
        return _text(error, token)
    code, chain = error.get("code"), error.get("error_chain")
    if isinstance(code, int):
        codes.add(code)
    said = f"{_text(error.get('message'), token)} (code {_text(code, token)})"
    if isinstance(chain, list) and depth < _MOST_ERRORS:
        causes = (_said(cause, codes, token, depth + 1) for cause in chain[:2])
        said = ": ".join((said, *causes))
    return said


def _text(value: Any, token: str) -> str:
    """Return a plain value as one line; nested values are not written out.

    The token is masked, so a server that repeats the request does not write it to a log.
    """
    is_plain = value is None or isinstance(value, str | int)
    return one_line(str(value).replace(token, "(token)")) if is_plain else "(no text)"
