"""Claims about hot keys: who turns to them and when, and that nothing else changes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.application.seeding import seed_database
from core.endpoints import CDP
from core.query.database import SqliteDatabase
from core.scenario.population import populate
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.traffic_faults import with_traffic_faults
from core.scenario.warm_start import warm_state
from core.scenario.workload import Workload, generate_workload

TRACK, ATTRIBUTION, JOURNEY, CHANNELS = range(len(CDP.names))
USERS, CONVERSIONS = 300, 200
HOT_OF = {"track": USERS, "attribution": CONVERSIONS, "journey": USERS}


def hot(endpoint: str | None = "journey", value: float = 0.8, at: str = "10s") -> dict[str, Any]:
    """Return a fault that lasts for 20 s."""
    return {"at": at, "for": "20s", "kind": "hot_key", "endpoint": endpoint, "value": value}


def scenario(*faults: dict[str, Any], **fields: Any) -> Scenario:
    """Return 40 s of traffic, the first 5 s of which warm up."""
    traffic = {
        "stages": [{"rate": 200}], "users": USERS, "conversions": CONVERSIONS,
        "mix": {"track": 1, "attribution": 1, "journey": 1, "channels": 1},
    }  # fmt: skip
    data = {"name": "hot", "warm_up": "5s", "duration": "35s", "traffic": traffic}
    return Scenario.model_validate(data | {"faults": list(faults)} | fields)


def due(workload: Workload, endpoint: str, at: float = 10.0) -> NDArray[np.bool_]:
    """Return which requests a fault on *endpoint* may turn."""
    within = (workload.intended >= at) & (workload.intended < at + 20.0)
    chosen: NDArray[np.bool_] = within & (workload.endpoint == CDP.names.index(endpoint))
    return chosen


@given(
    endpoint=st.sampled_from(sorted(HOT_OF)),
    value=st.sampled_from([0.0, 0.05, 0.5, 0.8, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_a_share_of_the_endpoints_requests_within_the_window_turns_and_nothing_else(
    endpoint: str, value: float, seed: int
) -> None:
    asked = scenario(hot(endpoint, value), seed=seed)
    before = generate_workload(asked)
    after = with_traffic_faults(asked, before)
    chosen = due(before, endpoint)
    turned = after.subject == HOT_OF[endpoint]
    turned &= np.isin(after.endpoint, [CDP.names.index(endpoint)])
    assert not np.any(turned & ~chosen)
    assert np.array_equal(after.subject[~turned], before.subject[~turned])
    n = int(chosen.sum())
    assert n > 500
    # Five standard deviations of a binomial; exact at 0 and 1.
    assert abs(int(turned.sum()) - n * value) <= 5 * math.sqrt(n * value * (1 - value))
    for column in ("intended_ns", "endpoint", "isolate"):
        assert np.array_equal(getattr(after, column), getattr(before, column))


def test_the_window_begins_with_its_first_instant_and_ends_before_its_last() -> None:
    instants = [9_999_999_999, 10_000_000_000, 29_999_999_999, 30_000_000_000]
    n = len(instants)
    drawn = Workload(
        intended_ns=np.array(instants, dtype=np.int64),
        endpoint=np.full(n, JOURNEY, dtype=np.uint8),
        subject=np.arange(n, dtype=np.uint32),
        isolate=np.zeros(n, dtype=np.uint16),
        users=n,
        conversions=1,
    )
    assert with_traffic_faults(scenario(hot(value=1.0)), drawn).subject.tolist() == [0, n, n, 3]


def test_the_window_counts_from_the_start_of_the_run_warm_up_included() -> None:
    asked = scenario(hot(at="0s", value=1.0))
    workload = prepare(asked).workload
    turned = workload.intended[(workload.endpoint == JOURNEY) & (workload.subject == USERS)]
    assert turned.min() < asked.warm_up
    assert 19.0 < turned.max() < 20.0


def test_a_hot_key_is_one_of_tracking_where_no_endpoint_is_named() -> None:
    asked = {name: prepare(scenario(hot(name))).workload for name in (None, "track")}
    assert asked[None].identity() == asked["track"].identity()


def test_a_scenario_without_hot_keys_keeps_its_workload() -> None:
    asked = scenario({"at": "1s", "for": "9s", "tier": "l2", "kind": "dead"})
    workload = generate_workload(asked)
    assert with_traffic_faults(asked, workload) is workload


def test_the_workload_that_is_given_is_not_changed() -> None:
    asked = scenario(hot())
    workload = generate_workload(asked)
    identity = workload.identity()
    with_traffic_faults(asked, workload)
    assert workload.identity() == identity


def test_the_same_seed_turns_the_same_requests_and_another_seed_others() -> None:
    def turned(**fields: Any) -> list[int]:
        asked = scenario(hot(), **fields)
        workload = with_traffic_faults(asked, generate_workload(scenario()))
        return np.flatnonzero(workload.subject == USERS).tolist()

    assert turned() == turned()
    assert turned() != turned(seed=2)


def test_replications_turn_requests_of_their_own() -> None:
    asked, drawn = scenario(hot()), generate_workload(scenario())
    first, second = (with_traffic_faults(asked, drawn, replication=n) for n in (0, 1))
    assert first.identity() != second.identity()
    for n, expected in ((0, first), (1, second)):
        again = with_traffic_faults(asked, drawn, replication=n)
        assert again.identity() == expected.identity()


def test_the_identity_of_the_workload_tells_of_its_hot_keys() -> None:
    identities = {
        prepare(scenario(*faults)).workload.identity()
        for faults in ([], [hot()], [hot(value=0.7)], [hot(at="9s")], [hot("track")])
    }
    assert len(identities) == 5


def test_a_higher_share_turns_more_requests_and_keeps_those_that_were_turned() -> None:
    some, more = (
        prepare(scenario(hot(value=value))).workload.subject == USERS for value in (0.3, 0.6)
    )
    assert np.all(more[some])
    assert more.sum() > some.sum()


def test_every_fault_has_a_subject_of_its_own() -> None:
    # A second wave on one endpoint would otherwise meet a key that the first left in the caches.
    faults = [hot("journey", 1.0, at="1s"), hot("journey", 1.0, at="21s"), hot("track", 1.0)]
    workload = prepare(scenario(*faults, hot("attribution", 1.0))).workload
    for endpoint, at, subject in (
        ("journey", 1.0, USERS), ("journey", 21.0, USERS + 1), ("track", 10.0, USERS + 2),
        ("attribution", 10.0, CONVERSIONS),
    ):  # fmt: skip
        assert set(workload.subject[due(workload, endpoint, at)].tolist()) == {subject}
    assert (workload.users, workload.conversions) == (USERS + 3, CONVERSIONS + 1)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Return a trace of 4,000 accesses to 40 profiles, each of a size, and 30 conversions."""
    rows = ["key,endpoint,size"]
    rows += [
        f"k{i % 40},track,{100 + i % 40}" if i % 2 else f"c{i % 30},attribution,1"
        for i in range(4_000)
    ]
    path = tmp_path / "keys.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_requests_of_a_trace_turn_to_a_subject_that_the_trace_does_not_know(trace: Path) -> None:
    fields: dict[str, Any] = {
        "trace": {"file": str(trace), "offset": 1_000},
        "traffic": {"stages": [{"rate": 50}]},
    }
    plain = prepare(scenario(**fields))
    turned = prepare(scenario(hot("track", 1.0), hot("attribution", 1.0), **fields))
    before, after, history = plain.workload, turned.workload, turned.history
    assert history is not None
    assert (after.users, after.conversions) == (before.users + 1, before.conversions + 1)
    for endpoint, subject in (("track", before.users), ("attribution", before.conversions)):
        chosen = due(before, endpoint)
        assert chosen.sum() > 100
        assert set(after.subject[chosen].tolist()) == {subject}
        before_the_window = history.subject[history.endpoint == CDP.names.index(endpoint)]
        assert before_the_window.max() < subject
    untouched = (before.intended < 10.0) | (before.intended >= 30.0)
    assert np.array_equal(after.subject[untouched], before.subject[untouched])
    assert before.profile_bytes is not None
    assert after.profile_bytes is not None
    assert after.profile_bytes.tolist() == [*before.profile_bytes.tolist(), 0]
    assert after.notes == before.notes


