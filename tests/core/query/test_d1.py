"""Claims about the D1 client: what it sends, what it tries again, and what it says of failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from core.clock import ManualClock
from core.errors import InputError, Overloaded, Refused, StoreError, StoreTimeout
from core.query import statements
from core.query.d1 import TOKEN_VARIABLE, D1Database
from core.query.database import SqliteDatabase
from core.query.executor import QueryExecutor
from core.query.parameters import with_kinds
from core.query.statement import Statement
from tests.core.query.fake_d1 import ACCOUNT, TOKEN, FakeD1, plain, serving
from tests.core.query.fake_d1 import Refused as D1Refused
from tests.core.query.known_statements import STATEMENTS

ALL = [*STATEMENTS.values()]
OF_FILES = ("own_events", "own_conversions")
"""Temporary views, which D1 refuses: `attribute --db` makes them over a file."""

Scene = Callable[[D1Database], Awaitable[None]]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeD1]:
    """Return a server for all tests."""
    fake = FakeD1()
    with serving(fake):
        yield fake


class Bench:
    """One new database on a server, and the pauses that its client made."""

    def __init__(self, server: FakeD1) -> None:
        self.server = server
        self.connection = server.database("d")
        server.requests.clear()
        server.planned.clear()
        self.pauses: list[float] = []

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def run(self, scene: Scene, *, token: str = TOKEN, **options: Any) -> None:
        """Run *scene* on a client of the database."""

        async def main() -> None:
            options.setdefault("base_url", self.server.base_url)
            database = D1Database(ACCOUNT, "d", token, sleep=self._pause, **options)
            try:
                await scene(database)
            finally:
                await database.close()

        asyncio.run(main())


@pytest.fixture
def bench(server: FakeD1) -> Bench:
    """Return a database of its own."""
    return Bench(server)


SITE = ("s1", 1, 100)


def test_batch_is_one_request_of_the_documented_shape(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        await database.write(
            (statements.INSERT_SITE, [SITE, ("s2", 0, 5)]),
            (statements.INSERT_USER, [("u", "a", "")]),
        )
        assert await database.read(statements.SITE, ("s2",)) == [(0, 5)]

    bench.run(scene)
    insert = statements.INSERT_SITE.sql.replace("?, ?, ?", "?, (?|0), (?|0)")
    assert bench.server.requests == [
        {
            "batch": [
                {"sql": insert, "params": ["s1", 1, 100]},
                {"sql": insert, "params": ["s2", 0, 5]},
                {"sql": statements.INSERT_USER.sql, "params": ["u", "a", ""]},
            ]
        },
        {"sql": statements.SITE.sql, "params": ["s2"]},
    ]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_read_is_tried_again_with_growing_pauses(bench: Bench, status: int) -> None:
    bench.server.planned.extend([plain(status), plain(status)])

    async def scene(database: D1Database) -> None:
        assert await database.read(statements.SITE, ("s1",)) == []

    bench.run(scene, retry_delay=0.5, uniform=lambda: 0.8)
    assert bench.pauses == pytest.approx([0.4, 0.8])
    assert len(bench.server.requests) == 3


def test_read_is_given_up_after_its_attempts(bench: Bench) -> None:
    bench.server.planned.extend([plain(503)] * 9)

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError, match="query site failed: status 503"):
            await database.read(statements.SITE, ("s1",))

    bench.run(scene, attempts=4)
    assert len(bench.server.requests) == 4


@pytest.mark.parametrize("status", [429, 503])
def test_write_is_never_tried_again(bench: Bench, status: int) -> None:
    lease = Statement("insert", "INSERT INTO sites VALUES (?, ?, ?) RETURNING site_id")
    bench.server.planned.extend([plain(status), plain(status)])

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError):
            await database.write((statements.INSERT_SITE, [SITE]))
        with pytest.raises(StoreError):
            await database.read(lease, SITE)  # returns rows, and writes all the same

    bench.run(scene)
    assert (len(bench.server.requests), bench.pauses) == (2, [])


@pytest.mark.parametrize(
    ("base_url", "reason"),
    [
        ("http://127.0.0.1:1/client/v4", "connection refused"),
        ("http://localhost:1/client/v4", "connection refused"),
        ("http://no-such-host.invalid/client/v4", "(name or service not known|name resolution)"),
    ],
)
def test_lost_connection_is_tried_again_and_its_cause_is_named(
    bench: Bench, base_url: str, reason: str
) -> None:
    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError, match=f"query site failed: .*{reason}$"):
            await database.read(statements.SITE, ("s1",))

    bench.run(scene, base_url=base_url)
    assert len(bench.pauses) == 2


def test_cause_is_that_of_the_connection_whatever_failed_before_the_call(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        try:
            raise PermissionError(13, "of the cache in front, not of the database")
        except PermissionError:
            with pytest.raises(StoreError, match=r"query site failed: connection refused$"):
                await database.read(statements.SITE, ("s1",))

    bench.run(scene, base_url="http://127.0.0.1:1/client/v4", attempts=1)


def test_error_of_the_database_is_not_tried_again(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError) as caught:
            await database.read(Statement("odd", "SELECT absent FROM sites"), ())
        assert "query odd failed: no such column: absent" in str(caught.value)
        assert "code 7500" in str(caught.value)

    bench.run(scene)
    assert len(bench.server.requests) == 1


def failing(status: int, message: str) -> Response:
    """Return the endpoint's answer to a call that failed."""
    errors = [{"code": 7500, "message": message}]
    return JSONResponse({"success": False, "result": [], "messages": [], "errors": errors}, status)


