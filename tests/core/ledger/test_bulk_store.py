"""Claims about storing in bulk: what the batch processor would store, once, whatever interrupts."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attribution.journeys import Journey, journeys_of
from core.attribution.models import MODELS, touch_credits
from core.attribution.names import DIRECT
from core.attribution.parameters import OTHER, Parameters
from core.attribution.scheme import Scheme
from core.clock import ManualClock
from core.context import Span
from core.delivery.document import delivery_document
from core.errors import InputError
from core.event import Event
from core.ledger.bulk_store import store_waiting
from core.ledger.connections import open_writer
from core.ledger.fitted_models import keep_model, newest_row
from core.ledger.one_by_one import Stored
from core.ledger.processor import BatchAttributionProcessor
from core.ledger.recount import recount
from core.ledger.sample import MOST_CHANNELS, fit_newest
from core.metrics.profiler import LatencyProfiler
from core.query import statements
from core.query.database import SqliteDatabase
from core.query.queries import Queries
from core.scenario.attribution import Attribution
from tests.core.ledger.shop import T, purchase, touch
from tests.core.ledger.worlds import event_lists, world_of


class Files:
    """A database in a file, filled and read by connections that do not overlap with others'."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cdp.sqlite"

    def add(self, events: Sequence[Event]) -> None:
        async def run() -> None:
            database = SqliteDatabase(self.file, inline=True)
            queries = Queries(database, ManualClock(), LatencyProfiler())
            for event in events:
                await queries.insert_event(event, "new")
            await database.close()

        asyncio.run(run())

    def process(self, ids: Sequence[str], scheme: Scheme | None = None) -> None:
        async def run() -> None:
            database = SqliteDatabase(self.file, inline=True)
            queries = Queries(database, ManualClock(), LatencyProfiler())
            in_force = scheme or Scheme()
            processor = BatchAttributionProcessor(
                queries, now_ms=lambda: T, in_force=lambda _: in_force
            )
            await processor.process(Span(is_batch=True), ids)
            await database.close()

        asyncio.run(run())

    def fitted(self) -> Scheme:
        """Return the scheme of a model that is fitted on what is there, and kept with it."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            keep_model(connection, fit_newest(connection, Attribution(min_conversions=1)), T)
            return Scheme(Parameters(), newest_row(connection))

    def store(self, *, events_per_range: int = 50_000, **more: Any) -> Stored:
        with closing(open_writer(self.file)) as connection:
            return store_waiting(
                connection, more.pop("scheme", Scheme()), now_ms=T,
                events_per_range=events_per_range, **more,
            )  # fmt: skip

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(sql).fetchall()

    def differences(self) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as connection:
            return [*recount(connection)]

    def contents(self) -> dict[str, list[Any]]:
        """Return every row that attribution writes or deletes."""
        tables = (
            "conversions", "touch_credits", "channel_performance", "conversion_queue",
            "dead_letters",
        )  # fmt: skip
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


def same(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> bool:
    """Return whether both hold the same rows, but for the last bits of the floats."""
    return one.keys() == other.keys() and all(
        [*map(len, one[table])] == [*map(len, other[table])]
        and all(
            x == (pytest.approx(y, rel=1e-9, abs=1e-12) if isinstance(y, float) else y)
            for a, b in zip(one[table], other[table], strict=True)
            for x, y in zip(a, b, strict=True)
        )
        for table in one
    )


@settings(max_examples=30)
@given(event_lists(), st.integers(1, 6), st.data())
def test_bulk_stores_what_the_processor_stores_conversion_by_conversion(
    events: list[Event], events_per_range: int, data: st.DataObject
) -> None:
    ids = sorted(world_of(events).conversions)
    done = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
    has_model = data.draw(st.booleans())
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        bulk, single = Files(Path(one)), Files(Path(other))
        for files in (bulk, single):
            files.add(events)
            files.process(done)
        schemes = [files.fitted() if has_model else Scheme() for files in (bulk, single)]
        assert schemes[0].version == schemes[1].version
        single.process(ids, schemes[1])
        stored = bulk.store(events_per_range=events_per_range, scheme=schemes[0])
        assert same(bulk.contents(), single.contents())
        assert stored.conversions == len(ids) - len(done)
        assert bulk.differences() == []
        assert bulk.store(events_per_range=events_per_range, scheme=schemes[0]) == Stored()
        assert same(bulk.contents(), single.contents())


def test_rare_channels_weigh_in_bulk_what_they_weigh_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MOST_CHANNELS, 1, 1)
    events = [
        touch("a", T - 40, "email"), touch("b", T - 30, "email"), touch("c", T - 20, "rare"),
        touch("d", T - 10, "rarer"), purchase("c1"),
        touch("e", T - 9, "email")._replace(user_id="u1"),
        touch("f", T - 9, "rare")._replace(user_id="u2"), purchase("c2")._replace(user_id="u2"),
    ]  # fmt: skip
    for name in ("bulk", "single"):
        (tmp_path / name).mkdir()
    bulk, single = Files(tmp_path / "bulk"), Files(tmp_path / "single")
    for files in (bulk, single):
        files.add(events)
    scheme = bulk.fitted()
    assert set(scheme.weights) == {"email", OTHER}
    assert scheme.weights[OTHER] > scheme.weights["email"] > 0
    single.process(["c1", "c2"], single.fitted())
    bulk.store(scheme=scheme)
    assert same(bulk.contents(), single.contents())


def test_credits_of_other_parameters_are_not_mixed(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.add([touch("e1", T - 5), purchase("c1", T), purchase("c2", T + 5)])
    files.process(["c1"])
    before = files.contents()
    with pytest.raises(InputError, match="credits of other attribution parameters"):
        files.store(scheme=Scheme(Parameters(half_life_ms=1_000)))
    assert files.contents() == before
    assert files.store().conversions == 1


@settings(max_examples=20)
@given(event_lists(), st.booleans())
def test_what_is_put_out_is_what_the_processor_would_forward(
    events: list[Event], has_model: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        files.add(events)
        scheme = files.fitted() if has_model else Scheme()
        with closing(sqlite3.connect(files.file)) as connection:
            ids = json.dumps(sorted(world_of(events).conversions))
            rows = connection.execute(
                statements.WAITING_JOURNEYS.sql, (scheme.parameters.lookback_ms, ids)
            )
            journeys = journeys_of(rows.fetchall())
        expected = {j.conversion_id: delivery_document(j, scheme.credits(j)) for j in journeys}
        files.store(scheme=scheme, forwards=True, events_per_range=3)
        found = dict(files.rows("SELECT conversion_id, document FROM outbox"))
        assert found.keys() == expected.keys()
        for name, document in found.items():
            ours, theirs = json.loads(document), json.loads(expected[name])
            assert credits_in(ours) == pytest.approx(credits_in(theirs), abs=1e-12)
            assert without_credits(ours) == without_credits(theirs)


def credits_in(document: dict[str, Any]) -> list[float]:
    return [credit for t in document["touchpoints"] for credit in t["credits"].values()]


def without_credits(document: dict[str, Any]) -> dict[str, Any]:
    touches = [{**touch, "credits": [*touch["credits"]]} for touch in document["touchpoints"]]
    return {**document, "touchpoints": touches}


@settings(max_examples=30)
@given(event_lists())
def test_bulk_credits_under_other_parameters_are_those_of_single_journeys(
    events: list[Event],
) -> None:
    parameters = Parameters(
        direct="ignore unless all direct", half_life_ms=3_600_000, u_shape=(0.5, 0.3, 0.2)
    )
    world = world_of(events)
    expected = []
    for name, (_, converted, _) in sorted(world.conversions.items()):
        touches = world.journey(name)
        times, channels = [time for time, _ in touches], [channel for _, channel in touches]
        shares = [
            touch_credits(model, times, channels, converted, parameters, weights={})
            for model in MODELS
        ]
        expected += [
            (name, position, len(touches), channel, *(share[position] for share in shares))
            for position, channel in enumerate(channels)
        ]
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        files.add(events)
        files.store(scheme=Scheme(parameters))
        names = ", ".join(MODELS)
        found = files.rows(
            f"SELECT conversion_id, touchpoint_index, touchpoints, utm_source, {names}"
            " FROM touch_credits ORDER BY 1, 2"
        )
        assert [row[:4] for row in found] == [row[:4] for row in expected]
        for row, wanted in zip(found, expected, strict=True):
            assert row[4:] == pytest.approx(wanted[4:], rel=1e-9, abs=1e-12)
        assert files.differences() == []


@pytest.fixture
def without_apsw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let apsw be missing: two SQLite libraries in one process do not see each other's locks."""
    monkeypatch.setitem(sys.modules, "apsw", None)