@pytest.mark.parametrize("endpoint", sorted(HOT_OF))
def test_no_cache_holds_the_hot_subject_when_the_run_begins(endpoint: str) -> None:
    asked = scenario(hot(endpoint, at="0s"))
    state = warm_state(asked, prepare(asked))
    assert len(state.l2) > 100
    of_type = {
        "track": "lookup_data", "attribution": "attribution", "journey": "user_journeys",
    }[endpoint]  # fmt: skip
    in_l2 = {(held.cache_type, held.subject) for held in state.l2}
    in_l1 = {(kept.cache_type, kept.subject) for kept in state.l1}
    assert (of_type, HOT_OF[endpoint]) not in in_l2 | in_l1


def test_the_database_knows_every_hot_subject() -> None:
    asked = scenario(hot("track"), hot("journey"), hot("attribution"))
    database = SqliteDatabase(None, inline=True)
    seed_database(database.connection, populate(asked, prepare(asked).workload))

    def count(table: str, column: str, name: str) -> int:
        sql = f"SELECT count(*) FROM {table} WHERE {column} = ?"
        return int(database.connection.execute(sql, (name,)).fetchone()[0])

    for user in (f"u{USERS}", f"u{USERS + 1}"):
        assert count("users", "user_id", user) == 1
        assert count("user_journeys", "user_id", user) > 0
    conversion = f"c{CONVERSIONS}"
    assert count("conversions", "conversion_id", conversion) == 1
    assert count("touch_credits", "conversion_id", conversion) > 0
    database.connection.close()
