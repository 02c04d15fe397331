"""The simulation against closed forms, by |t| over replications, and the power of doing so."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from core.caching.tiered import TieredCache
from core.context import Purpose, Span, begin
from core.distributions import Distribution
from core.emulation.database import DelayedDatabase
from core.emulation.executions import Executions
from core.emulation.faults import FaultSchedule
from core.query import statements
from core.query.database import Command, Row
from core.query.statement import Statement
from core.scenario.scenario import Scenario
from core.scenario.workload import arrivals
from sim.process import RandomNumbers, SimulatedPlatform
from tests.sim.runs import (
    NO_CPU,
    ONLY_CHANNELS,
    ONLY_JOURNEYS,
    replicate,
    simulated,
    small_scenario,
    t_statistic,
)

REPLICATIONS = 20
LIMIT = 3.9
"""A right simulation crosses |t| = 3.9 with 19 degrees of freedom once in a thousand seeds."""


INSTANT_L2 = {"read": "1ns", "cold_read": "1ns", "write": "1ns", "put": "await"}
INSTANT_L3 = {
    "round_trip": "1ns",
    "read_execution": "1ns",
    "write_execution": "1ns",
    "concurrency": 1000,
}


class EmptyDatabase:
    """A database in which nothing is found, at once."""

    async def read(self, statement: Statement, parameters: Any) -> list[Row]:
        return []

    async def write(self, *commands: Command) -> list[int]:
        return [0] * len(commands)

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Queue:
    """What one run of the database's queue showed."""

    arrived: list[float] = field(default_factory=list)
    service: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    sojourn: list[float] = field(default_factory=list)
    area: float = 0.0
    """The integral over time of the number of customers, taken event by event."""


def queue_scenario(execution: Any, *, rate: float, concurrency: int = 1) -> Scenario:
    l3 = {
        "round_trip": "0s",
        "read_execution": execution,
        "write_execution": execution,
        "concurrency": concurrency,
        "timeout": "1000s",
    }
    return small_scenario(
        rate=rate, duration="150s", warm_up="0s", tiers={"l3": l3}, topology={"cpu": NO_CPU}
    )


def run_queue(scenario: Scenario, replication: int, *, slower: float = 1.0) -> Queue:
    """Send the scenario's arrivals through the emulated database; *slower* plants a bug."""
    times = (arrivals(scenario, replication=replication) / 1e9).tolist()
    tier, found = scenario.tiers.l3, Queue()
    if slower != 1.0:
        tier = tier.model_copy(update={"read_execution": tier.read_execution.scaled(slower)})
    in_system, last, left = 0, 0.0, len(times)

    with simulated() as loop:
        numbers = RandomNumbers(scenario, replication)
        platform = SimulatedPlatform(loop, numbers, scenario, 0)
        database = DelayedDatabase(
            EmptyDatabase(), tier, FaultSchedule(()), platform, Executions(tier.concurrency)
        )

        def step(by: int) -> None:
            nonlocal in_system, last
            now = loop.time()
            found.area += in_system * (now - last)
            in_system, last = in_system + by, now

        async def customer(row: int) -> None:
            nonlocal left
            step(+1)
            span, arrived = Span(row), loop.time()
            begin(span, "lookup")
            await database.read(statements.USER, ("u0",))
            (_, service), (_, waited) = span.stages
            found.arrived.append(arrived)
            found.service.append(service)
            found.waited.append(waited)
            found.sojourn.append(loop.time() - arrived)
            step(-1)
            left -= 1
            if not left:
                over.set_result(None)

        async def main() -> None:
            await over

        over = loop.create_future()
        loop.run(main(), times, lambda row: loop.start_at(times[row], customer(row)))
    assert in_system == 0
    return found


def pollaczek_khinchine(rate: float, service: Distribution) -> float:
    """Return the mean wait of M/G/1 in seconds (Pollaczek 1930, Khinchine 1932)."""
    table = np.array(service.table)
    low, high = table[:-1], table[1:]
    # The service is uniform between neighbouring points of the table.
    second_moment = float(np.mean((low * low + low * high + high * high) / 3))
    return rate * second_moment / (2 * (1 - rate * service.mean))


EXPONENTIAL = {"distribution": "exponential", "mean": "10ms"}
RATE = 60.0
"""With services of 10 ms: a utilisation of 0.6."""


def mean_waits(execution: Any, *, slower: float = 1.0) -> tuple[list[float], float]:
    """Return the mean wait of each replication, its start left out, and what theory says."""
    scenario = queue_scenario(execution, rate=RATE)
    waits = [
        float(np.mean(run_queue(scenario, number, slower=slower).waited[300:]))
        for number in range(1, REPLICATIONS + 1)
    ]
    return waits, pollaczek_khinchine(RATE, scenario.tiers.l3.read_execution)


