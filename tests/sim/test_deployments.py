"""Claims about deployments: every isolate's L1 is empty after it, and nothing else is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.errors import InputError
from core.scenario.deployments import Deployment
from core.scenario.replay import prepare
from core.wire import COLLAPSED, L1_HIT, MISS, NEGATIVE
from sim.growth import is_steady
from sim.model import ReplicationOutcome
from sim.rates import is_steady_late
from sim.simulate import simulate
from tests.sim.runs import NO_CPU, ONLY_JOURNEYS, replicate, small_scenario

INSTANT = {"round_trip": "0s", "read_execution": "0s", "write_execution": "0s"}
L2 = {
    "ttl": {"user_journeys": "1000s"}, "read": "0s", "cold_read": "0s", "write": "0s",
}  # fmt: skip


def journeys(*deployments: dict[str, str], **fields: Any) -> Any:
    """Return a cold scenario of reads alone, whose L1 never forgets by itself."""
    return small_scenario(
        rate=50.0, start="cold", duration="20s", warm_up="0s", deployments=[*deployments],
        traffic={"mix": ONLY_JOURNEYS, **fields.pop("traffic", {})},
        tiers={"l1": {"ttl": "1000s"}, "l2": L2, "l3": INSTANT | fields.pop("l3", {})},
        topology={"cpu": NO_CPU, **fields.pop("topology", {})},
        **fields,
    )  # fmt: skip


def codes(outcome: ReplicationOutcome) -> np.ndarray:
    """Return the outcome of every request's read."""
    return outcome.requests.reads[:, 0] & (NEGATIVE - 1)


def expected_hits(outcome: ReplicationOutcome, emptied: list[tuple[float, int]]) -> list[bool]:
    """Return whether L1 of unlimited life has what each request asks for.

    emptied: when which isolate is. A plain model of its own: sets of users by isolate.
    """
    requests = outcome.requests
    held: dict[int, set[int]] = {}
    due, found = sorted(emptied), []
    rows = zip(
        requests.intended[:].tolist(), requests.isolate.tolist(), requests.subject.tolist(),
        strict=True,
    )  # fmt: skip
    for at, isolate, subject in rows:
        while due and due[0][0] <= at:
            held.pop(due.pop(0)[1], None)
        users = held.setdefault(isolate, set())
        found.append(subject in users)
        users.add(subject)
    return found


@pytest.mark.parametrize("over", [0.0, 6.0])
def test_l1_forgets_what_a_plain_model_forgets(over: float) -> None:
    scenario = journeys(
        {"at": "7s", "over": f"{over}s"}, {"at": "15s"}, topology={"processes": 2, "isolates": 2}
    )
    outcome = replicate(scenario, 0)
    emptied = [(7.0 + over / 3 * isolate, isolate) for isolate in range(4)]
    emptied += [(15.0, isolate) for isolate in range(4)]
    hits = (codes(outcome) == L1_HIT).tolist()
    assert hits == expected_hits(outcome, emptied)
    assert hits != expected_hits(outcome, [])


def test_requests_under_way_end_on_the_old_isolate() -> None:
    # The first load lasts from about 0 s to 1 s. The new isolate neither joins it nor gets it.
    scenario = journeys(
        {"at": "0.5s"}, topology={"isolates": 1}, traffic={"users": 1}, l3={"round_trip": "1s"}
    )
    outcome = replicate(scenario, 0)
    found, intended = codes(outcome), outcome.requests.intended
    first = int(np.searchsorted(intended, 0.5))
    assert found[0] == MISS
    assert set(found[1:first].tolist()) == {COLLAPSED}
    assert found[first] == MISS
    until = intended[first] + 1.0
    assert set(found[first + 1 : np.searchsorted(intended, until)].tolist()) == {COLLAPSED}
    assert set(found[np.searchsorted(intended, until) :].tolist()) == {L1_HIT}
    assert np.isfinite(outcome.requests.latency).all()
    assert outcome.counters["loads"] == 2


def test_what_was_counted_before_stays_counted() -> None:
    quiet, deployed = journeys(), journeys({"at": "10s"})
    before, after = replicate(quiet, 0), replicate(deployed, 0)
    assert after.counters["loads"] == before.counters["loads"]  # L2 keeps what L1 loses
    assert after.counters["l2_operations"] > before.counters["l2_operations"]
    late = replicate(journeys({"at": "19.999s"}), 0)
    assert after.memory_bytes < late.memory_bytes == before.memory_bytes  # the peak is kept


def test_a_deployment_is_nothing_that_a_steady_rate_explains() -> None:
    warm = small_scenario(start="warm", deployments=[{"at": "3.5s"}])
    assert is_steady(small_scenario(start="warm"))
    assert not is_steady(warm)
    assert not is_steady_late(warm)
    assert is_steady_late(small_scenario(deployments=[{"at": "2s"}]))


def test_the_other_engine_refuses_it_by_name() -> None:
    scenario = journeys({"at": "3s"})
    with pytest.raises(InputError, match="does not simulate deployments"):
        simulate(scenario, prepared=prepare(scenario), engine="compiled", replications=0)


def test_isolates_are_replaced_in_equal_steps() -> None:
    assert Deployment.model_validate({"at": "10s", "over": "6s"}).times(4) == (
        10.0,
        12.0,
        14.0,
        16.0,
    )
    assert Deployment.model_validate({"at": "10s", "over": "6s"}).times(1) == (10.0,)
    assert Deployment.model_validate({"at": "10s"}).times(3) == (10.0, 10.0, 10.0)
