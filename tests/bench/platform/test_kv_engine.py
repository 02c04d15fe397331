"""Claims about the edge KV double: it answers and refuses as Workers KV does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from bench.platform.runtime import ACCOUNT, TOKEN, Runtime
from core.caching.edge_kv import KEY_BYTES, KEYS_PER_READ, VALUE_BYTES, EdgeKV
from core.caching.kv import MemoryKV, StoreItem
from core.clock import ManualClock, SystemClock, epoch_ms
from core.errors import StoreError

KEYS = [f"k{number}" for number in range(30)] + [
    "a", "a/b", "a/b/c", "A", "a b", "a?b=c&d", "%2e", "...", ".a", " ", "é", "e\u0301", "日本",
    "\uff5e", "\U0001f600", "a\nb", 'q"uote', "x" * KEY_BYTES, "é" * 256, "0", "42", "007",
    "-1", "1.5", "4294967294", "4294967295", "null", "toString", "__proto__", "٣",
]  # fmt: skip
PREFIXES = ["", "k", "k1", "a", "a/", ".", "é", "\U0001f600", "no such"]


class Double:
    """The edge store of the product, and the calls of the real binding that do the same."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = EdgeKV(MemoryKV(self.clock.now), self.clock.now, min_ttl="refuse")

    async def run(self, call: Sequence[Any]) -> Any:
        """Return what the store says to a call of the binding."""
        self.clock.advance(1.0)  # a write of a key each second is allowed
        method, *given = call
        if method == "get" and isinstance(given[0], list):
            found = await self.store.get(*given[0])
            return dict(zip(given[0], map(_text, found), strict=True))
        if method == "get":
            return _text((await self.store.get(given[0]))[0])
        if method == "put":
            key, value, options = given
            item = StoreItem(key, value.encode(), options["expirationTtl"])
            return await self.store.put(item)
        if method == "delete":
            await self.store.delete(given[0])
            return None
        (options,) = given  # of list
        held = [key for key in KEYS if (await self.store.get(key))[0] is not None]
        return sorted((key for key in held if key.startswith(options["prefix"])), key=str.encode)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def drawn_calls(seed: int, count: int) -> list[list[Any]]:
    rng = np.random.default_rng(seed)

    def key() -> str:
        return KEYS[rng.integers(len(KEYS))]

    calls: list[list[Any]] = []
    for number in range(count):
        kind = rng.integers(10)
        if kind < 4:
            ttl = int(rng.integers(3_600, 90_000))  # longer than the calls of the double take
            calls.append(["put", key(), f"{number} é", {"expirationTtl": ttl}])
        elif kind < 6:
            calls.append(["get", key()])
        elif kind < 8:
            many = KEYS_PER_READ if rng.integers(20) == 0 else int(rng.integers(2, 9))
            calls.append(["get", [key() for _ in range(many)]])
        elif kind < 9:
            calls.append(["delete", key()])
        else:
            calls.append(["list", {"prefix": PREFIXES[rng.integers(len(PREFIXES))]}])
    return calls


def listed(runtime: Runtime, prefix: str, limit: int) -> list[str]:
    """Return the names of all pages of a list."""
    names: list[str] = []
    options: dict[str, Any] = {"prefix": prefix, "limit": limit}
    while True:
        page = runtime.binding([["list", options]])[0]["value"]
        assert len(page["keys"]) <= limit
        names += [key["name"] for key in page["keys"]]
        if page["list_complete"]:
            return names
        options["cursor"] = page["cursor"]


def emptied(runtime: Runtime) -> Runtime:
    runtime.binding([["delete", key] for key in listed(runtime, "", 1_000)])
    return runtime


@pytest.mark.parametrize("seed", [1, 2])
def test_random_operations_answer_as_the_real_store(runtime: Runtime, seed: int) -> None:
    calls = drawn_calls(seed, 1_000)
    answers = emptied(runtime).binding(calls)

    async def ours() -> list[Any]:
        double = Double()
        return [await double.run(call) for call in calls]

    for call, mine, real in zip(calls, asyncio.run(ours()), answers, strict=True):
        theirs = real["value"]
        if call[0] == "list":
            theirs = [key["name"] for key in theirs["keys"]]
        elif call[0] == "get" and isinstance(call[1], list):
            # Each key is once in the answer, and some are missing from it.
            theirs = dict.fromkeys(call[1]) | dict(theirs)
        assert mine == theirs, call


