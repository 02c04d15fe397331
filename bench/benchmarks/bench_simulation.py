"""A simulated request, taken from whole replications of a short baseline."""

from __future__ import annotations

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from bench.benchmarks.fixtures import scenario
from core.scenario.replay import prepare
from core.scenario.warm_start import warm_state
from sim.model import Replication, ReplicationOutcome, SeededDatabase

ROUNDS = 5


def test_simulated_requests(benchmark: BenchmarkFixture) -> None:
    # As few users as a warm database allows: seeding more would take longer than the measurement.
    chosen = scenario("duration=4s", "warm_up=1s", "traffic.users=500", "traffic.conversions=500")
    prepared = prepare(chosen)
    state, seeded = warm_state(chosen, prepared), SeededDatabase(chosen, prepared)
    requests = len(prepared.workload)

    def build() -> tuple[tuple[Replication], dict[str, object]]:
        return (Replication(chosen, prepared, state, seeded),), {}

    outcome = benchmark.pedantic(  # type: ignore[no-untyped-call]  # it has no annotations
        _run, setup=build, rounds=ROUNDS, warmup_rounds=1
    )
    assert outcome.requests.intended.size == requests
    assert np.isfinite(outcome.requests.latency).all()
    benchmark.extra_info["requests"] = requests
    if benchmark.stats is not None:  # None if measuring is switched off
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["microseconds_per_request"] = 1e6 * seconds / requests
        benchmark.extra_info["requests_per_second"] = requests / seconds


def _run(replication: Replication) -> ReplicationOutcome:
    outcome = replication.run()
    replication.loop.close()
    return outcome
