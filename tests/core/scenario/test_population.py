"""Claims about what a database starts with, and about the events of a run."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from scipy import stats

from core.attribution.models import MODELS
from core.clock import DATA_EPOCH_MS
from core.scenario.population import CHANNELS, Events, channel_name, model_of, populate
from core.scenario.scenario import Scenario
from core.scenario.workload import MODEL_COUNT, Workload, generate_workload

HOUR_MS = 3_600_000


def scenario(**traffic: Any) -> Scenario:
    return Scenario.model_validate(
        {"name": "p", "duration": "2s", "warm_up": "0s", "traffic": traffic}
    )


SIZES = [(300, 100), (100, 300), (50, 50), (1, 1), (1, 20), (20, 1)]


@pytest.mark.parametrize(("users", "conversions"), SIZES)
def test_every_subject_has_its_row_and_every_row_its_owner(users: int, conversions: int) -> None:
    asked = scenario(users=users, conversions=conversions)
    rows = populate(asked, generate_workload(asked))
    assert [user for user, *_ in rows.users] == [f"u{i}" for i in range(users)]
    assert [c[0] for c in rows.conversions] == [f"c{i}" for i in range(conversions)]
    assert [site for site, *_ in rows.sites] == [f"s{i}" for i in range(asked.traffic.sites)]
    known = {user for user, *_ in rows.users}
    assert {touch[1] for touch in rows.touches} == known  # nobody is without a touch
    assert {c[2] for c in rows.conversions} <= known
    events = [touch[0] for touch in rows.touches] + [c[1] for c in rows.conversions]
    assert len(set(events)) == len(events)


@pytest.mark.parametrize(("users", "conversions"), SIZES)
def test_a_conversion_comes_within_a_day_after_its_touches_and_before_the_run(
    users: int, conversions: int
) -> None:
    asked = scenario(users=users, conversions=conversions)
    rows = populate(asked, generate_workload(asked))
    touched: dict[str, list[int]] = defaultdict(list)
    for _, user, _, _, time in rows.touches:
        touched[user].append(time)
    converted: dict[str, list[int]] = defaultdict(list)
    for conversion, _, user, time, value in rows.conversions:
        assert user == f"u{int(conversion[1:]) % users}"
        assert 10 <= value <= 200
        assert value == round(value, 2)
        converted[user].append(time)
        assert any(0 < time - touch <= 24 * HOUR_MS for touch in touched[user])
    for times in converted.values():
        for j, time in enumerate(times):
            hours = (DATA_EPOCH_MS - time) / HOUR_MS
            assert 36 * (j + 1) - 12 <= hours <= 36 * (j + 1)
    assert max(touch[4] for touch in rows.touches) < DATA_EPOCH_MS


def test_touches_have_the_mean_number_and_even_channels() -> None:
    asked = scenario(users=4_000, conversions=1_000, touches_per_user=5, channels=10)
    rows = populate(asked, generate_workload(asked))
    counts: dict[str, int] = defaultdict(int)
    for _, user, *_ in rows.touches:
        counts[user] += 1
    numbers = np.array(list(counts.values()))
    assert (numbers.min(), numbers.max()) == (1, 9)
    assert stats.chisquare(np.bincount(numbers)[1:]).pvalue > 1e-4
    channels: dict[str, int] = defaultdict(int)
    for *_, channel, _ in rows.touches:
        channels[channel] += 1
    assert set(channels) == {channel_name(i) for i in range(10)}
    assert stats.chisquare(list(channels.values())).pvalue > 1e-4


def test_the_population_is_a_function_of_scenario_and_seed() -> None:
    asked = scenario()
    workload = generate_workload(asked)
    assert populate(asked, workload) == populate(asked, generate_workload(asked, replication=3))
    assert populate(asked.model_copy(update={"seed": 2}), workload) != populate(asked, workload)


def test_profiles_have_the_sizes_of_the_trace() -> None:
    asked = scenario(users=3)
    drawn = generate_workload(asked)
    columns = {name: getattr(drawn, name) for name in Workload.__dataclass_fields__}
    workload = Workload(**columns | {"profile_bytes": np.array([5, 0])})
    assert [len(user[2]) for user in populate(asked, workload).users] == [5, 0, 0]


def test_channels_beyond_the_named_ones_have_names_of_their_own() -> None:
    names = [channel_name(i) for i in range(1_000)]
    assert names[: len(CHANNELS)] == list(CHANNELS)
    assert len(set(names)) == 1_000


def test_every_model_is_asked_for() -> None:
    assert len(MODELS) == MODEL_COUNT == 7
    assert [model_of(i) for i in range(2 * MODEL_COUNT)] == [*range(MODEL_COUNT)] * 2


def test_an_event_is_addressed_by_its_index_whatever_came_before() -> None:
    one, other = (Events(scenario(), run_id="r") for _ in range(2))
    forward = [one.event(i, i % 7, i * 10**6) for i in range(3_000)]
    backward = [other.event(i, i % 7, i * 10**6) for i in reversed(range(3_000))]
    assert forward == backward[::-1]


def test_ids_of_two_runs_differ_and_nothing_else_does() -> None:
    first, second = (Events(scenario(conversion_share=0.5), run_id=r) for r in ("a", "b"))
    for index in range(200):
        x, y = first.event(index, index, index), second.event(index, index, index)
        assert x.event_id != y.event_id
        assert (x.conversion_id is None) == (y.conversion_id is None)
        assert x.conversion_id is None or x.conversion_id != y.conversion_id
        assert x._replace(event_id="", conversion_id=None) == y._replace(
            event_id="", conversion_id=None
        )


@pytest.mark.parametrize("share", [0.0, 0.06, 0.5, 1.0])
def test_events_are_conversions_as_often_as_the_scenario_says(share: float) -> None:
    events = Events(scenario(conversion_share=share), run_id="r")
    drawn = [events.event(i, i, 0) for i in range(20_000)]
    converted = [event for event in drawn if event.conversion_id is not None]
    deviation = np.sqrt(share * (1 - share) / len(drawn))
    assert abs(len(converted) / len(drawn) - share) <= 5 * deviation
    for event in drawn:
        if event.conversion_id is None:
            assert (event.event_name, event.value) == ("page_view", None)
        else:
            assert event.event_name == "purchase"
            assert event.value is not None
            assert 10 <= event.value < 200


def test_an_event_is_about_its_subject_at_its_time() -> None:
    event = Events(scenario(sites=7), run_id="r").event(3, 25, 1_999_999)
    assert (event.user_id, event.site_id, event.event_id) == ("u25", "s4", "r-3")
    assert event.timestamp_ms == DATA_EPOCH_MS + 1