@pytest.mark.parametrize("status", [400, 500, 503])
def test_broken_rule_is_a_refusal_whatever_the_status_and_not_tried_again(
    bench: Bench, status: int
) -> None:
    rule = "UNIQUE constraint failed: sites.site_id: SQLITE_CONSTRAINT"
    lease = Statement("odd", "SELECT 1")
    bench.server.planned.extend([failing(status, rule), failing(status, rule)])

    async def scene(database: D1Database) -> None:
        with pytest.raises(Refused, match="write insert_site failed: UNIQUE"):
            await database.write((statements.INSERT_SITE, [SITE]))
        with pytest.raises(Refused, match="query odd failed: UNIQUE"):
            await database.read(lease, ())

    bench.run(scene)
    assert len(bench.server.requests) == 2


@pytest.mark.parametrize(
    "message",
    [
        "D1 DB reset because its code was updated.",
        "Internal error while starting up D1 DB storage caused object to be reset.",
        "Internal error in D1 DB storage caused object to be reset.",
        "Network connection lost.",
        "Cannot resolve D1 DB due to transient issue on remote node.",
        "Can't read from request stream because client disconnected.",
    ],
)
def test_error_that_is_documented_to_pass_is_tried_again_whatever_the_status(
    bench: Bench, message: str
) -> None:
    bench.server.planned.append(failing(400, message))

    async def scene(database: D1Database) -> None:
        assert await database.read(statements.SITE, ("s1",)) == []

    bench.run(scene)
    assert len(bench.server.requests) == 2


def test_fault_of_the_sql_is_not_tried_again_whatever_the_status(bench: Bench) -> None:
    bench.server.planned.append(failing(500, "no such table: x: SQLITE_ERROR"))

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError, match="no such table"):
            await database.read(statements.SITE, ("s1",))

    bench.run(scene)
    assert len(bench.server.requests) == 1


def limited(retry_after: str) -> Response:
    """Return what the platform answers beyond its rate limit."""
    return PlainTextResponse("slow down", 429, {"Retry-After": retry_after})


def test_retry_after_is_waited_for(bench: Bench) -> None:
    bench.server.planned.extend([limited("7"), limited("Wed, 21 Oct 2026 07:28:00 GMT")])

    async def scene(database: D1Database) -> None:
        assert await database.read(statements.SITE, ("s1",)) == []

    bench.run(scene, retry_delay=0.5)
    assert bench.pauses == [7.0, 1.0]  # a date is no number of seconds: as without


