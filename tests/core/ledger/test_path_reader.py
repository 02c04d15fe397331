"""Claims about journeys in bulk: those of one conversion at a time, in any cut and window."""

from __future__ import annotations

import asyncio
import sqlite3
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attribution.journeys import LOOKBACK_MS
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths
from core.clock import ManualClock
from core.errors import InputError
from core.event import Event
from core.ledger import path_reader
from core.ledger.connections import open_reader
from core.ledger.database_account import Survey, account_of_database, fit_database
from core.ledger.path_reader import Window, read_paths, user_ranges
from core.metrics.profiler import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries
from core.query.statements import INSERT_CONVERSION, INSERT_EVENT
from tests.core.attribution.flat import channels_of
from tests.core.ledger.worlds import TIMES, event_lists, world_of

T = 1_767_225_600_000
Walk = tuple[str, tuple[int, ...], tuple[str, ...], float]


def touch(
    name: str, time: int, channel: str = "email", user: str = "u0", event: str = "page_view"
) -> Event:
    return Event(name, user, "s0", event, time, channel, None, None)


def purchase(name: str, time: int, user: str = "u0", value: float = 10.0) -> Event:
    return Event(f"e-{name}", user, "s0", "purchase", time, "google", name, value)


def fill(database: SqliteDatabase, events: Sequence[Event]) -> None:
    async def run() -> None:
        queries = Queries(database, ManualClock(), LatencyProfiler())
        for event in events:
            await queries.insert_event(event, "new")

    asyncio.run(run())


def walks(paths: Paths) -> list[Walk]:
    """Return (conversion id, times, channels, value) of each path."""
    assert paths.conversion_ids is not None
    assert paths.times_ms is not None
    bounds = zip(paths.offsets, paths.offsets[1:], strict=False)
    return [
        (
            paths.conversion_ids[number],
            tuple(paths.times_ms[a:b].tolist()),
            tuple(channels_of(paths, number)),
            float(paths.values[number]),
        )
        for number, (a, b) in enumerate(bounds)
    ]


def scanned(
    events: Sequence[Event],
    *,
    parameters: Parameters | None = None,
    touches: int = 1_000,
    window: Window | None = None,
) -> list[Walk]:
    """Store *events* in a new database and return what scanning it gives."""
    database = SqliteDatabase(None, inline=True)
    with closing(database.connection):
        fill(database, events)
        return [
            walk
            for users in user_ranges(database.connection, touches=touches)
            for walk in walks(
                read_paths(
                    database.connection, parameters or Parameters(), users=users, window=window,
                    with_ids=True,
                )
            )
        ]  # fmt: skip


def _with_own(events: Sequence[Event]) -> list[Walk]:
    """Return the journeys of conversions, their own events among the touches, by plain Python."""
    unique = [*{event.event_id: event for event in events}.values()]  # in order of arrival
    found = []
    for buy in unique:
        if buy.conversion_id is None:
            continue
        before = [
            e.timestamp_ms for e in unique
            if e.conversion_id and e.user_id == buy.user_id and e.timestamp_ms < buy.timestamp_ms
        ]  # fmt: skip
        begin = max([buy.timestamp_ms - LOOKBACK_MS - 1, *before])
        seen = sorted(
            (
                e for e in unique
                if e.user_id == buy.user_id and begin < e.timestamp_ms <= buy.timestamp_ms
                and e.conversion_id in (None, buy.conversion_id)
            ),
            key=lambda e: e.timestamp_ms,
        )  # fmt: skip
        times, channels = tuple(e.timestamp_ms for e in seen), tuple(e.utm_source for e in seen)
        found.append((buy.conversion_id, times, channels, buy.value or 0.0))
    return sorted(found)