def shop(folder: Path, users: int = 4) -> Files:
    """Return a database in which each of *users* has a touch, a direct one and a conversion."""
    files = Files(folder)
    for number in range(users):
        user = f"u{number}"
        files.add(
            [
                touch(f"t{number}", T - 20)._replace(user_id=user),
                touch(f"d{number}", T - 10, DIRECT)._replace(user_id=user),
                purchase(f"c{number}")._replace(user_id=user),
            ]
        )
    return files


def test_an_interrupt_keeps_what_is_done_and_the_next_run_ends_it(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    files, whole = shop(tmp_path), shop(tmp_path / "whole")
    whole.store()

    def interrupt(share: float, stored: Stored) -> None:
        if stored.conversions == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.store(events_per_range=3, on_progress=interrupt)
    assert files.rows("SELECT sum(processed) FROM conversions") == [(2,)]
    assert files.rows("SELECT count(*) FROM conversion_queue") == [(2,)]
    assert files.differences() == []
    assert files.store(events_per_range=3).conversions == 2
    assert same(files.contents(), whole.contents())


def test_a_fault_within_a_range_leaves_nothing_of_it(tmp_path: Path) -> None:
    files = shop(tmp_path)
    before = files.contents()
    with closing(sqlite3.connect(files.file)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON channel_totals"
            " BEGIN SELECT raise(ABORT, 'the disk is full'); END"
        )
    with pytest.raises(InputError, match=r"cannot be written \(.*the disk is full"):
        files.store()
    assert files.contents() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE conversions SET value = 'dear' WHERE conversion_id = {}", "value is 'dear'"),
        ("UPDATE conversions SET value = 9e999 WHERE conversion_id = {}", "value is inf"),
        (
            "UPDATE conversions SET conversion_timestamp = 'now' WHERE conversion_id = {}",
            "conversion_timestamp is 'now'",
        ),
        (
            "UPDATE user_journeys SET event_timestamp = event_timestamp - 0.5 WHERE id ="
            " (SELECT min(j.id) FROM user_journeys AS j JOIN conversions AS c USING (user_id)"
            " WHERE c.conversion_id = {} AND j.conversion_id IS NULL)",
            "event_timestamp of a touch is",
        ),
        (
            "UPDATE user_journeys SET utm_source = x'00ff' WHERE id ="
            " (SELECT min(j.id) FROM user_journeys AS j JOIN conversions AS c USING (user_id)"
            " WHERE c.conversion_id = {} AND j.conversion_id IS NULL)",
            "utm_source of a touch is b'",
        ),
    ],
)
@pytest.mark.parametrize("forwards", [False, True])
def test_what_cannot_be_used_is_a_dead_letter_and_stops_no_other(
    tmp_path: Path, change: str, reason: str, forwards: bool
) -> None:
    (tmp_path / "whole").mkdir()
    whole, files = shop(tmp_path / "whole"), shop(tmp_path)
    with closing(sqlite3.connect(files.file)) as connection, connection:
        assert connection.execute(change.format("'c1'")).rowcount == 1
    whole.store(forwards=forwards)
    stored = files.store(forwards=forwards)
    assert (stored.conversions, stored.rejected) == (3, 1)
    [(name, attempts, why, died)] = files.contents()["dead_letters"]
    assert (name, attempts, died) == ("c1", 1, T)
    assert why.startswith(reason)
    assert files.contents()["conversion_queue"] == []
    for table in ("touch_credits", "outbox"):
        sql = f"SELECT * FROM {table} WHERE conversion_id <> 'c1' ORDER BY 1, 2"
        assert files.rows(sql) == whole.rows(sql)
    assert files.differences() == []
    again = files.store(forwards=forwards)  # it is still wrong, and still alone
    assert (again.conversions, again.rejected) == (0, 1)


