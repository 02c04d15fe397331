"""Claims about simulated clients that try again, against theory and on the shipped storm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.metrics.failures import Cause
from core.metrics.kpi import parse_metric
from core.metrics.record import read_record, write_record
from core.scenario.file import load_scenario, parse_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from scenarios.catalogue import shipped
from sim.clients import replication_of
from sim.coverage import uncovered
from sim.model import Replication, ReplicationOutcome, SeededDatabase
from sim.simulate import simulate
from tests.sim.runs import small_scenario, t_statistic

STORM = ("duration=45s", "kpis=[{metric='ratio(goodput, 35s..50s)',target='>= 99%',alert='< 50%'}]")


def replicate(scenario: Scenario, replication: int = 0) -> ReplicationOutcome:
    prepared = prepare(scenario, replication=replication)
    state = warm_state(scenario, prepared, replication=replication)
    run = replication_of(
        scenario, prepared, state, SeededDatabase(scenario, prepared, replication),
        replication=replication,
    )  # fmt: skip
    try:
        return run.run()
    finally:
        run.loop.close()


def writing(rate: float = 100.0, **fields: Any) -> Scenario:
    """Return a scenario whose requests each make one write of a constant 1 ms."""
    data: dict[str, Any] = {
        "name": "w", "duration": "8s", "warm_up": "0s", "start": "cold",
        "endpoints": {"put": {"method": "POST", "path": "/put", "writes": 1, "cpu": "0s"}},
        "traffic": {
            "stages": [{"rate": rate}], "users": 20, "conversions": 1, **fields.pop("traffic", {}),
        },
        "tiers": {"l3": {"round_trip": "4ms", "write_execution": "1ms", "cpu": "0s"}},
        "kpis": [{"metric": "error_ratio", "target": "< 1%", "alert": "> 2%"}],
    }  # fmt: skip
    return parse_scenario({**data, **fields}, source="test")


def failing(share: float, **retries: Any) -> Scenario:
    fault = {"at": "0s", "for": "1h", "tier": "l3", "kind": "error", "value": share}
    return writing(traffic={"retries": retries}, faults=[fault])


def test_attempts_and_failures_are_those_of_independent_tries() -> None:
    p, most = 0.3, 3
    scenario = failing(p, attempts=most, delay="5ms")
    found = [replicate(scenario, number) for number in range(12)]
    attempts, failed = [], []
    for outcome in found:
        assert outcome.retried is not None
        attempts.append(float(outcome.retried.attempts.mean()))
        failed.append(float(np.isinf(outcome.requests.latency).mean()))
        # Every attempt is work of the database, and nothing else is.
        assert outcome.counters["l3_operations"] == outcome.retried.attempts.sum()
    assert abs(t_statistic(attempts, 1 + p + p * p)) < 3.5
    assert abs(t_statistic(failed, p**most)) < 3.5
    # The test can fail: attempts with the numbers of the first would all fail with it.
    assert abs(t_statistic(failed, p)) > 30


def test_a_latency_counts_from_the_first_attempt_with_every_pause() -> None:
    scenario = failing(0.5, attempts=10, delay="50ms", backoff="constant", jitter=0.0)
    outcome = replicate(scenario)
    assert outcome.retried is not None
    answered = np.isfinite(outcome.requests.latency)
    attempts = outcome.retried.attempts[answered].astype(int)
    assert attempts.max() > 4
    least = attempts * 0.005 + (attempts - 1) * 0.05
    waits = outcome.requests.latency[answered] - least
    assert waits.min() > -1e-9
    assert np.median(waits) < 1e-3  # the queue alone, at a fifth of its capacity


def test_what_a_client_gave_up_is_done_all_the_same_and_its_late_answer_counts_for_nothing() -> (
    None
):
    scenario = writing(
        rate=20.0,
        traffic={"retries": {"attempts": 3, "timeout": "30ms", "delay": "10ms", "jitter": 0.0}},
        tiers={"l3": {"round_trip": "50ms", "write_execution": "1ms", "cpu": "0s"}},
    )
    outcome = replicate(scenario)
    assert outcome.retried is not None
    assert np.isinf(outcome.requests.latency).all()
    assert set(outcome.retried.attempts.tolist()) == {3}
    assert outcome.counters["l3_operations"] == 3 * len(outcome.requests.latency)
    assert [failure.cause for failure in outcome.failures] == [Cause.TIMEOUT]
    # Sent at once, when it was given up and 10 ms had passed, and 20 ms after the next.
    first = outcome.requests.intended[0]
    assert np.sort(outcome.retried.at)[0] == pytest.approx(first + 0.04)
    assert np.any(np.isclose(outcome.retried.at, first + 0.09))


def test_an_answer_at_the_very_limit_is_in_time() -> None:
    latencies = {"round_trip": "62.5ms", "write_execution": "62.5ms", "cpu": "0s"}
    limit = {"attempts": 2, "timeout": "125ms"}
    scenario = writing(rate=1.0, traffic={"retries": limit}, tiers={"l3": latencies})
    outcome = replicate(scenario)
    assert outcome.retried is not None
    alone = outcome.requests.latency == 0.125
    assert alone.any()
    assert set(outcome.retried.attempts[alone].tolist()) == {1}


def test_the_service_without_faults_is_the_same_with_and_without_clients_that_would_try_again() -> (
    None
):
    plain, patient = writing(), writing(traffic={"retries": {"attempts": 3, "timeout": "2s"}})
    first, second = replicate(plain), replicate(patient)
    assert first.requests.latency.tolist() == second.requests.latency.tolist()
    assert first.counters == second.counters
    assert second.retried is not None
    assert second.retried.at.size == 0


@pytest.mark.parametrize(
    ("change", "recovers"),
    [("seed=1", False), ("traffic.retries.budget=10%", True), ("traffic.retries.attempts=1", True)],
    ids=["storm", "budget", "no retries"],
)
def test_the_storm_outlives_its_trigger_unless_retries_have_a_budget(
    change: str, recovers: bool
) -> None:
    scenario = load_scenario(shipped()["retry-storm"], overrides=[*STORM, change])
    outcome = replicate(scenario)
    intended = outcome.requests.intended
    answered = np.isfinite(outcome.requests.latency)

    def goodput(start: float, end: float) -> float:
        return float(answered[(intended >= start) & (intended < end)].mean())

    (fault,) = scenario.faults
    end = fault.at + fault.for_
    assert goodput(5.0, fault.at) > 0.99  # the rate before the trigger is fine
    assert goodput(fault.at + 1, end) < 0.8  # the trigger hurts
    late = goodput(end + 15, 50.0)  # three times as long after its end as it lasted
    assert late > 0.99 if recovers else late < 0.4


def test_a_run_is_a_function_of_scenario_and_seed_and_its_record_tells_the_tries(
    tmp_path: Any,
) -> None:
    scenario = failing(0.3, attempts=2, delay="5ms", budget="5%")
    found = simulate(scenario, replications=0).record
    assert found.to_json() == simulate(scenario, replications=0).record.to_json()
    write_record(found, tmp_path / "record.json")
    record = read_record(tmp_path / "record.json")
    assert record.to_json() == found.to_json()
    tries = record.tries
    assert tries is not None
    asked = record.count("requests")
    assert asked is not None
    assert asked < tries.attempts < 1.07 * asked
    assert tries.refused > 0.2 * asked
    for name, value in (
        ("ratio(attempts)", tries.attempts / asked),
        ("ratio(firsttry)", tries.first_failed / asked),
        ("ratio(goodput)", 1 - (record.count("requests.failed") or 0) / asked),
    ):
        assert record.metric(parse_metric(name)) == pytest.approx(value)
    assert sum(record.windows.attempts) <= tries.attempts
    assert 0.25 < tries.first_failed / asked < 0.35


def test_the_compiled_engine_and_a_plain_replication_refuse_clients_that_try_again() -> None:
    scenario = failing(0.3, attempts=2)
    prepared = prepare(scenario)
    assert uncovered(scenario, prepared) == "clients that try again (traffic.retries)"
    with pytest.raises(ValueError, match=r"sim\.clients"):
        Replication(
            scenario, prepared, warm_state(scenario, prepared), SeededDatabase(scenario, prepared)
        )


THINKING = {"requests": 4.0, "think": {"distribution": "exponential", "mean": "500ms"}}


def visiting(rate: float = 60.0, *, trip: str = "4ms", **fields: Any) -> Scenario:
    tiers = {"l3": {"round_trip": trip, "write_execution": "1ms", "cpu": "0s"}}
    traffic = {"sessions": THINKING} | fields.pop("traffic", {})
    return writing(rate, traffic=traffic, tiers=tiers, **fields)


def test_sessions_ask_for_what_the_stages_say_from_the_start_on() -> None:
    scenario = visiting()
    early, late = [], []
    for number in range(60):
        times = prepare(scenario, replication=number).workload.intended
        early.append(float(np.count_nonzero(times < 1.0)))
        late.append(float(np.count_nonzero(times >= 4.0)))
    # A session under way brings more of its own, so that counts vary more than Poisson's.
    assert abs(t_statistic(early, 60.0)) < 3.5
    assert abs(t_statistic(late, 60.0 * 4)) < 3.5


def test_what_follows_is_sent_a_think_time_after_the_answer() -> None:
    scenario = visiting(trip="100ms")
    workload = prepare(scenario).workload
    assert workload.follows is not None
    outcome = replicate(scenario)
    # By subject and time rows cannot be told: a run whose answers take no time has the plan's.
    planned = np.sort(workload.intended)
    assert outcome.requests.intended.size < planned.size  # the last ones would come too late
    assert np.all(np.diff(outcome.requests.intended) >= 0)
    assert outcome.requests.intended[-1] < scenario.total_time
    assert np.isfinite(outcome.requests.latency).all()
    later = np.flatnonzero(workload.follows >= 0)
    thinks = workload.intended[later] - workload.intended[workload.follows[later]]
    ends = outcome.requests.intended + outcome.requests.latency
    starts = np.sort(outcome.requests.intended)
    # Every request that follows one begins when that one ended, and its think time has passed.
    chain = [int(later[0])]
    while (after := np.flatnonzero(workload.follows == chain[-1])).size:
        chain.append(int(after[0]))
    first = int(workload.follows[chain[0]])
    begun = workload.intended[first]
    at = int(np.argmin(np.abs(outcome.requests.intended - begun)))
    for row in chain:
        begun = ends[at] + float(thinks[later == row][0])
        if begun >= scenario.total_time:
            break
        at = int(np.argmin(np.abs(outcome.requests.intended - begun)))
        assert outcome.requests.intended[at] == pytest.approx(begun, abs=1e-7)
    assert starts.size == outcome.counters["l3_operations"]


def test_visitors_that_wait_ask_for_less_and_open_arrivals_do_not() -> None:
    slow = {"at": "0s", "for": "1h", "tier": "l3", "kind": "slow", "value": 40.0}  # 40 ms each
    closed = replicate(visiting(faults=[slow]))
    opened = replicate(writing(60.0, faults=[slow]))
    asked = [
        np.count_nonzero(outcome.requests.intended >= 4.0) / 4.0 for outcome in (closed, opened)
    ]
    assert asked[1] == pytest.approx(60, rel=0.15)
    assert asked[0] < 0.8 * asked[1]
    waits = [np.median(o.requests.latency[o.requests.intended > 6]) for o in (closed, opened)]
    assert waits[0] < 0.7 * waits[1]


def test_all_requests_of_a_session_about_users_are_about_one() -> None:
    scenario = parse_scenario(
        {"name": "v", "duration": "20s", "traffic": {"sessions": THINKING}}, source="test"
    )
    workload = prepare(scenario).workload
    assert workload.follows is not None
    users = [i for i, e in enumerate(scenario.endpoints) if e.subject == "user"]
    of_users = np.isin(workload.endpoint, users)
    pairs = (workload.follows >= 0) & of_users
    pairs &= of_users[workload.follows]
    assert np.count_nonzero(pairs) > 1000
    assert np.array_equal(workload.subject[pairs], workload.subject[workload.follows[pairs]])


def test_sessions_with_retries_end_whole_and_the_compiled_engine_refuses_them() -> None:
    fault = {"at": "0s", "for": "1h", "tier": "l3", "kind": "error", "value": 0.3}
    scenario = visiting(
        faults=[fault], traffic={"retries": {"attempts": 2, "delay": "5ms"}, "sessions": THINKING}
    )
    outcome = replicate(scenario)
    assert outcome.retried is not None
    assert outcome.retried.attempts.size == outcome.requests.intended.size
    assert outcome.counters["l3_operations"] == outcome.retried.attempts.sum()
    alone = visiting()
    assert uncovered(alone, prepare(alone)) == "sessions whose visitors think (traffic.sessions)"
    record = simulate(alone, replications=1).record
    assert sum(record.windows.requests) == record.count("requests")


def test_what_clients_ask_again_reads_from_replicas_too() -> None:
    # Every attempt waits longer for a replica than its client does.
    scenario = writing(
        rate=5.0, duration="4s",
        endpoints={
            "preset": "none",
            "look": {"path": "/look/{user_id}", "queries": 1, "writes": 0, "cpu": "0s"},
        },
        traffic={"retries": {"attempts": 3, "timeout": "30ms", "delay": "10ms"}},
        tiers={"l3": {
            "round_trip": "0s", "read_execution": "50ms", "concurrency": 20, "cpu": "0s",
            "replicas": {"count": 2, "lag": "1s"},
        }},
    )  # fmt: skip
    outcome = replicate(scenario)
    assert outcome.counters["replica_reads"] == 3 * len(outcome.requests.latency) > 20


@pytest.mark.parametrize(
    "traffic",
    [{"retries": {"attempts": 2}}, {"sessions": {"requests": 3, "think": "200ms"}}],
    ids=["retries", "sessions"],
)
def test_events_of_such_clients_outdate_what_is_cached(traffic: dict[str, Any]) -> None:
    scenario = small_scenario(invalidation={"events": {"user_journeys": 1.0}}, traffic=traffic)
    outcome = replicate(scenario)
    events = np.count_nonzero(outcome.requests.endpoint == 0)  # track
    assert outcome.counters["invalidations"] == events > 50


def test_an_isolate_that_a_visitor_has_left_is_evicted() -> None:
    scenario = small_scenario(
        rate=10.0, traffic={"sessions": {"requests": 1, "think": "1s"}},
        topology={"isolates": 4, "eviction": {"idle": "0.3s", "cold_start": "50ms"}},
    )  # fmt: skip
    prepared = prepare(scenario)
    visitors = replicate(scenario)
    # Sessions of one request are requests that come by themselves.
    alone = replace(prepared, workload=replace(prepared.workload, follows=None))
    state, seeded = warm_state(scenario, prepared), SeededDatabase(scenario, prepared)
    run = Replication(scenario, alone, state, seeded)
    try:
        plain = run.run()
    finally:
        run.loop.close()
    assert visitors.counters["cold_starts"] == plain.counters["cold_starts"] > 5
    assert visitors.requests.latency.tolist() == plain.requests.latency.tolist()