def test_wait_beyond_the_time_limit_is_not_begun(bench: Bench) -> None:
    bench.server.planned.append(limited("300"))

    async def scene(database: D1Database) -> None:
        with pytest.raises(Overloaded, match="send fewer queries after 300 s"):
            await database.read(statements.SITE, ("s1",))

    bench.run(scene, timeout=30.0)
    assert (bench.pauses, len(bench.server.requests)) == ([], 1)


def test_answer_beyond_the_largest_result_is_not_read_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.query.d1.MAX_RESULT_BYTES", 10_000)
    bench.server.planned.extend([plain(200, " " * 9_000 + "{}"), plain(200, " " * 500_000)])

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError, match="status 200"):
            await database.read(statements.SITE, ("s1",))
        with pytest.raises(StoreError, match=r"larger than 10,000 bytes, D1's .*ask for fewer"):
            await database.read(statements.SITE, ("s1",))

    bench.run(scene)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("account_id", "a/../b"), ("account_id", ""), ("database_id", "d\n"),
        ("database_id", "d?x"), ("base_url", "api.example"), ("base_url", "https://[::1"),
        ("base_url", "ftp://api.example"),
    ],
)  # fmt: skip
def test_what_makes_no_address_is_refused_by_its_value(place: str, value: str) -> None:
    given: dict[str, Any] = {"account_id": ACCOUNT, "database_id": "d", "token": TOKEN}
    with pytest.raises(InputError) as caught:
        D1Database(**given | {place: value})
    assert repr(value) in str(caught.value)


def statement_failing(**more: str) -> Response:
    """Return an answer that succeeded, but for its statement."""
    one = {"results": [], "success": False, "meta": {"changes": 0}, **more}
    return JSONResponse({"success": True, "result": [one], "messages": [], "errors": []})


def test_statement_that_failed_within_a_call_that_did_not_is_a_store_error(bench: Bench) -> None:
    rule = "NOT NULL constraint failed: sites.enabled"
    bench.server.planned.extend(
        [statement_failing(), statement_failing(), statement_failing(error=rule)]
    )

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError, match="query site failed: the statement did not succeed"):
            await database.read(statements.SITE, ("s1",))
        with pytest.raises(StoreError, match="write insert_site failed"):
            await database.write((statements.INSERT_SITE, [SITE]))
        with pytest.raises(Refused, match="NOT NULL"):
            await database.write((statements.INSERT_SITE, [SITE]))

    bench.run(scene)


def test_answer_that_cannot_be_decoded_is_tried_again_and_is_a_store_error(bench: Bench) -> None:
    broken = Response(b"\x1f\x8b not gzip", headers={"Content-Encoding": "gzip"})
    bench.server.planned.extend([broken, None, broken])

    async def scene(database: D1Database) -> None:
        assert await database.read(statements.SITE, ("s1",)) == []
        with pytest.raises(StoreError, match="write insert_site failed"):
            await database.write((statements.INSERT_SITE, [SITE]))

    bench.run(scene)
    assert (len(bench.server.requests), len(bench.pauses)) == (3, 1)


def test_overload_is_told_as_such(bench: Bench) -> None:
    overloaded = failing(400, "D1 DB is overloaded. Requests queued for too long.")
    bench.server.planned.extend([overloaded, plain(429)])

    async def scene(database: D1Database) -> None:
        for _ in range(2):
            with pytest.raises(Overloaded, match="overloaded"):
                await database.read(statements.SITE, ("s1",))

    bench.run(scene, attempts=1)


def refused_token(status: int, *errors: dict[str, Any]) -> Response:
    """Return the endpoint's answer to a call that it does not allow."""
    body = {"success": False, "result": None, "messages": [], "errors": [*errors]}
    return JSONResponse(body, status)