@pytest.mark.parametrize("execution", [EXPONENTIAL, "10ms"], ids=["M/M/1", "M/D/1"])
def test_mean_wait_for_the_database_is_pollaczek_and_khinchines(execution: Any) -> None:
    waits, expected = mean_waits(execution)
    assert abs(t_statistic(waits, expected)) < LIMIT


@pytest.mark.parametrize("execution", [EXPONENTIAL, "10ms"], ids=["M/M/1", "M/D/1"])
def test_service_time_that_is_3_percent_off_is_caught_by_the_same_test(
    execution: Any,
) -> None:
    waits, expected = mean_waits(execution, slower=1.03)
    assert abs(t_statistic(waits, expected)) > LIMIT


def test_formula_of_the_oracle_gives_the_textbook_values() -> None:
    # M/M/1 waits rho / (mu - lambda), cut at the 99.99 % quantile; M/D/1 half of it exactly.
    exponential = queue_scenario(EXPONENTIAL, rate=RATE).tiers.l3.read_execution
    constant = queue_scenario("10ms", rate=RATE).tiers.l3.read_execution
    assert pollaczek_khinchine(RATE, exponential) == pytest.approx(0.6 / 40, rel=0.01)
    assert pollaczek_khinchine(RATE, constant) == pytest.approx(0.6 / 40 / 2, rel=1e-12)


def test_every_wait_is_lindleys_recursion_on_the_same_draws() -> None:
    found = run_queue(queue_scenario(EXPONENTIAL, rate=80.0), 1)
    wait, previous = 0.0, None
    for arrived, service, waited in zip(found.arrived, found.service, found.waited, strict=True):
        if previous is not None:
            before, took = previous
            wait = max(0.0, wait + took - (arrived - before))
        assert waited == pytest.approx(wait, abs=1e-9)
        previous = arrived, service
    assert len(found.waited) > 5000
    assert max(found.waited) > 0.1


def test_several_executions_at_a_time_wait_as_kiefer_and_wolfowitz_say() -> None:
    found = run_queue(queue_scenario(EXPONENTIAL, rate=240.0, concurrency=3), 1)
    # Customers leave in another order than they come in.
    rows = sorted(zip(found.arrived, found.service, found.waited, strict=True))
    workload, last = [0.0, 0.0, 0.0], 0.0
    for arrived, service, waited in rows:
        workload = sorted(max(0.0, left - (arrived - last)) for left in workload)
        assert waited == pytest.approx(workload[0], abs=1e-9)
        workload[0] += service
        last = arrived
    assert max(found.waited) > 0.02


@pytest.mark.parametrize("rate", [20.0, 90.0, 130.0])
def test_littles_law_is_an_identity_on_one_run(rate: float) -> None:
    found = run_queue(queue_scenario(EXPONENTIAL, rate=rate), 2)
    assert found.area == pytest.approx(math.fsum(found.sojourn), rel=1e-9)


def test_queueing_draws_are_those_of_the_named_streams() -> None:
    scenario = queue_scenario(EXPONENTIAL, rate=20.0)
    found, numbers = run_queue(scenario, 3), RandomNumbers(scenario, 3)
    execution = scenario.tiers.l3.read_execution
    drawn = [
        execution.sample(numbers.requests[Purpose.L3_EXECUTION].at(row, 1))
        for row in range(len(found.service))
    ]
    assert found.service == drawn


# The CPU of a process, in the whole simulation.


def cpu_scenario(cost: str) -> Scenario:
    """Return a scenario whose requests cost nothing but CPU time."""
    return small_scenario(
        rate=120.0,
        duration="40s",
        warm_up="2s",
        traffic={"mix": ONLY_CHANNELS},
        tiers={"l2": INSTANT_L2, "l3": INSTANT_L3},
        topology={"isolates": 1, "cpu": {**NO_CPU, "channels": cost}},
    )


