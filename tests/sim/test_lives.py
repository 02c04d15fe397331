"""Claims about isolates that are evicted and started: against closed forms and a plain model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core.context import Purpose
from core.errors import InputError
from core.metrics.kpi import parse_metric
from core.scenario.file import parse_scenario
from core.scenario.lives import LifeLengths, lives_before
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from core.service.launcher import check_served
from core.streams import Stream
from core.wire import COLLAPSED, L1_HIT, NEGATIVE
from sim.simulate import simulate
from tests.sim.runs import NO_CPU, ONLY_JOURNEYS, replicate, small_scenario, t_statistic

INSTANT = {
    "l1": {"ttl": "1000s"},
    "l2": {"ttl": {"user_journeys": "1000s"}, "read": "0s", "cold_read": "0s", "write": "0s"},
    "l3": {"round_trip": "0s", "read_execution": "0s", "write_execution": "0s"},
}  # fmt: skip


def instant(eviction: dict[str, Any], **fields: Any) -> Scenario:
    """Return a scenario of four isolates, 5 requests/s each, that takes no time but to start."""
    data = {"start": "cold", "duration": "60s", "warm_up": "0s", "rate": 20.0, **fields}
    return small_scenario(
        traffic={"mix": ONLY_JOURNEYS}, tiers=INSTANT,
        topology={"isolates": 4, "cpu": NO_CPU, "eviction": eviction}, **data,
    )  # fmt: skip


def test_waits_and_hits_are_those_of_a_plain_model() -> None:
    scenario = instant(
        {"idle": "0.3s", "lifetime": "2s", "cold_start": {"p50": "20ms", "p99": "200ms"}},
        deployments=[{"at": "30s"}],
    )
    outcome = replicate(scenario, 3)
    requests = outcome.requests
    lengths = LifeLengths(scenario, Purpose.ISOLATE_LIVES, 3)
    starts = Stream(scenario.seed, Purpose.COLD_START, replication=3)
    eviction = scenario.topology.eviction
    ready, ends, free = [0.0] * 4, [-1.0] * 4, [0.0] * 4
    held: list[set[int]] = [set() for _ in range(4)]
    deployed = [False] * 4
    lives, waits, hits = [1] * 4, [], []
    rows = zip(
        requests.intended[:].tolist(), requests.isolate.tolist(), requests.subject.tolist(),
        strict=True,
    )  # fmt: skip
    for index, (now, isolate, subject) in enumerate(rows):
        is_late = now >= 30.0 and not deployed[isolate]
        deployed[isolate] |= is_late
        if now >= ends[isolate] or now - free[isolate] >= eviction.idle or is_late:
            ready[isolate] = now + eviction.cold_start.sample(starts.at(index))
            ends[isolate] = ready[isolate] + lengths.of(isolate, lives[isolate])
            lives[isolate] += 1
            held[isolate] = set()
        free[isolate] = max(now, ready[isolate])  # it is busy until its last answer
        waits.append(free[isolate] - now)
        hits.append(subject in held[isolate])
        held[isolate].add(subject)
    assert requests.latency == pytest.approx(waits, abs=1e-12)
    codes = requests.reads[:, 0] & (NEGATIVE - 1)
    # Requests that waited for one start go on together, and share their loads.
    assert np.isin(codes, (L1_HIT, COLLAPSED)).tolist() == hits
    assert outcome.counters["cold_starts"] == sum(lives) - 4 > 100
    waited = [wait for wait in waits if wait > 0]
    assert outcome.stages["cold"].count == len(waited) > outcome.counters["cold_starts"]


@pytest.mark.parametrize("idle", [0.0, 0.3])
@pytest.mark.parametrize("lifetime", [0.0, 0.5])
def test_share_of_cold_starts_is_that_of_the_closed_form(idle: float, lifetime: float) -> None:
    # The next request finds its isolate if the exponential gap is shorter than the idle time, and
    # no end of an exponential life falls into it.
    scenario = instant({"idle": f"{idle}s", "lifetime": f"{lifetime}s", "cold_start": "1ns"})
    rate, ends = 5.0, 1 / lifetime if lifetime else 0.0
    survives = rate / (rate + ends) * (1 - math.exp(-(rate + ends) * (idle or math.inf)))
    shares = []
    for replication in range(12):
        outcome = replicate(scenario, replication)
        started = outcome.counters["cold_starts"] - 4  # the first of each isolate
        shares.append(started / (len(outcome.requests.latency) - 4))
    if survives == 1:
        assert shares == [0.0] * 12
    else:
        assert abs(t_statistic(shares, 1 - survives)) < 3.1  # 1 % of 12 runs


def test_isolates_before_a_run_stand_as_in_the_long_run() -> None:
    scenario = instant({"idle": "0.4s", "lifetime": "1s"}, start="warm")
    rates = np.full(4_000, 5.0)
    scenario = scenario.model_copy(
        update={"topology": scenario.topology.model_copy(update={"isolates": 4_000})}
    )
    found = lives_before(scenario, rates)
    # Renewal reward: a cycle is a life until its last request, then its end, then a gap.
    hazard, idle = 5.0 + 1.0, 0.4
    survives = 5 / hazard * (1 - math.exp(-hazard * idle))
    # Seen backwards: the last request lies less than the idle time back, and no end since.
    there = 5 / hazard * (1 - math.exp(-hazard * idle))
    share = np.mean([life.age > 0 for life in found])
    assert share == pytest.approx(there, abs=4 * math.sqrt(there * (1 - there) / 4_000))
    gap = 1 / hazard - idle * math.exp(-hazard * idle) / (1 - math.exp(-hazard * idle))
    age = gap / (1 - survives)  # the time since the last request, and a geometric number of gaps
    ages = np.array([life.age for life in found if life.age > 0])
    assert ages.mean() == pytest.approx(age, abs=4 * ages.std() / math.sqrt(ages.size))


def test_a_warm_start_holds_what_isolates_of_that_age_hold() -> None:
    # In the first second and in the fifteenth L1 answers alike.
    shares: dict[bool, list[float]] = {False: [], True: []}
    for replication in range(16):
        scenario = small_scenario(
            rate=100.0, duration="16s", warm_up="0s", traffic={"mix": ONLY_JOURNEYS},
            topology={"isolates": 4, "eviction": {"lifetime": "3s"}},
        )  # fmt: skip
        requests = replicate(scenario, replication).requests
        hits = (requests.reads[:, 0] & (NEGATIVE - 1)) == L1_HIT
        for late in (False, True):
            start = 14.0 if late else 0.0
            chosen = (requests.intended >= start) & (requests.intended < start + 1.0)
            shares[late].append(float(hits[chosen].mean()))
    differences = [early - late for early, late in zip(*shares.values(), strict=True)]
    assert abs(t_statistic(differences, 0.0)) < 3.0
    assert 0.2 < np.mean(shares[True]) < 0.8  # an isolate for ever would answer more


def test_what_the_record_tells_of_cold_starts() -> None:
    scenario = instant({"idle": "0.3s", "cold_start": "50ms"}, warm_up="10s")
    run = simulate(scenario, replications=0)
    table = scenario.metric_table
    share = run.record.metric(parse_metric("ratio(cold)", table))
    waits = run.requests.latency[run.requests.intended >= 10.0] > 0
    assert share == pytest.approx(waits.mean())
    assert run.record.metric(parse_metric("p95(cold)", table)) == pytest.approx(0.05, rel=0.01)
    part = parse_scenario(
        {"name": "x", "topology": {"eviction": {"idle": "1s"}}, "kpis": [
            {"metric": "ratio(cold, 10s..20s)", "target": "< 1%", "alert": "> 2%"}]},
        source="test",
    )  # fmt: skip
    assert list(part.parts) == ["10s..20s"]


def test_metric_of_cold_starts_needs_isolates_that_start() -> None:
    with pytest.raises(InputError, match=r"'p95\(cold\)' is not a metric"):
        parse_scenario(
            {"name": "x", "kpis": [{"metric": "p95(cold)", "target": "< 1s", "alert": "> 2s"}]},
            source="test",
        )


def test_who_does_not_do_it_refuses_it_by_name() -> None:
    scenario = instant({"idle": "1s"})
    with pytest.raises(InputError, match="does not simulate isolates that are evicted"):
        simulate(scenario, prepared=prepare(scenario), engine="compiled", replications=0)
    with pytest.raises(InputError, match=r"topology\.eviction: the reference service's isolates"):
        check_served(scenario)


def test_without_the_table_nothing_changes() -> None:
    quiet = small_scenario()
    stated = small_scenario(topology={"eviction": {"idle": "0s", "cold_start": "0s"}})
    assert warm_state(quiet, prepare(quiet)) == warm_state(stated, prepare(stated))
    assert "cold_starts" not in replicate(stated, 0).counters
