"""Claims about the changes of one field that a planner may make next."""

from __future__ import annotations

from typing import Any

from core.cost.next_values import NextValue, next_values
from tests.sim.runs import small_scenario


def changes(**fields: Any) -> dict[str, NextValue]:
    found, _ = next_values(small_scenario(**fields))
    return {change.name: change for change in found}


def test_number_is_doubled_and_two_sided_ones_are_halved_too() -> None:
    found = changes(topology={"isolates": 4}, tiers={"l3": {"concurrency": 3}})
    assert found["tiers.l3.concurrency 3 → 6"].scenario.tiers.l3.concurrency == 6
    assert found["topology.isolates 4 → 8"].scenario.topology.isolates == 8
    assert found["topology.isolates 4 → 2"].scenario.topology.isolates == 2
    assert "topology.isolates 1 → 1" not in changes(topology={"isolates": 1})


def test_table_goes_on_as_a_whole() -> None:
    found = changes()
    doubled = found["tiers.l2.ttl as it is → doubled"].scenario.tiers.l2.ttl
    assert doubled.of("attribution") == 2 * small_scenario().tiers.l2.ttl.of("attribution")
    halved = found["endpoints.*.cpu as it is → halved"].scenario.topology.cpu
    assert halved.of("track") == small_scenario().topology.cpu.of("track") / 2
    nearer = found["tiers.l3.round_trip p50 15.0 ms → 7.50 ms"].scenario
    assert nearer.tiers.l3.round_trip.mean < small_scenario().tiers.l3.round_trip.mean


def test_what_is_off_is_switched_on_and_what_is_on_goes_on() -> None:
    off = changes(tiers={"negative_ttl": "0s", "single_flight": False})
    assert off["tiers.negative_ttl 0s → 30s"].scenario.tiers.negative_ttl == 30.0
    assert off["tiers.single_flight false → true"].scenario.tiers.single_flight
    assert off["tiers.early_refresh 0 → 1"].scenario.tiers.early_refresh == 1.0
    on = changes(tiers={"negative_ttl": "20s", "early_refresh": 1.5})
    assert on["tiers.negative_ttl 20s → 40s"].scenario.tiers.negative_ttl == 40.0
    assert on["tiers.early_refresh 1.5 → 3"].scenario.tiers.early_refresh == 3.0
    assert not any(name.startswith("tiers.single_flight") for name in on)


def test_field_does_not_leave_its_range() -> None:
    found = changes(queue={"batch_size": 100, "wait": "60s"})
    assert [name for name in found if name.startswith("queue.batch_size")] == [
        "queue.batch_size 100 → 50"
    ]
    assert not any(name.startswith("queue.wait") for name in found)


def test_scope_of_a_request_makes_way_for_one_of_the_isolate() -> None:
    found = changes(tiers={"l1": {"scope": "request"}})
    assert found["tiers.l1.scope request → isolate"].scenario.tiers.l1.scope == "isolate"
    assert not any(name.startswith("tiers.l1.ttl") for name in found)


def test_each_change_is_of_one_field_alone() -> None:
    own = small_scenario().model_dump()
    for change in changes().values():
        other = change.scenario.model_dump()
        top, *_ = change.field.replace("endpoints.*.cpu", "topology.cpu").split(".")
        assert {name for name in own if own[name] != other[name]} == {top}, change.name