HEADERS = {
    "code": 6003, "message": "Invalid request headers",
    "error_chain": [{"code": 6111, "message": "Invalid format for Authorization header"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refused_token(400, HEADERS), "headers (code 6003): Invalid format for Authorization"),
        (refused_token(403, {"code": 9109, "message": "Invalid access token"}), "9109"),
        (refused_token(400, {"code": 10000, "message": "Authentication error"}), "10000"),
        (refused_token(401, {"code": 10001, "message": "Unable to authenticate"}), "10001"),
        (refused_token(400, {"code": 9106, "message": "Missing headers"}), "code 9106"),
        (refused_token(404, {"code": 7403, "message": "The given account is not valid"}), "7403"),
        (refused_token(500, {"code": 10000, "message": "Authentication error"}), "10000"),
        (plain(401, "<html>"), "status 401"),
        (plain(403, "<html>"), "status 403"),
    ],
)
def test_every_error_of_authentication_names_the_variable_and_is_not_tried_again(
    bench: Bench, answer: Response, said: str
) -> None:
    bench.server.planned.append(answer)

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError) as caught:
            await database.read(statements.SITE, ("s1",))
        assert said in str(caught.value)
        assert f"check {TOKEN_VARIABLE}: it needs a valid API token" in str(caught.value)

    bench.run(scene)
    assert len(bench.server.requests) == 1


def test_other_errors_do_not_blame_the_token(bench: Bench) -> None:
    bench.server.planned.append(failing(400, "incomplete input: SQLITE_ERROR"))

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError) as caught:
            await database.read(statements.SITE, ("s1",))
        assert TOKEN_VARIABLE not in str(caught.value)

    bench.run(scene)


def test_error_is_one_short_line_without_the_token_whatever_the_server_says(bench: Bench) -> None:
    long = f"sent {TOKEN}\nand \x1b[2J then {'on ' * 500}"
    chain: dict[str, Any] = {"code": 1, "message": long}
    for _ in range(20):
        chain = {"code": 1, "message": long, "error_chain": [chain, HEADERS]}
    bench.server.planned.append(refused_token(400, *[chain] * 5))

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError) as caught:
            await database.read(statements.SITE, ("s1",))
        message = str(caught.value)
        assert message.isprintable()
        assert TOKEN not in message
        assert "sent (token) and" in message
        assert len(message) < 20_000

    bench.run(scene)


def test_wrong_token_is_told_without_the_token(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError) as caught:
            await database.read(statements.SITE, ("s1",))
        assert TOKEN_VARIABLE in str(caught.value)
        assert "a-wrong-one" not in str(caught.value) + repr(vars(database))

    bench.run(scene, token="a-wrong-one")


@pytest.mark.parametrize("token", ["", "se\ncret", "se cret", "sécret", "se\0cret", "se\ud800cret"])
def test_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InputError, match=TOKEN_VARIABLE) as caught:
        D1Database(ACCOUNT, "d", token)
    assert "cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "  ")
    with pytest.raises(InputError, match=f"{TOKEN_VARIABLE} is not set"):
        D1Database.from_environment(ACCOUNT, "d")


def test_time_limit_covers_attempts_and_pauses(server: FakeD1) -> None:
    async def main() -> None:
        has_left = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()  # until the client has left
            writer.close()
            has_left.set()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        database = D1Database(
            ACCOUNT, "d", TOKEN, base_url=f"http://127.0.0.1:{port}", timeout=0.05
        )
        with pytest.raises(StoreTimeout, match=r"query site did not end within 0\.05 s"):
            await database.read(statements.SITE, ("s1",))
        await database.close()
        await has_left.wait()
        silent.close()

    asyncio.run(main())