def mean_latencies(cost: str) -> list[float]:
    means = []
    for number in range(1, REPLICATIONS // 2 + 1):
        requests = replicate(cpu_scenario(cost), number).requests
        chosen = requests.intended >= 2.0
        means.append(float(np.mean(requests.latency[chosen])))
    return means


M_D_1 = 0.005 + 0.6 * 0.005 / (2 * (1 - 0.6))
"""Sojourn in seconds at a utilisation of 0.6 with services of 5 ms."""


def test_a_process_is_an_m_d_1_queue_for_its_cpu() -> None:
    assert abs(t_statistic(mean_latencies("5ms"), M_D_1)) < LIMIT


def test_cpu_time_that_is_3_percent_off_is_caught_by_the_same_test() -> None:
    assert abs(t_statistic(mean_latencies("5150us"), M_D_1)) > LIMIT


@dataclass(frozen=True, slots=True)
class Chain:
    """Requests of 5 ms of CPU that ask L2 and the database, operations without CPU of their own."""

    rate: float

    @property
    def sojourn(self) -> float:
        """M/D/1: service and wait for the CPU, in seconds; the stores take next to nothing."""
        load = self.rate * 0.005
        return 0.005 + load * 0.005 / (2 * (1 - load))

    def means(self) -> list[float]:
        """Return the mean latency of each replication."""
        scenario = small_scenario(
            rate=self.rate,
            duration="40s",
            warm_up="2s",
            traffic={"mix": ONLY_JOURNEYS},
            tiers={
                "l1": {"scope": "request"},  # so that every request goes to L2
                "l2": {**INSTANT_L2, "ttl": {"user_journeys": "1s"}},
                "l3": INSTANT_L3,
            },
            topology={"isolates": 1, "cpu": {**NO_CPU, "journey": "5ms"}},
        )
        means = []
        for number in range(1, REPLICATIONS // 2 + 1):
            requests = replicate(scenario, number).requests
            assert np.all(requests.reads[:, 0] != 1)
            means.append(float(np.mean(requests.latency[requests.intended >= 2.0])))
        return means


@pytest.mark.parametrize("chain", [Chain(100.0), Chain(160.0)], ids=["load 0.5", "load 0.8"])
def test_operations_without_cpu_do_not_queue_for_it(chain: Chain) -> None:
    assert abs(t_statistic(chain.means(), chain.sojourn)) < LIMIT


def test_operations_that_queue_for_the_cpu_all_the_same_are_caught_by_the_same_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = Chain(100.0)
    monkeypatch.setattr(SimulatedPlatform, "charge", lambda self, _: max(self.cpu_free, self.now()))
    assert t_statistic(chain.means(), chain.sojourn) > LIMIT


# Hit ratios of W isolates above a shared L2.


def cache_scenario(*, isolates: int, l1_ttl: str, ttl: float = 2.0) -> Scenario:
    """Return one whose 100 keys are read uniformly, 2 a second each, and whose stores are instant.

    With a TTL of 2 s the origin is asked for 1 / (1 + 2 x 2) of the reads.
    """
    return small_scenario(
        rate=200.0,
        duration="8s",
        warm_up="2s",
        traffic={
            "mix": ONLY_JOURNEYS,
            "popularity": {"law": "uniform"},
            "users": 100,
            "conversions": 100,
        },
        tiers={
            "l1": {"ttl": l1_ttl},
            "l2": {**INSTANT_L2, "ttl": {"user_journeys": f"{ttl}s"}},
            "l3": INSTANT_L3,
        },
        topology={"isolates": isolates, "cpu": NO_CPU},
    )


def miss_ratios(scenario: Scenario, *, replications: int = REPLICATIONS) -> list[float]:
    """Return the share of reads that went to the origin, for each replication."""
    ratios = []
    for number in range(1, replications + 1):
        requests = replicate(scenario, number).requests
        reads = requests.reads[requests.intended >= scenario.warm_up, 0]
        ratios.append(float(np.mean(reads >= 3)))
    return ratios


@pytest.mark.parametrize(("isolates", "l1_ttl"), [(1, "60s"), (6, "60s"), (3, "500ms")])
def test_origin_misses_are_the_ttl_formula_whatever_lies_above_l2(
    isolates: int, l1_ttl: str
) -> None:
    ratios = miss_ratios(cache_scenario(isolates=isolates, l1_ttl=l1_ttl))
    assert abs(t_statistic(ratios, 1 / 5)) < LIMIT


def test_ttl_that_is_10_percent_too_long_is_caught_by_the_same_test() -> None:
    ratios = miss_ratios(cache_scenario(isolates=3, l1_ttl="60s", ttl=2.2))
    assert abs(t_statistic(ratios, 1 / 5)) > LIMIT


def test_l1_that_forgets_how_long_l2_has_left_is_caught_by_the_same_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def promote(
        cache: TieredCache, key: str, value: Any, fresh_until: float, size: int, *_: object
    ) -> None:
        cache.l1.set(key, value, expires=cache.now() + 2.0, size=size)

    monkeypatch.setattr(TieredCache, "_promote", promote)
    ratios = miss_ratios(cache_scenario(isolates=3, l1_ttl="60s"))
    assert abs(t_statistic(ratios, 1 / 5)) > LIMIT


def test_more_isolates_share_fewer_hits_of_l1_and_lose_none_to_the_origin() -> None:
    def shares(isolates: int) -> tuple[float, float]:
        scenario = cache_scenario(isolates=isolates, l1_ttl="60s")
        requests = replicate(scenario, 1).requests
        reads = requests.reads[requests.intended >= scenario.warm_up, 0]
        return float(np.mean(reads == 1)), float(np.mean(reads >= 3))

    (one_l1, one_missed), (many_l1, many_missed) = shares(1), shares(16)
    assert many_l1 < one_l1
    # Same arrivals and keys; only the warm state, which is drawn per isolate, may differ.
    assert many_missed == pytest.approx(one_missed, abs=0.01)
