"""Claims about the cache of rows in the simulation: what it answers costs no database."""

from __future__ import annotations

from typing import Any

import pytest

from core.metrics.record import RunRecord
from core.query.cache import ENTRY_OVERHEAD
from sim.replications import Replications
from sim.simulate import simulate
from tests.sim.runs import ONLY_CHANNELS, ONLY_JOURNEYS, small_scenario

CONSTANT = {"round_trip": "20ms", "read_execution": "1ms", "write_execution": "1ms"}


def recorded(ttl: str, *, mix: dict[str, int] = ONLY_CHANNELS, **tiers: Any) -> RunRecord:
    """Return the run of a scenario whose requests each load: their L1 ends with them."""
    scenario = small_scenario(
        traffic={"mix": mix},
        start="cold",
        tiers={
            "l1": {"scope": "request"},
            "l2": {"ttl": {"channel_metrics": "1ms", "user_journeys": "1ms"}},
            "l3": CONSTANT,
            "query_cache": {"ttl": ttl, **tiers},
        },
    )
    return simulate(scenario, replications=0).record


def test_rows_that_the_cache_has_cost_neither_a_round_trip_nor_an_execution() -> None:
    without, cached = recorded("0s"), recorded("60s")
    assert "query_cache_hits" not in without.counters
    hits = cached.counters["query_cache_hits"]
    assert hits > 200
    assert cached.counters["l3_operations"] + hits == cached.counters["loads"]
    assert without.counters["l3_operations"] == without.counters["loads"] > 200
    assert without.stages["query"].quantile(0.01) >= 0.021 * 0.99
    assert cached.stages["query"].quantile(0.5) == 0
    assert cached.stages["query"].count > 200
    assert "l3" not in cached.stages  # of the measured part


def test_its_bytes_are_part_of_the_memory() -> None:
    def memory(record: RunRecord) -> float:
        assert record.memory_peak is not None
        return record.memory_peak

    one = recorded("60s", mix=ONLY_JOURNEYS, max_entries=1)
    all_ = recorded("60s", mix=ONLY_JOURNEYS)
    assert one.counters["query_cache_hits"] < all_.counters["query_cache_hits"]
    assert memory(all_) - memory(one) > 50 * ENTRY_OVERHEAD  # some 60 users, less fewer waiting


@pytest.mark.parametrize("processes", [1, 2])
def test_a_simulation_with_a_query_cache_is_deterministic(processes: int) -> None:
    scenario = small_scenario(
        topology={"processes": processes}, tiers={"query_cache": {"ttl": "500ms"}}, start="cold"
    )
    first = simulate(scenario, replications=0).record
    assert first.counters["query_cache_hits"] > 0
    assert first.to_json() == simulate(scenario, replications=0).record.to_json()


def test_a_warm_start_has_the_rows_behind_young_entries() -> None:
    def hits(start: str) -> int:
        scenario = small_scenario(
            traffic={"mix": ONLY_JOURNEYS, "users": 60},
            start=start, duration="1s", warm_up="0s",
            tiers={"l1": {"scope": "request"}, "l2": {"ttl": {"user_journeys": "2s"}},
                   "query_cache": {"ttl": "60s"}},
        )  # fmt: skip
        record = simulate(scenario, replications=0).record
        return record.counters["query_cache_hits"]

    assert hits("warm") > 1.5 * hits("cold")


def test_processes_that_come_after_others_start_with_their_own_share_of_rows() -> None:
    one, two = (
        small_scenario(topology={"processes": count}, tiers={"query_cache": {"ttl": "60s"}})
        for count in (1, 2)
    )
    shared = Replications()
    (_,), (found,) = (shared.run(each, (0,), lambda _: None) for each in (one, two))
    (expected,) = Replications().run(two, (0,), lambda _: None)
    assert found.metrics == expected.metrics
    assert found.loads == expected.loads