def test_dead_letters_are_stored_and_dead_no_more(tmp_path: Path) -> None:
    files = shop(tmp_path)
    with closing(sqlite3.connect(files.file)) as connection, connection:
        connection.execute("DELETE FROM conversion_queue WHERE conversion_id = 'c1'")
        connection.execute("INSERT INTO dead_letters VALUES ('c1', 3, 'away', 0)")
    assert files.store().conversions == 4
    assert files.contents()["dead_letters"] == files.contents()["conversion_queue"] == []


@pytest.mark.usefixtures("without_apsw")
def test_a_consumer_that_read_before_counts_nothing_twice(tmp_path: Path) -> None:
    files = shop(tmp_path)
    ids = [f"c{number}" for number in range(4)]

    class Overtaken(Queries):
        """Its first read of journeys is followed by storing in bulk, before anything is written."""

        __slots__ = ("reads",)

        async def waiting_journeys(self, conversion_ids: Sequence[str]) -> list[Journey]:
            found = await super().waiting_journeys(conversion_ids)
            self.reads: list[int] = [*getattr(self, "reads", []), len(found)]
            if len(self.reads) == 1:
                assert files.store().conversions == 4
            return found

    async def consume() -> list[int]:
        database = SqliteDatabase(files.file, inline=True)
        queries = Overtaken(database, ManualClock(), LatencyProfiler())
        processor = BatchAttributionProcessor(queries, now_ms=lambda: T)
        # Every row is refused, and then none of them waits: nothing is wrong with any.
        assert await processor.process(Span(is_batch=True), ids) == {}
        assert processor.processed == 0
        await database.close()
        return queries.reads

    assert asyncio.run(consume()) == [4, 0]
    assert files.differences() == []
    assert files.rows("SELECT DISTINCT total_conversions FROM channel_performance") == [(4,)]


@pytest.mark.usefixtures("without_apsw")
def test_a_database_that_another_holds_is_one_line(tmp_path: Path) -> None:
    files = shop(tmp_path)
    with (
        closing(sqlite3.connect(files.file, isolation_level=None)) as other,
        closing(open_writer(files.file)) as connection,
    ):
        other.execute("BEGIN IMMEDIATE")
        connection.execute("PRAGMA busy_timeout = 1").fetchall()
        with pytest.raises(InputError, match="see that nothing else holds it"):
            store_waiting(connection, Scheme(), now_ms=T)
        other.execute("ROLLBACK")
        assert store_waiting(connection, Scheme(), now_ms=T).conversions == 4


def test_both_drivers_store_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for name in ("fast", "plain"):
        if name == "plain":
            monkeypatch.setitem(sys.modules, "apsw", None)
        (tmp_path / name).mkdir()
        files = shop(tmp_path / name)
        files.store(events_per_range=5)
        contents.append(files.contents())
    assert contents[0] == contents[1]
