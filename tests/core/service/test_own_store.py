"""Claims about what L2 can be: the scheme of a URL chooses the store, and a package adds one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.caching.kv import KVStore
from core.caching.stores import STORES, L2Store, L2Stores
from core.errors import InputError
from core.service.l2 import check_l2, open_l2
from tests.core.service.serving import serving, small_scenario
from tests.installed import install

SHELF = '''
"""L2 in a file of SQLite."""
import sqlite3, time
from core.caching import L2Store
from core.errors import StoreError

class ShelfKV:
    def __init__(self, url, *, timeout, namespace):
        self._db = sqlite3.connect(url.partition(":")[2], timeout=timeout, isolation_level=None)
        self._namespace = namespace
        self._db.execute("CREATE TABLE IF NOT EXISTS kv (key PRIMARY KEY, value, ends, tags)")

    def _run(self, sql, rows):
        try:
            return sum(self._db.execute(sql, row).rowcount for row in rows)
        except sqlite3.Error as error:
            raise StoreError(f"the shelf failed: {error}") from error

    async def get(self, *keys):
        found = []
        for key in keys:
            sql = "SELECT value FROM kv WHERE key = ? AND ends > ?"
            row = self._db.execute(sql, (self._namespace + key, time.monotonic())).fetchone()
            found.append(row and row[0])
        return found

    async def put(self, *items):
        ends = time.monotonic()
        self._run("REPLACE INTO kv VALUES (?, ?, ?, ?)", [
            (self._namespace + key, value, ends + ttl, "".join(f"<{tag}>" for tag in tags))
            for key, value, ttl, tags in items])

    async def delete(self, *keys):
        return self._run("DELETE FROM kv WHERE key = ?", [(self._namespace + k,) for k in keys])

    async def delete_prefix(self, prefix):
        whole = self._namespace + prefix
        return self._run("DELETE FROM kv WHERE substr(key, 1, ?) = ?", [(len(whole), whole)])

    async def delete_tag(self, tag):
        return self._run("DELETE FROM kv WHERE instr(tags, ?)", [(f"<{tag}>",)])

    async def close(self):
        self._db.close()

STORE = L2Store(schemes=("shelf",), example="shelf:/tmp/l2.sqlite", store=ShelfKV)
'''
ENTRY = "[edgeproof.stores]\nshelf = shop_stores:STORE\n"
NO_CHANNEL: dict[str, Any] = {"l2": {"pubsub": False}}


def _never(url: str, *, timeout: float, namespace: str) -> KVStore:
    raise AssertionError("opened")


def _rows(shelf: Path) -> list[str]:
    with closing(sqlite3.connect(shelf)) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM kv")]


def test_store_of_an_installed_package_is_the_l2_of_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path / "site", module="shop_stores", source=SHELF, entry_points=ENTRY)
    shelf, scenario = tmp_path / "l2.sqlite", small_scenario("shelved", tiers=NO_CHANNEL)
    (tmp_path / "data").mkdir()
    with serving(scenario, tmp_path / "data", redis=f"shelf:{shelf}") as (visitor,):
        assert "L2; fwd=uri-miss" in visitor.get("/journey/u1").headers["Cache-Status"]
        key = "edgeproof:shelved:journey:u1"
        assert key in _rows(shelf)
        assert visitor.invalidate(prefix="journey:u1")["l2"] == 1
        assert key not in _rows(shelf)
        visitor.get("/journey/u2")
    with serving(scenario, tmp_path / "data", redis=f"SHELF:{shelf}") as (visitor,):
        # Another process, whose L1 is empty: what the first one left on the shelf answers.
        assert "L2; hit" in visitor.get("/journey/u2").headers["Cache-Status"]


@pytest.mark.parametrize("url", ["redis://h/0", "REDISS://h", "unix:///run/redis.sock"])
def test_scheme_of_redis_is_redis_in_any_case(url: str) -> None:
    (redis,) = STORES
    assert STORES.of(url) is redis


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("localhost", "--redis localhost: no URL; known are "),
        ("127.0.0.1:6379", "--redis 127.0.0.1:6379: no URL; known are "),
        ("", "--redis : no URL; known are "),
        (
            "http://me:secret@h/",
            "--redis http://...@h/: no store has the scheme 'http'; known",
        ),
        (
            "memcached://h?a=secret",
            "--redis memcached://...: no store has the scheme 'memcached'",
        ),
    ],
)
def test_unknown_scheme_is_refused_on_one_line_that_lists_the_schemes(
    url: str, line: str, tmp_path: Path
) -> None:
    for refuses in (
        lambda: STORES.of(url),
        lambda: check_l2(small_scenario("other").tiers.l2, url),
        lambda: serving(small_scenario("other"), tmp_path, redis=url).__enter__(),
    ):
        with pytest.raises(InputError) as caught:
            refuses()
        message = str(caught.value)
        assert message.startswith(line)
        assert message.endswith("redis, rediss, unix, such as redis://127.0.0.1:6379/0")
        assert len(message.splitlines()) == 1


def test_store_without_a_channel_is_refused_until_pubsub_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, module="shop_stores", source=SHELF, entry_points=ENTRY)
    with pytest.raises(InputError, match=r"give --set tiers\.l2\.pubsub=false to go without"):
        check_l2(small_scenario("other").tiers.l2, f"shelf:{tmp_path / 'a'}")
    tier = small_scenario("other", tiers=NO_CHANNEL).tiers.l2
    check_l2(tier, f"shelf:{tmp_path / 'a'}")
    store, channel = open_l2(tier, f"shelf:{tmp_path / 'a'}", namespace="a:")
    assert (type(store).__name__, channel) == ("ShelfKV", None)
    with pytest.raises(InputError, match="known are redis, rediss, unix, shelf, such as"):
        STORES.of("shelve:a")


def test_package_that_gives_no_store_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = ENTRY + "other = shop_stores:STORE\nnumber = shop_stores:sqlite3\n"
    install(monkeypatch, tmp_path, module="shop_stores", source=SHELF, entry_points=entries)
    for scheme in ("other", "number"):
        with pytest.raises(InputError, match=f"'{scheme}' of edgeproof.stores is .* L2Store"):
            STORES.of(f"{scheme}:a")


def test_two_stores_of_one_scheme_cannot_be() -> None:
    with pytest.raises(ValueError, match="two stores have the scheme 'unix'"):
        STORES | L2Stores(L2Store(schemes=("unix",), example="unix:", store=_never))


def test_table_of_stores_imports_no_store() -> None:
    source = "import sys; from core.caching.stores import STORES; STORES.of('redis://h')"
    source += "; print('redis' in sys.modules, 'importlib.metadata' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"