def test_more_calls_than_wait_are_refused(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        calls = [asyncio.ensure_future(database.read(statements.SITE, ("s",))) for _ in range(8)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in done if isinstance(result, Overloaded)]
        assert len(refused) == 3
        assert "5 queries are under way" in str(refused[0])
        assert done[:5] == [[]] * 5

    bench.run(scene, connections=2, max_waiting=3)


TOO_MUCH = [
    (Statement("wide", "SELECT 1"), [0] * 101, "binds 101 parameters, D1 takes 100"),
    (Statement("long", "SELECT '" + "é" * 50_000 + "'"), [], "100,009 bytes of SQL"),
    (Statement("large", "SELECT ?"), [2**53 + 1], "does not keep the number 9007199"),
    (Statement("endless", "SELECT ?"), [float("inf")], "inf cannot be sent"),
    (Statement("blob", "SELECT ?"), [b"\xff"], "1 bytes that are not UTF-8 cannot be sent"),
    (Statement("list", "SELECT ?"), [[1]], "a list cannot be sent"),
    (
        Statement("text", "SELECT ?"),
        ["é" * 1_000_001],
        "text of 2,000,002 bytes, D1 takes 2,000,000",
    ),
]


@pytest.mark.parametrize(("statement", "parameters", "message"), TOO_MUCH)
def test_what_d1_cannot_take_is_refused_unsent(
    bench: Bench, statement: Statement, parameters: list[Any], message: str
) -> None:
    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError, match=message):
            await database.read(statement, parameters)

    bench.run(scene)
    assert bench.server.requests == []


ODD: list[Response] = [
    plain(200, "<html>"),
    JSONResponse({"success": True, "result": None}),
    JSONResponse({"success": True, "result": [{"results": [{}], "success": True}]}),
    JSONResponse({"success": True, "result": []}),
    plain(200, "[" * 100_000),
    plain(
        200,
        '{"success": true, "result": [{"success": true, "results": [], '
        '"meta": {"changes": 1e999}}]}',
    ),
    JSONResponse({"success": False, "errors": ["odd"]}),
    JSONResponse([]),
]


@pytest.mark.parametrize("answer", ODD)
def test_answer_that_is_not_as_documented_is_a_store_error(bench: Bench, answer: Response) -> None:
    bench.server.planned.append(answer)

    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError, match="site"):
            await database.read(statements.SITE, ("s1",))

    bench.run(scene)


