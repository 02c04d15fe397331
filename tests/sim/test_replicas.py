"""Claims about read replicas: what is behind, who waits, and how busy each server is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core.context import Purpose
from core.errors import InputError
from core.metrics.kpi import parse_metric
from core.scenario.effects import check_effects
from core.scenario.file import parse_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.service.launcher import check_served
from core.streams import Stream
from sim.simulate import simulate
from tests.sim.runs import replicate, t_statistic

SECONDS = {"round_trip": "0s", "read_execution": "0s", "write_execution": "0s"}


def replicated(replicas: dict[str, Any], **fields: Any) -> Scenario:
    """Return a scenario of users who write and read as often, each request with one statement."""
    users, rate = fields.pop("users", 20), fields.pop("rate", 40.0)
    data = {
        "name": "replicated", "duration": "60s", "warm_up": "0s",
        "traffic": {
            "stages": [{"rate": rate}], "users": users, "popularity": {"law": "uniform"},
        },
        "endpoints": {
            "preset": "none",
            "put": {"path": "/put/{user_id}", "writes": 1, "queries": 0, "cpu": "0s"},
            "look": {"path": "/look/{user_id}", "queries": 1, "writes": 0, "cpu": "0s"},
        },
        "kpis": [{"metric": "error_ratio", "target": "< 1%", "alert": "> 2%"}],
        "tiers": {"l3": {**SECONDS, "cpu": "0s", **fields.pop("l3", {}), "replicas": replicas}},
        **fields,
    }  # fmt: skip
    return parse_scenario(data, source="test")


def plain_model(scenario: Scenario, replication: int) -> list[tuple[float, float, bool]]:
    """Return of every read when it was sent, from when on it is there, and if its user wrote.

    Of an instant database, where a write is answered when it was sent.
    """
    workload = prepare(scenario, replication=replication).workload
    table, seed = scenario.tiers.l3.replicas, scenario.seed
    lags = Stream(seed, Purpose.REPLICA_LAG, width=table.count, replication=replication)
    spread = Stream(seed, Purpose.REPLICAS, replication=replication)
    writes: dict[int, list[tuple[float, int]]] = {}
    reads = []
    rows = zip(
        workload.intended.tolist(), workload.endpoint.tolist(), workload.subject.tolist(),
        strict=True,
    )  # fmt: skip
    for row, (now, endpoint, user) in enumerate(rows):
        if endpoint == 0:
            writes.setdefault(user, []).append((now, row))
            continue
        place = int(spread.at(row) * table.count)
        mine = writes.get(user, [])
        there = max((at + table.lag.sample(lags.at(r, place)) for at, r in mine), default=-math.inf)
        wrote = bool(mine) and now - mine[-1][0] < table.session
        reads.append((now, there, wrote))
    return reads


LAG = {"p50": "200ms", "p99": "2s"}


def test_reads_that_are_behind_are_those_of_a_plain_model() -> None:
    scenario = replicated({"count": 3, "lag": LAG})
    counters = replicate(scenario, 2).counters
    reads = plain_model(scenario, 2)
    assert counters["replica_reads"] == len(reads)
    assert counters["replica_reads_behind"] == sum(there > now for now, there, _ in reads) > 200


def test_a_session_that_waits_sees_its_writes_and_takes_as_long() -> None:
    scenario = replicated({"count": 3, "lag": LAG, "sessions": "wait"})
    outcome = replicate(scenario, 2)
    reads = plain_model(scenario, 2)
    waits = [max(0.0, there - now) for now, there, _ in reads]
    found = outcome.requests.latency[outcome.requests.endpoint == 1]
    assert found == pytest.approx(waits, abs=1e-9)
    assert outcome.counters["replica_reads_behind"] == 0
    assert outcome.counters["replica_reads_waited"] == sum(wait > 0 for wait in waits) > 200


def test_a_session_at_the_primary_reads_there_for_so_long() -> None:
    scenario = replicated({"count": 3, "lag": LAG, "sessions": "primary", "session": "500ms"})
    counters = replicate(scenario, 2).counters
    reads = plain_model(scenario, 2)
    assert counters["primary_reads"] == sum(wrote for *_, wrote in reads)
    left = [(now, there) for now, there, wrote in reads if not wrote]
    assert counters["replica_reads"] == len(left)
    # A lag that is longer than the session is seen again.
    assert counters["replica_reads_behind"] == sum(there > now for now, there in left) > 20


@pytest.mark.parametrize("lag", ["500ms", {"distribution": "exponential", "mean": "500ms"}])
def test_share_behind_is_that_of_writes_on_their_way(lag: Any) -> None:
    # Of a user's Poisson writes, those on their way are Poisson, too, whatever the lag's law:
    # rate times mean (M/G/infinity). A read sees all if there are none.
    scenario = replicated({"count": 2, "lag": lag})
    table = scenario.metric_table
    shares = []
    for replication in range(8):
        counters = replicate(scenario, replication).counters
        shares.append(counters["replica_reads_behind"] / counters["replica_reads"])
    assert abs(t_statistic(shares, 1 - math.exp(-1.0 * 0.5))) < 3.5  # 1 % of 8 runs
    run = simulate(scenario, replications=0)
    assert run.record.metric(parse_metric("ratio(behind)", table)) == shares[0]


def test_each_server_is_as_busy_as_what_is_asked_of_it() -> None:
    scenario = replicated(
        {"count": 2, "lag": "1s"}, rate=100.0,
        l3={"read_execution": "8ms", "write_execution": "4ms"},
    )  # fmt: skip
    loads = replicate(scenario, 0).loads
    assert list(loads) == ["database", "CPU", "replica 1", "replica 2"]
    # 50 writes/s of 4 ms; 25 reads/s of 8 ms at each replica.
    for name in ("database", "replica 1", "replica 2"):
        assert loads[name].utilisation == pytest.approx(0.2, rel=0.15)
    l3 = {"read_execution": "8ms", "write_execution": "4ms"}
    alone = replicate(replicated({}, rate=100.0, l3=l3), 0).loads
    assert alone["database"].utilisation == pytest.approx(0.6, rel=0.1)


def test_a_replica_that_is_asked_for_too_much_ends_the_run() -> None:
    scenario = replicated(
        {"count": 2}, rate=200.0, l3={"read_execution": "30ms"}, duration="60s", start="warm"
    )
    record = simulate(scenario, replications=0).record
    assert set(record.saturated) <= {"replica 1", "replica 2"}
    # Each carries 1/30 ms reads/s; with half of the requests, of two replicas, four times that.
    assert max(record.saturated.values()) == pytest.approx(133, rel=0.15)


def test_a_region_reads_at_its_own_replica() -> None:
    regions = [
        {"name": "near", "share": 1},
        {"name": "mid", "share": 1, "to_database": "100ms"},
        {"name": "far", "share": 1, "to_database": "200ms"},
    ]
    scenario = replicated({"count": 2, "lag": "0s"}, regions=regions, l3={"round_trip": "10ms"})
    requests = replicate(scenario, 0).requests
    region = requests.isolate // scenario.topology.isolates
    reads = requests.endpoint == 1
    assert requests.latency[reads] == pytest.approx(np.array([0.01, 0.01, 0.21])[region[reads]])
    assert requests.latency[~reads] == pytest.approx(np.array([0.01, 0.11, 0.21])[region[~reads]])


def test_what_cannot_be_is_refused() -> None:
    scenario = replicated({"count": 2})
    with pytest.raises(InputError, match="does not simulate read replicas"):
        simulate(scenario, prepared=prepare(scenario), engine="compiled", replications=0)
    with pytest.raises(InputError, match=r"tiers\.l3\.replicas: the reference service has one"):
        check_served(parse_scenario(
            {"name": "x", "tiers": {"l3": {"replicas": {"count": 1}}}}, source="test"
        ))  # fmt: skip
    with pytest.raises(InputError, match=r"'ratio\(behind\)' is not a metric"):
        replicated({}, kpis=[{"metric": "ratio(behind)", "target": "< 1%", "alert": "> 2%"}])
    regions = [{"name": "only", "share": 1}]
    with pytest.raises(InputError, match="is 2 for 1 region, with one replica each"):
        check_effects(replicated({"count": 2}, regions=regions), source="x", asked={})
    with pytest.raises(InputError, match=r"has no effect: tiers\.l3\.replicas\.count is 0"):
        check_effects(replicated({"lag": "1s"}), source="x", asked={})
