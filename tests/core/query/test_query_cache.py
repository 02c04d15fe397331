"""Claims about the cache of rows under the application: no invalidation misses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.application.application import Application, query_cache_of
from core.application.cache_entries import (
    attribution_key,
    channels_key,
    journey_key,
    site_key,
    user_key,
)
from core.attribution.models import MODELS
from core.attribution.scheme import Scheme
from core.caching.channel import LocalBus, LocalChannel
from core.caching.invalidation_log import Selector
from core.caching.keys import cache_key
from core.caching.kv import MemoryKV
from core.clock import ManualClock
from core.context import Span
from core.errors import InputError
from core.event import Event
from core.query import statements
from core.query.cache import RULES, QueryCache
from core.query.database import Row, SqliteDatabase
from core.query.executor import QueryExecutor
from core.query.statement import Statement
from core.scenario.file import parse_scenario

TTL = 60.0


class Meanwhile(SqliteDatabase):
    """A database during whose next read something happens, after the rows were found."""

    def __init__(self) -> None:
        super().__init__(None, inline=True)
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.reads = 0

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        self.reads += 1
        rows = await super().read(statement, parameters)
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        return rows


class World:
    """Two processes over one L2 and one database, and messages that are delivered when told."""

    def __init__(self, **tiers: Any) -> None:
        table = {"ttl": "60s", "max_entries": 100}
        self.scenario = parse_scenario(
            {
                "name": "rows",
                "topology": {"isolates": 2},
                "tiers": {
                    "query_cache": table, "tags": True, "l1": {"scope": "request"},
                    "l2": {"put": "await"}, **tiers,
                },
            },
            source="test",
        )  # fmt: skip
        self.clock = ManualClock()
        self.kv = MemoryKV(self.clock.now)
        self.database = Meanwhile()
        self.under_way: list[Callable[[], None]] = []
        self.bus = LocalBus(self.under_way.append)
        self.a, self.b = self._process("a"), self._process("b")

    def _process(self, name: str) -> Application:
        cache = query_cache_of(self.scenario.tiers.query_cache)
        executor = QueryExecutor(self.database, self.clock, cache=cache, rules=RULES)
        return Application(
            self.scenario, self.kv, executor, self.clock, lambda _: 0.5,
            scheme=Scheme(), channel=LocalChannel(self.bus), name=name, query_cache=cache,
        )  # fmt: skip

    def deliver(self) -> None:
        """Let every message arrive."""
        while self.under_way:
            self.under_way.pop(0)()

    async def visit(self, source: str, user: str = "u1") -> None:
        """Let the user's one event have come from *source*, behind every cache's back."""
        event = Event("e1", user, "s1", "page_view", 1_000, source, None, None)
        self.database.connection.execute("DELETE FROM user_journeys")
        await self.a.queries.insert_event(event, "new")

    async def sees(self, process: Application, isolate: int = 0) -> str:
        """Return where the journey of u1 comes from, as *process* tells."""
        document = await process.cdp.journey(Span(), isolate, "u1")
        assert document is not None
        source: str = json.loads(document)["events"][0]["utm_source"]
        return source


def in_world(scene: Callable[[World], Awaitable[None]], **tiers: Any) -> None:
    async def run() -> None:
        world = World(**tiers)
        for process in (world.a, world.b):
            await process.invalidator.listen()
        await scene(world)
        await world.database.close()

    asyncio.run(run())


TARGETS = [
    Selector(keys=(journey_key("u1"),)),
    Selector(keys=("config:s1", journey_key("u1"))),
    Selector(prefix="journey:"),
    Selector(prefix="jour"),
    Selector(prefix="journey:u1"),
    Selector(prefix=""),
    Selector(tag="user:u1"),
]


def test_rows_answer_in_place_of_the_database_until_their_time_is_over() -> None:
    async def scene(world: World) -> None:
        await world.visit("email")
        assert await world.sees(world.a) == "email"
        await world.kv.delete(journey_key("u1"))
        await world.visit("google")
        before = world.database.reads
        assert await world.sees(world.a, isolate=1) == "email"  # of all isolates of a process
        assert world.database.reads == before
        assert world.a.cache_counters()["query_cache_hits"] == 1
        await world.kv.delete(journey_key("u1"))
        assert await world.sees(world.b) == "google"  # of no other process
        await world.kv.delete(journey_key("u1"))
        world.clock.advance(TTL)
        assert await world.sees(world.a) == "google"

    in_world(scene)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_invalidation_reaches_the_rows_here_and_where_it_is_heard(target: Selector) -> None:
    async def scene(world: World) -> None:
        await world.visit("email")
        assert await world.sees(world.b) == "email"
        await world.kv.delete(journey_key("u1"))
        assert await world.sees(world.a) == "email"
        await world.visit("google")
        removed = await world.a.invalidator.invalidate(target)
        assert removed.l1 == 0
        world.deliver()
        assert await world.sees(world.a) == "google"
        await world.kv.delete(journey_key("u1"))
        assert await world.sees(world.b) == "google"

    in_world(scene)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_row_that_another_process_has_not_heard_to_be_invalid_is_not_cached_again(
    target: Selector,
) -> None:
    async def scene(world: World) -> None:
        await world.visit("email")
        await world.sees(world.b)
        world.clock.advance(5.0)
        await world.visit("google")
        await world.a.invalidator.invalidate(target)
        world.clock.advance(1.0)
        assert await world.sees(world.b) == "email"  # from its row, and into L2
        assert await world.kv.get(journey_key("u1")) != [None]
        assert await world.sees(world.a) == "google"
        await world.kv.delete(journey_key("u1"))
        assert await world.sees(world.b) == "email"
        world.deliver()
        assert await world.sees(world.b) == "google"
        assert await world.sees(world.a) == "google"

    in_world(scene)


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_rows_of_a_load_in_flight_are_not_kept_after_an_invalidation(
    where: str, target: Selector
) -> None:
    async def scene(world: World) -> None:
        await world.visit("email")
        invalidating = world.b if where == "here" else world.a

        async def invalidate() -> None:
            await world.visit("google")
            await invalidating.invalidator.invalidate(target)
            world.deliver()

        world.database.meanwhile = invalidate
        assert await world.sees(world.b) == "email"  # asked before
        assert await world.sees(world.b) == "google"
        await world.kv.delete(journey_key("u1"))
        assert await world.sees(world.b) == "google"
        assert await world.sees(world.a) == "google"

    in_world(scene)


def test_lost_messages_empty_the_rows() -> None:
    async def scene(world: World) -> None:
        await world.visit("email")
        await world.sees(world.b)
        await world.visit("google")
        await world.a.invalidator.invalidate(Selector(prefix="journey:"))
        world.under_way.clear()
        world.bus.interrupt()
        assert await world.sees(world.b) == "google"
        assert world.b.query_cache is not None
        assert world.b.query_cache.bytes > 0

    in_world(scene)


LONG_IDS = ["日本" * 28, "日本" * 27, "é" * 70, "a" * 435, "a" * 434, "a" * 600, "a:" * 120]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("by", ["keys", "prefix"])
@pytest.mark.parametrize("name", LONG_IDS, ids=lambda name: f"{name[:2]}-{len(name)}")
def test_conversion_of_a_long_id_is_not_served_from_its_rows_once_it_is_invalidated(
    name: str, by: str, where: str
) -> None:
    async def scene(world: World) -> None:
        key = attribution_key(name, SCHEME.key_end("linear"))
        reader, other = (world.a, world.b) if where == "here" else (world.b, world.a)

        async def store(source: str) -> None:
            execute = world.database.connection.execute
            execute("DELETE FROM user_journeys")
            execute("DELETE FROM conversions")
            touch = Event("e1", "u1", "s1", "page_view", 1_000, source, None, None)
            purchase = Event("e2", "u1", "s1", "purchase", 2_000, "(direct)", name, 5.0)
            await reader.queries.insert_event(touch, "new")
            await reader.queries.insert_event(purchase, "new")

        async def channel() -> str:
            document = await reader.cdp.attribution(Span(), 0, name, "linear")
            assert document is not None
            return "email" if b"email" in document else "google"

        await store("email")
        assert await channel() == "email"
        await store("google")
        target = Selector(keys=(key,)) if by == "keys" else Selector(prefix=key)
        await (reader if where == "here" else other).invalidator.invalidate(target)
        world.deliver()
        await world.kv.delete(key)
        assert await channel() == "google"

    in_world(scene)


@given(name=st.text("aé:*~", min_size=1, max_size=6), times=st.integers(1, 120))
def test_rows_are_kept_only_where_every_key_and_prefix_of_the_application_finds_them(
    name: str, times: int
) -> None:
    for kind, key_of in KEYS.items():
        for model in ("linear", "data_driven"):
            whole = key_of(name * times, model)
            targets = [Selector(keys=(whole,)), *(Selector(prefix=whole[:n]) for n in LENGTHS)]
            for target in targets:
                cache = QueryCache(ttl=60.0, max_entries=100, max_bytes=1_000_000)
                query = put(cache, (kind, name * times, model))
                cache.forget(target)
                assert cache.get(query, 1.0) is None


LENGTHS = (0, 1, 40, 446, 447, 448, 511, 512)
SCHEME = Scheme()
NAMES = st.sampled_from(["a", "b", "a:b", "*", "ab", ""])
KEYS: dict[str, Callable[[str, str], str]] = {
    "config": lambda name, _: site_key(name),
    "lookup": lambda name, _: user_key(name),
    "journey": lambda name, _: journey_key(name),
    "attribution": lambda name, model: attribution_key(name, SCHEME.key_end(model)),
    "channels": lambda _, model: channels_key(SCHEME.key_end(model)),
}
PARAMETERS: dict[str, Callable[[str, str], tuple[Statement, tuple[Any, ...]]]] = {
    "config": lambda name, _: (statements.SITE, (name,)),
    "lookup": lambda name, _: (statements.USER, (name,)),
    "journey": lambda name, _: (statements.USER_JOURNEY, (name, 100)),
    "attribution": lambda name, _: (statements.CONVERSION_JOURNEY, (1, name)),
    "channels": lambda _, model: (statements.CHANNEL_PERFORMANCE, (model, 50)),
}
KINDS = st.sampled_from([*KEYS])
SUBJECTS = st.tuples(KINDS, NAMES, st.sampled_from(MODELS[:3]))


def put(cache: QueryCache, subject: tuple[str, str, str]) -> tuple[Any, ...]:
    kind, name, model = subject
    statement, parameters = PARAMETERS[kind](name, model)
    query = (statement.name, *parameters)
    cache.set(query, RULES[statement.name].key(parameters), [], 0.0)
    return query


@given(kept=st.lists(SUBJECTS, max_size=8), named=st.lists(SUBJECTS, min_size=1, max_size=3))
def test_keys_drop_the_rows_that_they_were_made_of_and_no_others(
    kept: list[tuple[str, str, str]], named: list[tuple[str, str, str]]
) -> None:
    cache = QueryCache(ttl=60.0, max_entries=100, max_bytes=1_000_000)
    queries = {put(cache, subject): subject for subject in kept}
    cache.forget(Selector(keys=tuple(KEYS[kind](name, model) for kind, name, model in named)))

    def concerns(subject: tuple[str, str, str]) -> bool:
        kind, name, model = subject
        part = 2 if kind == "channels" else 1
        return any(n[0] == kind and n[part] == (name, model)[part - 1] for n in named)

    for query, subject in queries.items():
        assert (cache.get(query, 1.0) is None) == concerns(subject)
    assert (cache.bytes == 0) == (len(cache) == 0)


@pytest.mark.parametrize("kind", KEYS)
def test_prefix_drops_the_rows_of_every_key_that_begins_so(kind: str) -> None:
    cache = QueryCache(ttl=60.0, max_entries=100, max_bytes=1_000_000)
    for name in ("a", "a:b", "*", "ab", "\u00e9"):
        for model in MODELS:
            whole = KEYS[kind](name, model)
            for end in range(len(whole) + 1):
                query = put(cache, (kind, name, model))
                cache.forget(Selector(prefix=whole[:end]))
                assert cache.get(query, 1.0) is None, whole[:end]


def test_rows_of_another_conversion_stay() -> None:
    cache = QueryCache(ttl=60.0, max_entries=100, max_bytes=1_000_000)
    query = put(cache, ("attribution", "c12", "linear"))
    cache.forget(Selector(keys=(cache_key("attribution", "c1", "linear"), "attribution:c1")))
    cache.forget(Selector(prefix="attribution:c1:"))
    assert cache.get(query, 1.0) == []
    cache.forget(Selector(prefix="attribution:c1"))
    assert cache.get(query, 1.0) is None


def test_several_processes_without_pubsub_cannot_have_one() -> None:
    data = {
        "name": "rows",
        "topology": {"processes": 2},
        "tiers": {"query_cache": {"ttl": "60s"}, "l2": {"pubsub": False}},
    }
    with pytest.raises(InputError, match=r"query_cache needs tiers\.l2\.pubsub"):
        parse_scenario(data, source="test")