@settings(max_examples=200)
@given(event_lists(), st.integers(1, 20), st.booleans())
def test_journeys_equal_those_of_the_query_for_one_conversion(
    events: list[Event], touches: int, own: bool
) -> None:
    database = SqliteDatabase(None, inline=True)
    parameters = Parameters(own_event=own)

    async def one_by_one() -> list[Walk]:
        queries = Queries(database, ManualClock(), LatencyProfiler(), parameters=parameters)
        found = []
        known = database.connection.execute(
            "SELECT conversion_id FROM conversions WHERE processed = 0 ORDER BY conversion_id"
        )
        for (name,) in known.fetchall():
            journey = await queries.conversion_journey(name)
            assert journey is not None
            found.append((name, journey.times_ms, journey.channels, journey.value))
        return found

    with closing(database.connection):
        fill(database, events)
        in_bulk = [
            walk
            for users in user_ranges(database.connection, touches=touches)
            for walk in walks(
                read_paths(database.connection, parameters, users=users, with_ids=True)
            )
        ]
        converting = sorted(walk for walk in in_bulk if walk[0])
        assert converting == sorted(asyncio.run(one_by_one()))
        if own:
            assert converting == _with_own(events)


def test_event_sent_with_two_conversions_is_a_touch_of_the_one_it_was_stored_with() -> None:
    events = [
        touch("t", T - 5), purchase("c1", T), purchase("c2", T)._replace(event_id="e-c1"),
    ]  # fmt: skip
    database = SqliteDatabase(None, inline=True)
    parameters = Parameters(own_event=True)

    async def one_by_one() -> list[tuple[str, ...]]:
        queries = Queries(database, ManualClock(), LatencyProfiler(), parameters=parameters)
        found = await queries.waiting_journeys(["c1", "c2"])
        return [journey.channels for journey in found]

    with closing(database.connection):
        fill(database, events)
        in_bulk = walks(read_paths(database.connection, parameters, with_ids=True))
        assert [channels for _, _, channels, _ in in_bulk] == [("email", "google"), ("email",)]
        assert asyncio.run(one_by_one()) == [("email", "google"), ("email",)]


@settings(max_examples=200)
@given(event_lists(), st.sampled_from([None, *TIMES]), st.sampled_from([None, *TIMES]))
def test_window_chooses_conversions_and_paths_as_they_were_at_its_end(
    events: list[Event], start: int | None, end: int | None
) -> None:
    if start is not None and end is not None and start >= end:
        return
    window = Window(start_ms=start, end_ms=end)
    world = world_of(events)

    def inside(time: int) -> bool:
        return (start is None or time >= start) and (end is None or time < end)

    expected: list[Walk] = []
    for name, (_, converted, value) in world.conversions.items():
        if inside(converted):
            seen = world.journey(name)
            expected.append((name, tuple(t for t, _ in seen), tuple(c for _, c in seen), value))
    for user, touches in world.touches.items():
        known = [t for t in touches if end is None or t[0] < end]
        ends = [
            time
            for owner, time, _ in world.conversions.values()
            if owner == user and (end is None or time < end)
        ]
        rest = [t for t in sorted(known, key=lambda t: t[0]) if all(t[0] > e for e in ends)]
        if rest and inside(rest[-1][0]):
            rest = [t for t in rest if t[0] >= rest[-1][0] - LOOKBACK_MS]
            expected.append(("", tuple(t for t, _ in rest), tuple(c for _, c in rest), 0.0))
    assert sorted(scanned(events, window=window)) == sorted(expected)


