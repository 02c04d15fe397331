"""Claims about forwarding in the simulation: the shipped code, a modelled destination."""

from __future__ import annotations

from typing import Any

import pytest

from core.metrics.record import RunRecord
from core.scenario.scenario import Scenario
from sim.simulate import simulate
from tests.sim.runs import ONLY_TRACKING, small_scenario


def forwarding(**fields: Any) -> Scenario:
    """Return a scenario of many conversions that are forwarded, with *fields* of its own."""
    fields.setdefault("destination", {"url": "local", "latency": "30ms", "timeout": "2s"})
    traffic = {"mix": ONLY_TRACKING, "conversion_share": 0.5}
    return small_scenario(traffic=traffic, queue={"wait": "100ms"}, **fields)


def recorded(scenario: Scenario) -> RunRecord:
    return simulate(scenario, replications=0).record


def fault(kind: str, value: float = 1.0) -> dict[str, object]:
    return {"at": "0s", "for": "60s", "tier": "destination", "kind": kind, "value": value}


@pytest.mark.parametrize("processes", [1, 3])
def test_every_processed_conversion_is_forwarded_after_the_modelled_latency(
    processes: int,
) -> None:
    record = recorded(forwarding(topology={"processes": processes}))
    counters, external = record.counters, record.stages["external"]
    assert counters["forwarded"] == counters["conversions_processed"] > 50
    assert counters["forward_retries"] == counters["forward_given_up"] == 0
    assert external.failed == 0
    cpu = 1e-3  # waiting for the process's CPU and its time for sending
    assert 0.03 <= external.quantile(0.01) <= external.quantile(0.99) < 0.03 + cpu


def test_forwarding_changes_no_other_figure_but_the_memory_of_its_histogram() -> None:
    off = recorded(forwarding(destination={}))
    on = recorded(forwarding())
    assert "external" not in off.stages
    assert not any(name.startswith("forward") for name in off.counters)
    assert {n: v for n, v in on.counters.items() if not n.startswith("forward")} == off.counters
    assert on.reads == off.reads
    assert on.stages["query"].count == off.stages["query"].count


def test_slow_destination_takes_so_many_times_as_long() -> None:
    external = recorded(forwarding(faults=[fault("slow", 10.0)])).stages["external"]
    assert external.quantile(0.5) == pytest.approx(0.3, rel=0.01)


def test_destination_that_errs_gets_everything_all_the_same() -> None:
    record = recorded(forwarding(faults=[{**fault("error", 0.5), "for": "3s"}]))
    counters = record.counters
    assert counters["forward_retries"] > 0
    waiting = counters["conversions_processed"] - counters["forwarded"]
    assert 0 <= waiting <= counters["forward_retries"]  # put off beyond the end of the run
    assert record.stages["external"].failed > 0
    assert {s.count for s in record.latencies.values()} == {record.stages["total"].count}


def test_dead_destination_delays_no_request_and_no_batch() -> None:
    alive, dead = recorded(forwarding()), recorded(forwarding(faults=[fault("dead")]))
    assert dead.counters["forwarded"] == 0
    assert dead.counters["conversions_processed"] == alive.counters["conversions_processed"]
    assert dead.stages["external"].failed == dead.stages["external"].count > 0
    for series, histogram in alive.latencies.items():
        assert dead.latencies[series].quantile(0.95) == pytest.approx(
            histogram.quantile(0.95), rel=0.02
        )
    assert dead.stages["queue"].quantile(0.95) == pytest.approx(
        alive.stages["queue"].quantile(0.95), rel=0.02
    )


def test_forwarding_is_deterministic() -> None:
    scenario = forwarding(
        destination={"url": "local", "latency": {"p50": "20ms", "p99": "90ms"}},
        faults=[fault("error", 0.3)],
    )
    assert recorded(scenario).to_json() == recorded(scenario).to_json()
