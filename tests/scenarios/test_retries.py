"""Claims about the load's clients that try again, or think, over a real socket."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np

from core.metrics.failures import Cause
from core.scenario.retries import Retrying
from scenarios.driver import run_load
from scenarios.measurement import measure
from scenarios.result import Kind
from tests.scenarios.conftest import StartService, inspect
from tests.scenarios.loads import small_plan, small_scenario

LIMIT, DELAY = 0.3, 0.05
RETRIES = {
    "attempts": 3, "timeout": f"{LIMIT}s", "delay": f"{DELAY}s", "backoff": "constant",
    "budget": "60%",
}  # fmt: skip


def test_a_load_tries_again_what_failed_as_far_as_the_budget_goes(
    start_service: StartService, tmp_path: Path
) -> None:
    url = start_service("flaky")
    traffic = {"stages": [{"rate": 60}], "users": 50, "conversions": 20, "retries": RETRIES}
    endpoints = {name: {"weight": 0} for name in ("attribution", "journey", "channels")}
    scenario = small_scenario(traffic=traffic, endpoints=endpoints, duration="1.8s", timeout="3s")
    plan = small_plan(scenario, [url])
    result = run_load(plan, tmp_path)
    rows, n = result.rows, len(plan.workload)
    assert len(rows) == n
    # What the service saw is what the load says that it sent, one event id for all attempts.
    seen = Counter(json.loads(request["body"])["event_id"] for request in inspect(url)["seen"])
    sent = {
        f"test-{index}": number
        for index, number in zip(rows.index.tolist(), rows.attempts.tolist(), strict=True)
    }
    assert seen == sent
    # Every first attempt fails and every second one is answered; the budget refuses the others.
    again = rows.attempts == 2
    assert set(rows.attempts.tolist()) == {1, 2}
    assert np.array_equal(again, rows.kind == Kind.ANSWERED)
    assert np.array_equal(~again, rows.is_refused == 1)
    assert 0.3 * n < np.count_nonzero(again) <= 0.6 * n
    assert set(rows.kind[~again].tolist()) == {Kind.STATUS, Kind.TIMEOUT}
    # The pauses are those of the simulation: the numbers of the request.
    clients = Retrying(scenario.traffic.retries, seed=scenario.seed, replication=0)
    unlimited = clients.policy.model_copy(update={"budget": None})
    planned = Retrying(unlimited, seed=scenario.seed, replication=0)
    pauses = np.array([planned.next(index, 1, 0.0, 9.0) for index in rows.index[again].tolist()])
    assert (rows.latency[again] >= pauses).all()
    assert rows.retried_at.size == np.count_nonzero(again)
    begun = np.sort(rows.intended_ns[again] / 1e9 + rows.latency[again])
    assert (np.sort(rows.retried_at) <= begun).all()
    given_up = rows.latency[again] > LIMIT  # those that waited for no answer, and then again
    assert 0 < np.count_nonzero(given_up) < np.count_nonzero(again)

    record, requests = measure(scenario, plan.workload, result)
    assert record.tries is not None
    judged = requests.intended >= scenario.warm_up
    assert record.tries.attempts == rows.attempts[judged[rows.index]].sum()
    assert record.tries.first_failed == np.count_nonzero(judged)
    assert record.tries.refused == np.count_nonzero(np.isinf(requests.latency[judged]))
    assert {failure.cause for failure in record.failures} == {Cause.STATUS, Cause.TIMEOUT}


def test_visitors_of_a_load_think_after_each_answer(
    start_service: StartService, tmp_path: Path
) -> None:
    url = start_service("good")
    sessions = {"requests": 3.0, "think": "150ms"}
    traffic = {"stages": [{"rate": 60}], "users": 50, "conversions": 20, "sessions": sessions}
    scenario = small_scenario(traffic=traffic, duration="1.8s")
    plan = small_plan(scenario, [url])
    result = run_load(plan, tmp_path)
    rows, workload = result.rows, plan.workload
    assert workload.follows is not None
    assert set(rows.kind.tolist()) == {Kind.ANSWERED}
    # Each is sent once; what was not would have come after the end of the run.
    assert np.unique(rows.index).size == len(rows)
    sent = np.zeros(len(workload), dtype=np.bool_)
    sent[rows.index] = True
    begun, ended = (np.full(len(workload), np.nan) for _ in range(2))
    begun[rows.index] = rows.intended_ns / 1e9
    ended[rows.index] = rows.intended_ns / 1e9 + rows.latency
    first = workload.follows < 0
    assert sent[first].all()
    assert np.array_equal(begun[first], workload.intended[first])
    later = np.flatnonzero((workload.follows >= 0) & sent)
    assert later.size > 20
    assert sent[workload.follows[later]].all()
    thought = begun[later] - ended[workload.follows[later]]
    assert thought.min() >= 0.15 - 1e-6
    assert np.nanmax(begun) < scenario.total_time
    assert len(inspect(url)["seen"]) == len(rows)

    record, requests = measure(scenario, workload, result)
    assert record.audit is not None
    assert record.audit.rendered_hash == workload.identity()
    assert requests.intended.size == len(rows)
    assert np.all(np.diff(requests.intended) >= 0)
    assert np.isfinite(requests.latency).all()