@settings(max_examples=100)
@given(event_lists())
def test_slips_of_a_touchs_time_change_no_other_journey(events: list[Event]) -> None:
    whole = scanned(events)
    # 2^53 - 1 is the latest that the service takes; with many users keys of it would overflow.
    slip = touch("slip", 2**53 - 1, "slipped", user="someone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(path_reader, "_WIDEST", 2)
        assert scanned(events) == whole
        found = scanned([*events, slip])
    assert sorted(found) == sorted([*whole, ("", (2**53 - 1,), ("slipped",), 0.0)])


def test_one_far_timestamp_among_many_users_is_one_path_more() -> None:
    events = [touch(f"t{n}", T + n, user=f"u{n}") for n in range(600)]
    found = scanned([*events, touch("slip", 2**53 - 1, user="slip")], touches=10_000)
    assert len(found) == 601


def test_ranges_bound_conversions_of_users_without_touches() -> None:
    database = SqliteDatabase(None, inline=True)
    with closing(database.connection) as connection:
        connection.executemany(
            INSERT_CONVERSION.sql, [(f"c{n:03}", f"e{n}", f"u{n:03}", T, 1.0) for n in range(100)]
        )
        ranges = [*user_ranges(connection, touches=10)]
        assert len(ranges) == 10
        found = [
            walk
            for users in ranges
            for walk in walks(read_paths(connection, Parameters(), users=users, with_ids=True))
        ]
    assert [name for name, *_ in found] == [f"c{n:03}" for n in range(100)]


def test_user_with_more_touches_than_a_range_stays_whole() -> None:
    events = [touch(f"t{n}", T - n, user=user) for user in ("a", "b", "c") for n in range(9)]
    events = [Event(f"{e.user_id}{e.event_id}", *e[1:]) for e in events]
    assert [len(times) for _, times, _, _ in scanned(events, touches=2)] == [9, 9, 9]


def test_conversion_of_a_user_without_touches_is_a_path_without_touches() -> None:
    events = [touch("t", T - 1, user="b"), purchase("c", T, user="zz"), purchase("d", T, user="a")]
    assert ("c", (), (), 10.0) in scanned(events, touches=1)
    assert ("d", (), (), 10.0) in scanned(events, touches=1)


def test_first_event_of_its_name_marks_a_milestone() -> None:
    events = [
        touch("a", T - 5), touch("b", T - 4, event="signup"), touch("c", T - 3, event="offer"),
        touch("d", T - 2, event="signup"), purchase("p", T), purchase("q", T, user="u1"),
    ]  # fmt: skip
    database = SqliteDatabase(None, inline=True)
    with closing(database.connection):
        fill(database, events)
        paths = read_paths(
            database.connection, Parameters(milestones=("signup", "offer")), with_ids=True
        )
    assert paths.lead is not None
    assert paths.opportunity is not None
    assert paths.conversion_ids == ("p", "q")
    assert (paths.lead.tolist(), paths.opportunity.tolist()) == ([1, -1], [2, -1])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return the file of a database with 300 users, 120 conversions of theirs and 2,000 touches."""
    rng = np.random.default_rng(5)
    file = tmp_path / "shop.db"
    database = SqliteDatabase(file, inline=True)
    with closing(database.connection):
        events = [
            touch(f"t{n}", T - int(rng.integers(0, 40 * 86_400_000)), f"ch{rng.integers(0, 6)}",
                  f"u{rng.integers(0, 300)}")
            for n in range(2_000)
        ]  # fmt: skip
        events += [
            purchase(f"c{n}", T - int(rng.integers(0, 9 * 86_400_000)), f"u{rng.integers(0, 310)}",
                     float(rng.integers(1, 900)) / 7)
            for n in range(120)
        ]  # fmt: skip
        fill(database, events)
    return file


def survey(file: Path, **changes: Any) -> Survey:
    return Survey(file=file, parameters=Parameters(), touches_per_range=150, **changes)


def test_figures_are_the_same_bit_by_bit_with_several_processes(shop: Path) -> None:
    # Whatever this process has loaded, the others use the same engine.
    pytest.importorskip("numba")
    one, two = (account_of_database(survey(shop), jobs=jobs) for jobs in (1, 2))
    assert one == two
    assert len(one.models) == 7
    assert one.fitted is not None
    assert one.fitted.version == fit_database(survey(shop)).version


def test_journeys_that_wait_in_files_give_the_same_figures(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = account_of_database(survey(shop))
    monkeypatch.setattr("core.ledger.database_account.MEMORY_BYTES", 5_000)
    assert account_of_database(survey(shop)) == in_memory


def test_transitions_merged_in_between_are_those_merged_at_the_end(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for parts in (2, 3, 10**6):
        monkeypatch.setattr("core.ledger.database_account._PARTS", parts)
        found.add(fit_database(survey(shop)).version)
    assert len(found) == 1


def test_names_of_channels_come_back_whole_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "odd.db"
    database = SqliteDatabase(file, inline=True)
    with closing(database.connection):
        fill(database, [touch("a", 10, "end\0"), touch("b", 11, ""), purchase("c", 12)])
    in_memory = account_of_database(survey(file))
    monkeypatch.setattr("core.ledger.database_account.MEMORY_BYTES", 0)
    assert account_of_database(survey(file)) == in_memory
    assert {row.channel for row in in_memory.rows} == {"end\0", ""}


def _peak(file: Path, users: int, call: Callable[[Path], object]) -> int:
    """Return the most bytes that *call* held at a time, on a database of *users* with 5 touches."""
    database = SqliteDatabase(file, inline=True)
    with closing(database.connection) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            INSERT_EVENT.sql,
            ((f"{u}-{n}", f"u{u:07}", "view", f"ch{(u + n * n) % 7}", T + n, None, None)
             for u in range(users) for n in range(5)),
        )  # fmt: skip
        connection.executemany(
            INSERT_CONVERSION.sql,
            ((f"c{u}", f"p{u}", f"u{u:07}", T + 9, 1.0) for u in range(0, users, 3)),
        )
        connection.execute("COMMIT")
    call(file)  # what is loaded only once
    tracemalloc.start()
    try:
        call(file)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", [1, 3])
def test_memory_does_not_grow_with_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    monkeypatch.setattr("core.ledger.database_account.MEMORY_BYTES", 100_000)

    def account(file: Path) -> object:
        asked = Survey(file=file, parameters=Parameters(order=order), touches_per_range=1_000)
        return account_of_database(asked, engine="numpy"), fit_database(asked)

    small = _peak(tmp_path / "small.db", 2_000, account)
    assert _peak(tmp_path / "large.db", 16_000, account) < 1.5 * small


def test_every_model_shares_out_every_conversion_with_a_touch(shop: Path) -> None:
    account = account_of_database(survey(shop))
    with closing(sqlite3.connect(shop)) as connection:
        count, value = connection.execute("SELECT count(*), sum(value) FROM conversions").fetchone()
    assert account.attributed + account.untouched == count
    assert account.value + account.untouched_value == pytest.approx(value)
    for model in account.models:
        rows = [row for row in account.rows if row.model == model]
        assert sum(row.conversions for row in rows) == pytest.approx(account.attributed, abs=1e-9)
        assert sum(row.value for row in rows) == pytest.approx(account.value, rel=1e-12)
        if model == "data_driven":
            assert sum(row.removal_conversions or 0 for row in rows) == pytest.approx(
                account.attributed, abs=1e-9
            )


def test_channel_whose_touches_lie_outside_of_the_window_has_no_row() -> None:
    events = [
        touch("a", T - 9, "old"), purchase("c", T - 8), touch("b", T - 1, "new"), purchase("d", T)
    ]  # fmt: skip
    database = SqliteDatabase(None, inline=True)
    with closing(database.connection):
        fill(database, events)
        paths = read_paths(database.connection, Parameters(), window=Window(start_ms=T))
    assert paths.channels == ("new",)
    assert paths.codes.tolist() == [0]


def test_windows_that_meet_add_up_to_the_whole(shop: Path) -> None:
    middle = T - 4 * 86_400_000
    whole = account_of_database(survey(shop), models=["linear"])
    halves = [
        account_of_database(survey(shop, window=window), models=["linear"])
        for window in (Window(end_ms=middle), Window(start_ms=middle))
    ]
    assert all(half.attributed for half in halves)
    assert sum(half.attributed for half in halves) == whole.attributed
    assert sum(half.untouched for half in halves) == whole.untouched


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE user_journeys SET event_timestamp = 'soon' WHERE id = 7", "'soon'"),
        ("UPDATE user_journeys SET event_timestamp = 1.5 WHERE id = 7", "1.5"),
        ("UPDATE conversions SET value = 'free'", "'free'"),
        ("DROP TABLE conversions", "has no table conversions"),
    ],
)
def test_unusable_data_is_named(shop: Path, change: str, said: str) -> None:
    with closing(sqlite3.connect(shop)) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(InputError, match=said):
        account_of_database(survey(shop))


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("hello, this is no database at all\n" * 50)
    with pytest.raises(InputError, match="not a usable database"):
        open_reader(file)
    with pytest.raises(InputError, match="there is no such file"):
        open_reader(tmp_path / "missing.db")


def test_empty_window_is_refused() -> None:
    with pytest.raises(InputError, match="is empty"):
        Window(start_ms=5, end_ms=5)


def test_touch_before_the_epoch_is_none() -> None:
    # As in the query for one conversion: times are whole milliseconds from 0 on.
    events = [touch("a", -5), touch("b", 0), purchase("c", 1), touch("d", -7, user="u1")]
    assert scanned(events) == [("c", (0,), ("email",), 10.0)]
