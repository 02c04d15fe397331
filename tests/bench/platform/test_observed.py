"""What docs/platform.md says of the real engines, beyond what the product itself asks of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from bench.platform.runtime import ACCOUNT, TOKEN, Runtime

CONSTRAINT = "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)"


class Asking:
    """A D1 database that is asked in plain SQL."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._url = f"{runtime.base_url}/accounts/{ACCOUNT}/d1/database/{name}"

    def _post(self, body: dict[str, Any], form: str) -> dict[str, Any]:
        answer = httpx.post(
            f"{self._url}/{form}", json=body, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        found: dict[str, Any] = answer.json()
        return found

    def rows(self, sql: str, *params: object) -> list[list[Any]]:
        """Return the rows of a statement."""
        answer = self._post({"sql": sql, "params": params}, "raw")
        assert answer["success"], answer["errors"]
        found: list[list[Any]] = answer["result"][0]["results"]["rows"]
        return found

    def meta(self, sql: str, *params: object) -> tuple[int, int, int]:
        """Return the changes, the rows read and the rows written of a statement."""
        answer = self._post({"sql": sql, "params": params}, "raw")
        assert answer["success"], answer["errors"]
        meta = answer["result"][0]["meta"]
        return meta["changes"], meta["rows_read"], meta["rows_written"]

    def objects(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a statement as the endpoint /query has them."""
        found: list[dict[str, Any]] = self._post({"sql": sql}, "query")["result"][0]["results"]
        return found

    def fault(self, *statements: str, params: Sequence[object] = ()) -> str:
        """Return why a statement, or a batch of several, is refused."""
        body: dict[str, Any] = {"batch": [{"sql": sql} for sql in statements]}
        if len(statements) == 1:
            body = {"sql": statements[0], "params": params}
        answer = self._post(body, "raw")
        assert not answer["success"]
        message: str = answer["errors"][0]["message"]
        return message


@pytest.fixture(scope="module")
def d1(runtime: Runtime) -> Asking:
    """Return an empty database."""
    return Asking(runtime, runtime.next_id())


def terms(count: int) -> str:
    return " UNION ALL ".join(["SELECT 1"] * count)


def test_a_compound_select_takes_five_terms(d1: Asking) -> None:
    assert len(d1.rows(terms(5))) == 5
    for sql in (terms(6), f"CREATE VIEW of_six AS {terms(6)}"):
        assert d1.fault(sql) == "too many terms in compound SELECT: SQLITE_ERROR"
    assert len(d1.rows(f"{terms(4)} UNION ALL SELECT * FROM ({terms(5)})")) == 9
    assert len(d1.rows("VALUES " + ", ".join(["(1)"] * 20))) == 20


@pytest.mark.parametrize(
    ("taken", "refused", "fault"),
    [
        ("SELECT ?100", "SELECT ?101", "variable number must be between ?1 and ?100"),
        (f"SELECT '{'x' * 99_900}'", f"SELECT '{'x' * 100_000}'", "statement too long"),
        (
            f"SELECT 'a' LIKE '{'a' * 50}'", f"SELECT 'a' LIKE '{'a' * 51}'",
            "LIKE or GLOB pattern too complex",
        ),
        (
            f"SELECT {'+'.join(['1'] * 100)}", f"SELECT {'+'.join(['1'] * 101)}",
            "Expression tree is too large (maximum depth 100)",
        ),
        (
            f"SELECT max({', '.join(['1'] * 127)})", f"SELECT max({', '.join(['1'] * 128)})",
            "too many arguments on function max",
        ),
        (
            f"CREATE TABLE c100 ({', '.join(f'c{n}' for n in range(100))})",
            f"CREATE TABLE c101 ({', '.join(f'c{n}' for n in range(101))})",
            "too many columns on c101",
        ),
    ],
    ids=["parameters", "bytes", "LIKE", "depth", "arguments", "columns"],
)  # fmt: skip
def test_limits_of_sql(d1: Asking, taken: str, refused: str, fault: str) -> None:
    d1.rows(taken, *([1] * 100 if "?" in taken else []))
    assert d1.fault(refused, params=[1] if "?" in refused else []).startswith(fault)


def test_numbers_bind_as_real_and_large_ones_lose_digits(d1: Asking) -> None:
    d1.rows("CREATE TABLE numbers (a TEXT, b INTEGER)")
    d1.rows("INSERT INTO numbers VALUES (?, ?)", 5, 5)
    assert d1.rows("SELECT a, typeof(a), b, typeof(b), ? / 2 FROM numbers", 5) == [
        ["5.0", "text", 5, "integer", 2.5]
    ]
    assert d1.rows("SELECT 9007199254740993, 1e999, CAST(0.1 + 0.2 AS TEXT), x'0102ff'") == [
        [9007199254740992, None, "0.30000000000000004", [1, 2, 255]]
    ]


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        *(
            (sql, "To execute a transaction, please use the state.storage.transaction()")
            for sql in ("BEGIN", "COMMIT", "SAVEPOINT a")
        ),
        *(
            (f"PRAGMA {name}", "not authorized")
            for name in ("user_version", "journal_mode", "synchronous", "busy_timeout",
                         "query_only")
        ),
        ("SELECT sqlite_version()", "not authorized to use function: sqlite_version"),
        ("ATTACH ':memory:' AS x", "not authorized"),
        ("CREATE TEMP TABLE z (a)", "not authorized"),
    ],
)  # fmt: skip
def test_what_d1_does_not_allow(d1: Asking, sql: str, fault: str) -> None:
    assert d1.fault(sql).startswith(fault)


def test_a_batch_is_all_or_nothing_and_needs_a_statement(d1: Asking) -> None:
    d1.rows("CREATE TABLE once (a TEXT PRIMARY KEY)")
    insert = "INSERT INTO once VALUES ('x')"
    assert d1.fault(insert, insert) == f"UNIQUE constraint failed: once.a: {CONSTRAINT}"
    assert d1.rows("SELECT count(*) FROM once") == [[0]]
    assert d1.fault() == "No SQL statements detected."


def test_the_nth_autoincrement_reads_n_rows_and_triggers_count_as_changes(d1: Asking) -> None:
    read = []
    for number in range(3):
        d1.rows(f"CREATE TABLE s{number} (i INTEGER PRIMARY KEY AUTOINCREMENT, a)")
        d1.rows(f"INSERT INTO s{number} (a) VALUES (1)")
        read.append(d1.meta(f"INSERT INTO s{number} (a) VALUES (1)")[1])
    assert read == [1, 2, 3]
    d1.rows("CREATE TABLE log (a)")
    d1.rows("CREATE TABLE watched (a)")
    d1.rows(
        "CREATE TRIGGER twice AFTER INSERT ON watched"
        " BEGIN INSERT INTO log VALUES (1); INSERT INTO log VALUES (2); END"
    )
    assert d1.meta("INSERT INTO watched VALUES (1)")[0] == 3


def test_rows_read_of_lookups_sorts_and_windows(d1: Asking) -> None:
    d1.rows("CREATE TABLE many (k INTEGER, v INTEGER)")
    d1.rows("CREATE INDEX many_k ON many (k)")
    values = json.dumps([*range(100)])
    d1.rows("INSERT INTO many SELECT value % 10, value FROM json_each(?)", values)
    assert d1.meta("SELECT v FROM many WHERE k = 3")[1] == 11
    assert d1.meta("SELECT v FROM many ORDER BY v LIMIT 5")[1] == 200
    assert d1.meta("SELECT v, count(*) OVER () FROM many")[1] == 301


def test_rows_as_objects_lose_columns_of_one_name_and_their_order(d1: Asking) -> None:
    assert d1.objects("SELECT 1 AS a, 2 AS a") == [{"a": 2}]
    (row,) = d1.objects('SELECT 1 AS b, 2 AS "2", 3 AS "1"')
    assert [*row] == ["1", "2", "b"]


def test_kv_lists_by_bytes_deletes_one_key_a_call_and_counts_a_key_once(runtime: Runtime) -> None:
    for key in ("twice", "\uff5e", "\U0001f600"):
        runtime.binding([["put", key, "v", {}]])
    (page,) = runtime.binding([["list", {}]])
    names = [key["name"] for key in page["value"]["keys"]]
    assert names == sorted(names, key=str.encode)
    assert names.index("\uff5e") < names.index("\U0001f600")  # UTF-16 would turn them round
    got, deleted, still = runtime.binding(
        [["get", ["twice", "twice", "none"]], ["delete", ["twice", "none"]], ["get", "twice"]]
    )
    assert got["value"] == [["twice", "v"], ["none", None]]
    assert deleted == {"value": None}
    assert still == {"value": "v"}  # the array was taken for the key "twice,none"
    _, gone = runtime.binding([["delete", ["twice"]], ["get", "twice"]])
    assert gone == {"value": None}