def test_rows_that_the_platform_counts_reach_the_statistics(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        executor = QueryExecutor(database, ManualClock())
        await executor.write((statements.INSERT_SITE, [SITE, ("s2", 1, 1)]))
        meta = {"changes": 0, "rows_read": 40, "rows_written": 0}
        answer = {"success": True, "result": [{"results": [], "success": True, "meta": meta}]}
        bench.server.planned.append(JSONResponse(answer))
        await executor.read(statements.SITE, ("s3",))
        found = executor.statistics()
        assert found["insert_site"]["rows_written"] == 2
        assert found["site"]["rows_read"] == 40

    bench.run(scene)


def test_columns_of_one_name_keep_their_values(bench: Bench) -> None:
    twice = Statement("twice", "SELECT 1 AS a, 2 AS a, '1' AS \"2\", x'00ff' AS \"1\"")

    async def scene(database: D1Database) -> None:
        assert await database.read(twice, ()) == [(1, 2, "1", b"\x00\xff")]

    bench.run(scene)


def test_every_statement_is_taken_by_a_database_with_the_platforms_limits(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        assert {*OF_FILES} < {statement.name for statement in ALL}
        for statement in ALL:
            if statement.name in OF_FILES:
                continue
            explain = Statement(statement.name, f"EXPLAIN {statement.sql}")
            assert await database.read(explain, [None] * statement.sql.count("?"))
        executor = QueryExecutor(database, ManualClock())
        columns = ("conversion_id", "document", "enqueued_at_ms", "available_at_ms")
        rows = [(f"c{number}", "{}", 0, 0) for number in range(60)]
        assert await executor.insert_many("outbox", columns, rows) == 60

    bench.run(scene)


NUMBERS = Statement("numbers", "SELECT typeof(?1), ?1 / 2, CAST(?1 AS TEXT), ?1 = 5")


@pytest.mark.parametrize(
    ("number", "row"),
    [
        (5, ("integer", 2, "5", 1)),
        (True, ("integer", 0, "1", 0)),
        (2**53, ("integer", 2**52, "9007199254740992", 0)),
        (-7, ("integer", -3, "-7", 0)),
        (5.0, ("real", 2.5, "5.0", 1)),
        (None, ("null", None, None, None)),
        (b"6", ("blob", 3, "6", 0)),
    ],
)
def test_parameters_are_bound_as_sqlite_binds_them(
    bench: Bench, number: float | bytes | None, row: tuple[Any, ...]
) -> None:
    async def scene(database: D1Database) -> None:
        assert await database.read(NUMBERS, [number]) == [row]

    bench.run(scene)
    database = SqliteDatabase(None, inline=True)
    assert database.connection.execute(NUMBERS.sql, [number]).fetchall() == [row]
    asyncio.run(database.close())


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("SELECT ?, ?", "SELECT (?|0), ?"),
        ("SELECT ?2, ?1, ?", "SELECT ?2, (?1|0), CAST(? AS BLOB)"),
        ("SELECT '?', ?", "SELECT '?', (?|0)"),
        ("SELECT 'it''s ?' AS \"a?\", ?", "SELECT 'it''s ?' AS \"a?\", (?|0)"),
        ("SELECT [?], `?`, ?", "SELECT [?], `?`, (?|0)"),
        ("SELECT -- ?\n ?", "SELECT -- ?\n (?|0)"),
        ("SELECT /* ? */ ? /* ?", "SELECT /* ? */ (?|0) /* ?"),
        ("SELECT ?2, ?", "SELECT ?2, CAST(? AS BLOB)"),
    ],
)
def test_only_parameters_of_a_kind_are_written_otherwise(sql: str, sent: str) -> None:
    assert with_kinds(sql, ("integer", "", "blob")) == sent


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("BEGIN", r"To execute a transaction, please use"),
        (" savepoint here", r"To execute a transaction, please use"),
        ("PRAGMA user_version", r"not authorized: SQLITE_AUTH"),
        ("PRAGMA journal_mode = WAL", r"not authorized: SQLITE_AUTH"),
        ("PRAGMA query_only = ON", r"not authorized: SQLITE_AUTH"),
        ("SELECT sqlite_version()", r"not authorized to use function: sqlite_version"),
        ("CREATE TEMP TABLE x (a)", r"not authorized: SQLITE_AUTH"),
        ("SELECT * FROM nowhere", r"no such table: nowhere: SQLITE_ERROR"),
        ("SELECT 1 LIMIT 1.5", r"datatype mismatch: SQLITE_MISMATCH"),
    ],
)
def test_what_the_platform_refuses_is_refused_in_its_words(
    bench: Bench, sql: str, says: str
) -> None:
    async def scene(database: D1Database) -> None:
        with pytest.raises(StoreError, match=says) as caught:
            await database.read(Statement("asked", sql), ())
        assert not isinstance(caught.value, Refused)

    bench.run(scene)


def test_a_broken_rule_is_told_with_its_extended_code(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        await database.write((statements.INSERT_SITE, [SITE]))
        with pytest.raises(Refused) as caught:
            await database.write((statements.INSERT_SITE, [SITE]))
        assert (
            "UNIQUE constraint failed: sites.site_id: SQLITE_CONSTRAINT "
            "(extended: SQLITE_CONSTRAINT_PRIMARYKEY)"
        ) in str(caught.value)

    bench.run(scene)


def test_a_batch_of_nothing_is_an_error_there(bench: Bench) -> None:
    async def scene(database: D1Database) -> None:
        assert await database.write((statements.INSERT_SITE, [])) == [0]  # so it is not sent
        with pytest.raises(D1Refused, match="No SQL statements detected"):
            bench.server._run(bench.connection, {"batch": []})

    bench.run(scene)
