"""Claims about fits in simulated time: they happen, cost what is charged, and repeat exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from sim.model import Replication, SeededDatabase
from sim.simulate import simulate
from tests.sim.runs import replicate, small_scenario, written


def fitting(every: int, **fields: Any) -> Scenario:
    """Return a scenario that hands out a batch for every two conversions."""
    traffic = {"conversion_share": 0.5}
    attribution = {"fit_every": every, "refresh": "200ms"}
    return small_scenario(
        queue={"batch_size": 2}, traffic=traffic, attribution=attribution, **fields
    )


@pytest.mark.parametrize("processes", [1, 3])
def test_equal_seeds_give_equal_bytes_with_fits_in_between(tmp_path: Path, processes: int) -> None:
    scenario = fitting(4, topology={"processes": processes, "isolates": 2})
    found = simulate(scenario, replications=2)
    assert found.record.counters["models_fitted"] > 3
    assert found.record.counters["fits_failed"] == 0
    expected = written(found, tmp_path / "here")
    assert written(simulate(scenario, replications=2), tmp_path / "again") == expected
    assert written(simulate(scenario, replications=2, jobs=2), tmp_path / "jobs") == expected


@pytest.mark.parametrize("every", [3, 10])
def test_a_model_is_fitted_every_so_many_batches(every: int) -> None:
    counters = replicate(fitting(every), 0).counters
    batches = counters["queue_batches"] - counters["queue_retries"]
    # A fit takes a few round trips: one may fall due while another is running.
    assert batches // every - 2 <= counters["models_fitted"] <= batches // every
    assert counters["models_fitted"] >= 2


def test_fits_and_what_they_make_of_the_caches_are_all_that_changes() -> None:
    seldom, often = (replicate(fitting(every), 0) for every in (1_000_000, 4))
    never = replicate(fitting(900_000), 0)
    assert seldom.counters == never.counters
    assert (seldom.requests.latency == never.requests.latency).all()
    assert often.counters["conversions_processed"] == seldom.counters["conversions_processed"]
    # Pages, an insert and the misses of data_driven.
    fits = often.counters["models_fitted"]
    assert often.counters["l3_operations"] >= seldom.counters["l3_operations"] + 3 * fits


@pytest.mark.parametrize("processes", [1, 2])
def test_every_process_ends_with_a_model_that_was_fitted_in_the_run(processes: int) -> None:
    scenario = fitting(4, rate=200.0, topology={"processes": processes, "isolates": 2})
    prepared = prepare(scenario)
    seeded = SeededDatabase(scenario, prepared)
    assert seeded.scheme.number == 1
    run = Replication(scenario, prepared, warm_state(scenario, prepared), seeded)
    try:
        outcome = run.run()
    finally:
        run.loop.close()
    assert outcome.counters["models_fitted"] > 3
    numbers = [process.current.scheme.number for process in run.processes]
    assert all(number is not None and number > 1 for number in numbers)
    assert all(process.current.scheme.fallback == "" for process in run.processes)


def test_database_that_fails_is_a_fit_that_failed_and_no_more() -> None:
    fault = {"at": "0s", "for": "10s", "tier": "l3", "kind": "error", "value": 0.6}
    counters = replicate(fitting(2, faults=[fault]), 0).counters
    assert counters["fits_failed"] > 0