def test_a_prefix_reaches_the_keys_that_a_list_in_pages_names(runtime: Runtime) -> None:
    puts = [["put", key, "v", {"expirationTtl": 3_600}] for key in KEYS]
    assert all("value" in answer for answer in emptied(runtime).binding(puts))

    async def deleted(prefix: str) -> int:
        double = Double()
        for put in puts:
            await double.run(put)
        return await double.store.delete_prefix(prefix)

    for prefix in PREFIXES:
        names = listed(runtime, prefix, 7)
        assert names == sorted({*names}, key=str.encode)
        assert len(names) == asyncio.run(deleted(prefix))
    assert listed(runtime, "", 7) == listed(runtime, "", 1_000)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        *(
            (call, says)
            for key, says in (
                ("", "Key name cannot be empty"),
                (".", '"." is not allowed as a key name'),
                ("..", '".." is not allowed as a key name'),
                ("k" * 513, "414 UTF-8 encoded length of 513 exceeds key length limit of 512"),
                ("é" * 257, "414 UTF-8 encoded length of 514 exceeds key length limit of 512"),
            )
            for call in (
                ["get", key], ["put", key, "v", {"expirationTtl": 60}], ["delete", key],
                ["get", ["k", key]],
            )
            if not (isinstance(call[1], list) and key in ("", ".", ".."))
        ),
        (["get", [f"k{n}" for n in range(101)]], "400 You can request a maximum of 100 keys"),
        (["get", ["k"] * 101], "400 You can request a maximum of 100 keys"),
        (["put", "k", "v", {"expirationTtl": 59}], "400 Invalid expiration_ttl of 59"),
        (["put", "k", "v", {"expirationTtl": 59.985}], "400 Invalid expiration_ttl of 59"),
        (["put", "k", "v", {"expirationTtl": 0}], "400 Invalid expiration_ttl of 0"),
        (["put", "k", "v", {"expirationTtl": -1}], "400 Invalid expiration_ttl of -1"),
    ],
)  # fmt: skip
def test_what_the_real_store_refuses_is_refused(
    runtime: Runtime, call: Sequence[Any], says: str
) -> None:
    (answer,) = runtime.binding([call])
    assert says in answer["error"]

    with pytest.raises((ValueError, StoreError)):
        asyncio.run(Double().run(call))


def test_a_read_of_100_keys_and_a_key_of_512_bytes_are_taken(runtime: Runtime) -> None:
    keys = [f"k{number}" for number in range(99)] + ["x" * 512]
    call = ["get", keys]
    assert dict(emptied(runtime).binding([call])[0]["value"]) == asyncio.run(Double().run(call))


def test_a_read_of_several_keys_does_not_find_what_an_object_orders_by_number(
    runtime: Runtime,
) -> None:
    names = ["0", "42", "4294967294", "__proto__", "007", "4294967295", "-1", "toString"]
    puts = [["put", name, "v", {"expirationTtl": 60}] for name in names]
    *_, several, single = emptied(runtime).binding([*puts, ["get", names], ["get", "42"]])
    assert [name for name, _ in several["value"]] == names[4:]
    assert single["value"] == "v"

    async def ours() -> None:
        double = Double()
        for put in puts:
            await double.run(put)
        assert await double.store.get(*names) == [None] * 4 + [b"v"] * 4
        assert await double.store.get("42") == [b"v"]

    asyncio.run(ours())


@pytest.mark.parametrize("ttl", [60, 60.5, 61, 3_600])
def test_a_life_ends_at_the_whole_second_that_the_real_store_notes(
    runtime: Runtime, ttl: float
) -> None:
    clock = SystemClock()
    began = epoch_ms(clock) / 1000
    runtime.binding([["put", "k", "v", {"expirationTtl": ttl}]])
    ended = epoch_ms(clock) / 1000
    page = runtime.binding([["list", {"prefix": "k"}]])[0]["value"]
    (noted,) = [key["expiration"] for key in page["keys"] if key["name"] == "k"]

    async def ours(now: float) -> list[float]:
        """Return the first whole seconds at which the value is there no longer."""
        clock = ManualClock(now, origin_ms=0)
        store = EdgeKV(MemoryKV(clock.now), clock.now, min_ttl="refuse")
        await store.put(StoreItem("k", b"v", ttl))
        clock.advance(ttl - 2.0)
        while await store.get("k") != [None]:
            clock.advance(0.03125)
        return [int(clock.now())]

    # The real clock may have gone on to the next second while the value was on its way.
    assert noted in {*asyncio.run(ours(began)), *asyncio.run(ours(ended))}


@pytest.mark.parametrize(("more", "is_taken"), [(0, True), (1, False)])
def test_a_value_of_25_mib_is_the_largest(runtime: Runtime, more: int, is_taken: bool) -> None:
    value = bytes(VALUE_BYTES + more)
    answer = httpx.put(
        f"{runtime.base_url}/accounts/{ACCOUNT}/storage/kv/namespaces/n/values/large",
        content=value, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60.0,
    )  # fmt: skip
    assert answer.is_success is is_taken
    if not is_taken:
        assert "413 Value length of 26214401 exceeds limit of 26214400" in answer.text

    async def ours() -> None:
        await Double().store.put(StoreItem("large", value, 60.0))

    if is_taken:
        asyncio.run(ours())
    else:
        with pytest.raises(StoreError, match="413"):
            asyncio.run(ours())
