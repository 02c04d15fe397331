"""Claims about journeys: which touches the SQL gives to a conversion, against plain Python."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attribution.journeys import LOOKBACK_MS, Journey, journeys_of
from core.clock import ManualClock
from core.event import Event
from core.metrics.profiler import LatencyProfiler
from core.query.database import SqliteDatabase
from core.query.queries import Queries
from tests.core.ledger.worlds import DAY_MS, event_lists, world_of

T = 1_767_225_600_000


def touch(name: str, time: int, channel: str = "email", user: str = "u0") -> Event:
    return Event(name, user, "s0", "page_view", time, channel, None, None)


def purchase(name: str, time: int, user: str = "u0", value: float = 10.0) -> Event:
    return Event(f"e-{name}", user, "s0", "purchase", time, "google", name, value)


def stored_journeys(events: Sequence[Event]) -> dict[str, Journey]:
    """Store *events* in a new database and return the journey of each conversion there."""

    async def run() -> dict[str, Journey]:
        database = SqliteDatabase(None, inline=True)
        try:
            queries = Queries(database, ManualClock(), LatencyProfiler())
            for event in events:
                await queries.insert_event(event, "new")
            queued = "SELECT conversion_id FROM conversion_queue ORDER BY conversion_id"
            waiting = [name for (name,) in database.connection.execute(queued)]
            one_by_one = {name: await queries.conversion_journey(name) for name in waiting}
            together = await queries.waiting_journeys(waiting[::-1])
            assert [journey.conversion_id for journey in together] == waiting
            assert {journey.conversion_id: journey for journey in together} == one_by_one
            return {journey.conversion_id: journey for journey in together}
        finally:
            await database.close()

    return asyncio.run(run())


def times_of(events: Sequence[Event], conversion: str = "c") -> list[int]:
    return list(stored_journeys(events)[conversion].times_ms)


@settings(max_examples=300)
@given(event_lists())
def test_journeys_equal_those_of_plain_python(events: list[Event]) -> None:
    world = world_of(events)
    found = stored_journeys(events)
    assert set(found) == set(world.conversions)
    for name, journey in found.items():
        touches = world.journey(name)
        assert list(zip(journey.times_ms, journey.channels, strict=True)) == touches
        expected = world.conversions[name]
        assert (journey.user_id, journey.converted_ms, journey.value) == expected


def test_lookback_of_thirty_days_holds_both_its_ends() -> None:
    ages = [LOOKBACK_MS + 1, LOOKBACK_MS, LOOKBACK_MS - 1, 0]
    events = [touch(f"t{age}", T - age) for age in ages]
    assert times_of([*events, purchase("c", T)]) == [T - age for age in ages[1:]]
    assert LOOKBACK_MS == 30 * DAY_MS


def test_touch_at_the_beginning_of_time_counts() -> None:
    assert times_of([touch("t", 0), purchase("c", 1)]) == [0]


def test_events_after_the_conversion_are_excluded() -> None:
    events = [touch("before", T - 1), purchase("c", T), touch("after", T + 1)]
    assert times_of(events) == [T - 1]


def test_previous_conversion_closes_the_journey() -> None:
    events = [
        touch("a", T - 3), touch("b", T - 2), purchase("earlier", T - 2), touch("d", T - 1),
        purchase("c", T),
    ]  # fmt: skip
    found = stored_journeys(events)
    assert found["earlier"].times_ms == (T - 3, T - 2)
    assert found["c"].times_ms == (T - 1,)


def test_two_conversions_of_one_instant_stay_two_with_the_same_touches() -> None:
    found = stored_journeys([touch("a", T - 1), purchase("c1", T), purchase("c2", T)])
    assert found["c1"].times_ms == found["c2"].times_ms == (T - 1,)


def test_conversion_of_another_user_closes_nothing_and_lends_no_touch() -> None:
    events = [
        touch("a", T - 3), touch("theirs", T - 2, user="u1"), purchase("other", T - 2, user="u1"),
        purchase("c", T),
    ]  # fmt: skip
    assert times_of(events) == [T - 3]


def test_purchases_are_no_touches() -> None:
    assert times_of([purchase("c", T)]) == []


def test_event_delivered_twice_is_one_touch() -> None:
    assert times_of([touch("a", T - 1), touch("a", T - 1), purchase("c", T)]) == [T - 1]


def test_touches_of_one_instant_stand_in_order_of_arrival() -> None:
    events = [touch("z", T - 1, "bing"), touch("a", T - 1, "email"), purchase("c", T)]
    assert stored_journeys(events)["c"].channels == ("bing", "email")


def test_journey_of_more_than_a_hundred_touches_keeps_its_oldest() -> None:
    events = [touch(f"t{age}", T - age) for age in range(250, 0, -1)]
    assert times_of([*events, purchase("c", T)]) == [T - age for age in range(250, 0, -1)]


def test_unknown_conversion_has_no_journey() -> None:
    async def run() -> None:
        database = SqliteDatabase(None, inline=True)
        queries = Queries(database, ManualClock(), LatencyProfiler())
        await queries.insert_event(purchase("c", T, user="u0"), "new")
        assert await queries.conversion_journey("u0") is None
        assert await queries.waiting_journeys([]) == []
        assert await queries.waiting_journeys(["nobody", "u0"]) == []
        await database.close()

    asyncio.run(run())


@given(event_lists(), st.integers(1, 5))
def test_user_journey_is_the_newest_events_oldest_first(events: list[Event], limit: int) -> None:
    async def run() -> list[str]:
        database = SqliteDatabase(None, inline=True)
        queries = Queries(database, ManualClock(), LatencyProfiler())
        for event in events:
            await queries.insert_event(event, "new")
        rows = await queries.user_journey("u0", limit)
        await database.close()
        return [row[0] for row in rows]

    first = {event.event_id: event for event in reversed(events) if event.user_id == "u0"}
    in_order = sorted(first.values(), key=lambda event: (event.timestamp_ms, events.index(event)))
    assert asyncio.run(run()) == [event.event_id for event in in_order][-limit:]


def test_rows_of_a_conversion_become_one_journey() -> None:
    rows = [
        ("c1", "u1", 9, 5.0, 1, "email"),
        ("c1", "u1", 9, 5.0, 2, "bing"),
        ("c2", "u1", 9, 5.0, None, None),
    ]
    first, second = journeys_of(rows)
    assert (first.times_ms, first.channels) == ((1, 2), ("email", "bing"))
    assert (second.conversion_id, second.times_ms, second.channels) == ("c2", (), ())


@pytest.mark.parametrize(
    ("second", "is_new", "converts"),
    [
        (purchase("c", T), False, False),  # delivered twice
        (purchase("c", T)._replace(event_id="e2"), True, False),  # the conversion is known
        (purchase("c", T)._replace(conversion_id="d"), False, True),  # the event is known
        (purchase("d", T), True, True),
        (touch("t", T), True, False),
    ],
)
def test_event_and_conversion_are_new_independently(
    second: Event, is_new: bool, converts: bool
) -> None:
    async def run() -> tuple[bool, bool]:
        database = SqliteDatabase(None, inline=True)
        queries = Queries(database, ManualClock(), LatencyProfiler())
        assert await queries.insert_event(purchase("c", T), "new") == (True, True)
        answer = await queries.insert_event(second, "new")
        await database.close()
        return answer

    assert asyncio.run(run()) == (is_new, converts)
