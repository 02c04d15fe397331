"""Claims about fits: every so many batches, from the newest events, and right."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attribution import transitions
from core.attribution.parameters import OTHER, Parameters
from core.attribution.scheme import Scheme
from core.clock import ManualClock
from core.context import Span
from core.errors import StoreError
from core.event import Event
from core.ledger import fitter, sample
from core.ledger.current_scheme import CurrentScheme
from core.ledger.fitted_models import newest_row
from core.ledger.fitter import Fitter, Runner, in_thread, inline
from core.ledger.processor import BatchAttributionProcessor
from core.ledger.recount import recount
from core.ledger.sample import PAGE, Sample, fit_newest
from core.metrics.profiler import LatencyProfiler
from core.query import scan_statements, statements
from core.query.database import Row, SqliteDatabase
from core.query.queries import Queries
from core.query.statement import Statement
from core.scenario.attribution import Attribution
from tests.core.ledger.driven import driven_credits, effects_of, walks_of
from tests.core.ledger.shop import T, cut, purchase, touch, waiting_in
from tests.core.ledger.worlds import World, event_lists, newest_model, world_of


class Counting(SqliteDatabase):
    """A database that counts what is read, and is away for statements that it is told."""

    def __init__(self) -> None:
        super().__init__(None, inline=True)
        self.read_rows: dict[str, int] = {}
        self.away: set[str] = set()

    async def read(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        await asyncio.sleep(0)
        if statement.name in self.away:
            raise StoreError("the database is away")
        rows = await super().read(statement, parameters)
        self.read_rows[statement.name] = self.read_rows.get(statement.name, 0) + len(rows)
        return rows


class Works:
    """A processor whose batches are counted by a fitter."""

    def __init__(self, run: Runner = inline, **fields: Any) -> None:
        self.settings = Attribution(**{"fit_every": 1, "min_conversions": 1} | fields)
        self.database, self.clock = Counting(), ManualClock()
        parameters = self.settings.parameters()
        self.queries = Queries(self.database, self.clock, LatencyProfiler(), parameters=parameters)
        self.tasks: list[asyncio.Task[Any]] = []
        self.current = CurrentScheme(
            Scheme(parameters), self.queries, self.clock, refresh=10.0, retain=self.tasks.append
        )
        self.fitter = Fitter(self.queries, self.current, self.settings, now_ms=lambda: T, run=run)
        processor = BatchAttributionProcessor(
            self.queries, now_ms=lambda: T, in_force=self.current.look
        )
        self._process = self.fitter.counting(processor.process)

    async def add(self, events: Sequence[Event]) -> None:
        for event in events:
            await self.queries.insert_event(event, "new")

    async def process(self, ids: Sequence[str] = ()) -> None:
        """Process a batch, and let what it began end."""
        await self._process(Span(is_batch=True), ids)
        await self.fitter.drain()

    async def begin(self) -> None:
        """Process an empty batch, and leave what it began."""
        await self._process(Span(is_batch=True), [])

    def rows(self, sql: str) -> list[Any]:
        return self.database.connection.execute(sql).fetchall()

    def numbers(self) -> list[int]:
        return [number for (number,) in self.rows("SELECT version FROM fitted_models")]


def at_work(scene: Callable[[Works], Awaitable[None]], run: Runner = inline, **fields: Any) -> None:
    async def main() -> None:
        works = Works(run, **fields)
        try:
            await scene(works)
        finally:
            await works.database.close()

    asyncio.run(main())


def some() -> list[Event]:
    """Return ten conversions over three channels, and a user who did not convert."""
    events = [touch("lost", T - 50, "bing")._replace(user_id="nobody")]
    for number in range(10):
        user, name = f"u{number}", ("google", "email", "bing")[number % 3]
        events += [
            touch(f"a{number}", T - 30, name)._replace(user_id=user),
            touch(f"b{number}", T - 20, "email")._replace(user_id=user),
            purchase(f"c{number}")._replace(user_id=user),
        ]
    return events


def expected(world: World) -> dict[str, float]:
    return effects_of(walks_of(world))


@settings(max_examples=60)
@given(event_lists(), st.integers(1, 4))
def test_fitted_model_is_that_of_plain_python_whatever_the_pages(
    events: list[Event], page: int
) -> None:
    async def scene(works: Works) -> None:
        await works.add(events)
        await works.process()
        found = newest_model(works.database.connection)
        assert found is not None
        assert found.weights == pytest.approx(expected(world_of(events)), abs=1e-9)
        assert found == fit_newest(works.database.connection, works.settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "PAGE", page)
        patch.setattr(fitter, "PAGE", page)
        at_work(scene)


@settings(max_examples=60)
@given(event_lists(), st.lists(st.integers(1, 3), max_size=3))
def test_stored_data_driven_credits_are_those_of_the_model_in_force(
    events: list[Event], sizes: list[int]
) -> None:
    world = world_of(events)

    async def scene(works: Works) -> None:
        await works.add(events)
        await works.process()
        effects = expected(world)
        for batch in cut(waiting_in(works.database), sizes):
            await works.process(batch)  # every further fit sees the same events
        credits = works.rows(
            "SELECT conversion_id, data_driven FROM touch_credits ORDER BY 1, touchpoint_index"
        )
        wanted = [
            (name, credit)
            for name in sorted(world.conversions)
            for credit in driven_credits([c for _, c in world.journey(name)] or ["none"], effects)
            if world.journey(name)
        ]
        assert [name for name, _ in credits] == [name for name, _ in wanted]
        assert [c for _, c in credits] == pytest.approx([c for _, c in wanted], abs=1e-9)
        assert recount(works.database.connection) == []
        versions = works.rows("SELECT DISTINCT model_version IS NULL FROM conversions")
        assert versions == [(0,)] * bool(world.conversions)

    at_work(scene)


@pytest.mark.parametrize("run", [inline, in_thread])
@pytest.mark.parametrize(("every", "fits"), [(0, 0), (1, 7), (2, 3), (3, 2), (8, 0)])
def test_a_model_is_fitted_every_so_many_batches(every: int, fits: int, run: Runner) -> None:
    async def scene(works: Works) -> None:
        await works.add(some())
        for _ in range(7):
            await works.process()
        assert (works.fitter.fitted, works.fitter.failed) == (fits, 0)
        assert works.numbers() == [*range(1, fits + 1)]
        assert (works.current.scheme.number or 0) == fits

    at_work(scene, run, fit_every=every)


def test_one_fit_runs_at_a_time_and_the_next_batch_makes_up_for_it() -> None:
    async def scene(works: Works) -> None:
        await works.add(some())
        for _ in range(4):
            await works.begin()
        await works.fitter.drain()
        assert works.fitter.fitted == 1
        await works.process()
        assert works.fitter.fitted == 2

    at_work(scene)


@pytest.mark.parametrize("away", ["newest_event", "events_after", "insert_model"])
def test_fit_that_fails_leaves_the_model_in_force_and_the_next_one_goes_on(away: str) -> None:
    async def scene(works: Works) -> None:
        await works.add(some())
        await works.process()
        before = works.current.scheme
        works.database.away = {away}
        await works.process()
        assert (works.fitter.fitted, works.fitter.failed) == (1, 1)
        assert "away" in works.fitter.last_error
        assert works.current.scheme is before
        works.database.away = set()
        await works.process()
        assert (works.fitter.fitted, works.current.scheme.number) == (2, 2)

    at_work(scene)


def test_chain_that_is_too_large_for_its_order_is_counted_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transitions, "_MOST_CODES", 1_300**3)

    async def scene(works: Works) -> None:
        await works.add([touch(f"t{n}", T - n, f"channel {n}") for n in range(1_300)])
        await works.process()
        assert works.fitter.failed == 1
        assert "too many for order 3" in works.fitter.last_error

    at_work(scene, order=3)


def test_fit_reads_no_more_than_the_newest_events_it_is_told() -> None:
    async def scene(works: Works) -> None:
        old = [touch(f"old{n}", T - 900, "old")._replace(user_id=f"old{n}") for n in range(40)]
        await works.add([*old, *some()])
        await works.process()
        assert works.database.read_rows["events_after"] == len(some())
        found = newest_model(works.database.connection)
        assert found is not None
        assert found.weights == pytest.approx(expected(world_of(some())), abs=1e-9)

    at_work(scene, fit_events=len(some()))


def test_rows_that_cannot_be_used_are_left_out_of_a_fit() -> None:
    async def scene(works: Works) -> None:
        await works.add(some())
        await works.add([touch("far", 2**50), purchase("rich", value=1.0), purchase("late")])
        execute = works.database.connection.execute
        execute("UPDATE conversions SET value = 9e999 WHERE conversion_id = 'rich'")
        execute("UPDATE conversions SET conversion_timestamp = 'x' WHERE conversion_id = 'late'")
        await works.add([touch("odd", T - 5), touch("raw", T - 5)])
        execute("UPDATE user_journeys SET event_timestamp = 'x' WHERE event_id = 'odd'")
        execute("UPDATE user_journeys SET utm_source = x'00' WHERE event_id = 'raw'")
        await works.process()
        found = newest_model(works.database.connection)
        assert found is not None
        assert found.weights == pytest.approx(expected(world_of(some())), abs=1e-9)
        assert found.conversions == 10

    at_work(scene)


def test_few_conversions_give_a_model_that_says_so() -> None:
    async def scene(works: Works) -> None:
        await works.add(some())
        await works.process()
        assert works.current.scheme.version is not None
        assert "only 10 conversions, fewer than 11" in works.current.scheme.fallback

    at_work(scene, min_conversions=11)


def test_model_fitted_elsewhere_is_found_once_it_is_time_and_holds_up_nobody() -> None:
    async def scene(works: Works) -> None:
        await works.add(some())
        await works.process()  # as another process would
        mine = CurrentScheme(
            Scheme(), works.queries, works.clock, refresh=10.0, retain=works.tasks.append
        )
        works.clock.advance(9.9)
        assert mine.look(Span()).number is None
        assert works.tasks == []
        works.clock.advance(0.1)
        assert mine.look(Span()).number is None  # the question goes on in the background
        assert mine.look(Span()).number is None
        assert len(works.tasks) == 1
        await works.tasks[0]
        assert mine.look(Span()).number == 1
        works.database.away = {"newer_model"}
        works.clock.advance(10.0)
        mine.look(Span())
        await works.tasks[1]
        assert mine.scheme.number == 1

    at_work(scene)


def test_older_model_never_takes_the_place_of_a_newer_one() -> None:
    async def scene(works: Works) -> None:
        await works.add(some())
        await works.process()
        first = newest_row(works.database.connection)
        assert first is not None
        await works.process()
        works.current.adopt(first)
        assert works.current.scheme.number == 2

    at_work(scene)


def test_no_statement_of_a_fit_reads_a_whole_table() -> None:
    database = SqliteDatabase(None, inline=True)
    for statement in (
        scan_statements.NEWEST_EVENT,
        statements.EVENTS_AFTER,
        statements.NEWER_MODEL,
    ):
        nothing = [None] * statement.sql.count("?")
        plan = database.connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", nothing)
        assert not any("SCAN" in row[3] for row in plan)
    database.connection.close()


@settings(max_examples=80)
@given(event_lists(), st.integers(1, 3))
def test_rare_channels_are_fitted_as_one_and_weigh_what_it_does(
    events: list[Event], most: int
) -> None:
    world = world_of(events)
    walks = walks_of(world)
    touches = Counter(channel for channels, _ in walks for channel in channels)
    kept = sorted(touches, key=lambda name: (-touches[name], name))[:most]

    def merged(channels: Sequence[str]) -> tuple[str, ...]:
        return tuple(name if name in kept else OTHER for name in channels)

    effects = effects_of([(merged(channels), converts) for channels, converts in walks])
    if len(touches) > most:
        assert OTHER in effects

    async def scene(works: Works) -> None:
        await works.add(events)
        await works.process()
        found = newest_model(works.database.connection)
        assert found is not None
        assert found.weights == pytest.approx(effects, abs=1e-9)
        for name in sorted(world.conversions):
            journey = await works.queries.conversion_journey(name)
            assert journey is not None
            if journey.channels:
                (credits,) = works.current.scheme.credits(journey, ["data_driven"])
                wanted = driven_credits(merged(journey.channels), effects)
                assert credits == pytest.approx(wanted, abs=1e-9)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sample.MOST_CHANNELS, 1, most)
        at_work(scene)


def many_channels(channels: int, journey: int = 6) -> list[Row]:
    """Return as many events as a fit sees, from sources that visitors have made up."""
    events: list[Row] = []
    chosen = np.random.default_rng(1).integers(channels, size=Attribution().fit_events)
    for number, channel in enumerate(chosen.tolist()):
        user, place = divmod(number, journey)
        name = f"made up {channel}"
        if place == journey - 1 and user % 2:
            events.append((number + 1, f"u{user}", T + number, "x", f"c{user}", T + number, 20.0))
        else:
            events.append((number + 1, f"u{user}", T + number, name, None, None, None))
    return events


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("channels", [15, 30, 300, 3_900])
def test_fit_over_channels_that_visitors_choose_stays_small(channels: int, order: int) -> None:
    most = sample.MOST_CHANNELS[order]
    with closing(Sample()) as copy:
        copy.add(many_channels(channels))
        tracemalloc.start()
        try:
            model = copy.fit(Parameters(order=order), 10)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 30_000_000
    assert len(model.weights) == (channels if channels <= most else most + 1)
    assert (OTHER in model.weights) == (channels > most)
    assert model.fallback == ""


def test_model_of_many_channels_is_the_same_whatever_the_order_of_rows() -> None:
    events = many_channels(3_900)[:12_000]
    models = []
    rng = np.random.default_rng(2)
    for order in (np.arange(len(events)), *(rng.permutation(len(events)) for _ in range(2))):
        # They have come in this order: numbers, and with them pages, follow it.
        numbered = [(n, *events[place][1:]) for n, place in enumerate(order.tolist(), start=1)]
        with closing(Sample()) as copy:
            for start in range(0, len(numbered), PAGE):
                copy.add(numbered[start : start + PAGE])
            models.append(copy.fit(Parameters(), 10))
    assert OTHER in models[0].weights
    assert [list(model.weights.items()) for model in models[1:]] == [
        list(models[0].weights.items())
    ] * 2
    assert {model.version for model in models} == {models[0].version}
