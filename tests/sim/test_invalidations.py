"""Claims about writes during a run: which reads are outdated, by how much, and until when."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

import numpy as np
import pytest

from core.context import Purpose, Span
from core.errors import InputError
from core.metrics.kpi import parse_metric
from core.scenario.file import parse_scenario, scenario_data
from core.scenario.replay import prepare
from core.scenario.retries import Retries
from core.scenario.scenario import Scenario
from core.service.launcher import check_served
from core.streams import Stream
from sim.invalidations import planned_writes
from sim.simulate import simulate
from sim.watched import Watch
from tests.sim.runs import NO_CPU, replicate, small_scenario, t_statistic

INSTANT = {"round_trip": "0s", "read_execution": "0s", "write_execution": "0s"}
JOURNEYS = {"track": 0.0, "attribution": 0.0, "journey": 1.0, "channels": 0.0}


def written(invalidation: dict[str, Any], **fields: Any) -> Scenario:
    """Return a scenario of journeys that take no time, and are written."""
    tiers = {
        "l1": {"ttl": "3s", **fields.pop("l1", {})},
        "l2": {
            "ttl": {"user_journeys": "1000s"}, "read": "0s", "cold_read": "0s", "write": "0s",
            **fields.pop("l2", {}),
        },
        "l3": INSTANT,
    }  # fmt: skip
    data: dict[str, Any] = {
        "rate": 80.0, "duration": "40s", "warm_up": "5s", "start": "cold", **fields,
    }  # fmt: skip
    traffic = {
        "users": 10, "popularity": {"law": "uniform"}, "mix": JOURNEYS, "conversion_share": 0.0,
        **data.pop("traffic", {}),
    }  # fmt: skip
    topology = {"isolates": 4, "cpu": NO_CPU, **data.pop("topology", {})}
    return small_scenario(
        invalidation=invalidation, tiers=tiers, traffic=traffic, topology=topology, **data
    )


def test_share_of_outdated_reads_is_that_of_the_closed_form() -> None:
    # An L1 entry ends after T, or at a write from its own isolate (rate a); it is outdated from
    # the first write from another one on (rate b). Reads are Poisson (rate r), the first fills it.
    scenario = written({"rates": {"user_journeys": 5.0}})
    r, own, other, ttl = 80 / 10 / 4, 5 / 10 / 4, 5 / 10 * 3 / 4, 3.0
    lasts = (1 - math.exp(-own * ttl)) / own
    fresh = (1 - math.exp(-(own + other) * ttl)) / (own + other)
    expected = r * (lasts - fresh) / (1 + r * lasts)
    shares = []
    for replication in range(8):
        outcome = replicate(scenario, replication)
        judged = outcome.requests.intended >= 5.0
        shares.append(outcome.stages["outdated"].count / np.count_nonzero(judged))
    assert abs(t_statistic(shares, expected)) < 3.5  # 1 % of 8 runs
    assert 0.3 < expected < 0.33


def plain_model(scenario: Scenario, replication: int, delay: float) -> list[float]:
    """Return by how much each outdated read was behind: a plain model of L1s over a fresh L2."""
    workload = prepare(scenario, replication=replication).workload
    table = scenario.invalidation
    drawn = Stream(scenario.seed, Purpose.INVALIDATED_BY_EVENTS, replication=replication)
    happens: list[tuple[float, int, str, int, int]] = [
        (write.at, 0, "write", write.subject, write.isolate)
        for write in planned_writes(scenario, replication)
    ]
    share = table.events.get("user_journeys", 0.0)
    for index, at in enumerate(workload.intended.tolist()):
        user, isolate = int(workload.subject[index]), int(workload.isolate[index])
        is_event = scenario.endpoints.names[workload.endpoint[index]] == "track"
        if not is_event:
            happens.append((at, 1, "read", user, isolate))
        elif drawn.at(index) < share:
            happens.append((at, 0, "write", user, isolate))
    happens += [
        (at + delay, 0, "purge", user, isolate)
        for at, _, what, user, isolate in happens
        if what == "write" and math.isfinite(delay)
    ]
    held: dict[tuple[int, int], tuple[float, float]] = {}  # (isolate, user): loaded, end
    writes: dict[int, list[float]] = {}
    behind = []
    for at, _, what, user, isolate in sorted(happens):
        if what == "write":
            writes.setdefault(user, []).append(at)
            held.pop((isolate, user), None)
        elif what == "purge":
            for other in range(scenario.topology.isolate_count):
                if other != isolate:
                    held.pop((other, user), None)
        else:
            loaded, end = held.get((isolate, user), (0.0, -1.0))
            if end <= at:
                held[isolate, user] = (at, at + scenario.tiers.l1.ttl)
                continue
            mine = writes.get(user, [])
            place = bisect_right(mine, loaded)
            if place < len(mine) and at >= scenario.warm_up:
                behind.append(at - mine[place])
    return behind


@pytest.mark.parametrize("delay", [0.4, math.inf])
@pytest.mark.parametrize("has_events", [False, True])
def test_every_outdated_read_is_that_of_a_plain_model(delay: float, has_events: bool) -> None:
    invalidation: dict[str, Any] = {"rates": {"user_journeys": 2.0}}
    mix = JOURNEYS
    if has_events:
        invalidation["events"] = {"user_journeys": 0.5}
        mix = JOURNEYS | {"track": 0.1, "journey": 0.9}
    if math.isfinite(delay):
        invalidation["broadcast"] = f"{delay}s"
    scenario = written(invalidation, traffic={"mix": mix}, topology={"processes": 2, "isolates": 2})
    outcome = replicate(scenario, 1)
    behind = plain_model(scenario, 1, delay)
    ages = outcome.stages["outdated"]
    assert ages.count == len(behind) > 50
    assert ages.mean == pytest.approx(np.mean(behind), rel=1e-6)
    if math.isfinite(delay):
        assert ages.maximum <= delay
    assert outcome.counters["invalidations"] > 60


def test_without_an_l1_only_the_read_cache_of_another_place_is_outdated() -> None:
    places = {"points_of_presence": 2, "isolates": 1}
    quick = {"consistency": "strong", "cache_ttl": "30s"}
    fields: dict[str, Any] = {"l1": {"scope": "request"}, "topology": places, "duration": "60s"}
    invalidation = {"rates": {"user_journeys": 0.5}}
    strong = replicate(written(invalidation, l2=quick, **fields), 0)
    assert "outdated" not in strong.stages
    edge = replicate(written(invalidation, l2=quick | {"consistency": "eventual"}, **fields), 0)
    assert edge.stages["outdated"].count > 100
    assert 20.0 < edge.stages["outdated"].maximum <= 30.0


def test_a_new_isolate_is_watched_as_the_one_before_it_was() -> None:
    deployed = written({"rates": {"user_journeys": 5.0}}, deployments=[{"at": "15s"}])
    outcome = replicate(deployed, 0)
    judged = np.count_nonzero(outcome.requests.intended >= 5.0)
    assert outcome.stages["outdated"].count / judged == pytest.approx(0.31, abs=0.05)


def test_what_the_record_tells_of_outdated_reads() -> None:
    data = scenario_data(written({"rates": {"user_journeys": 5.0}}))
    names = ("ratio(outdated)", "p95(outdated)", "ratio(outdated, 20s..30s)")
    seconds = {"target": "< 1s", "alert": "> 2s"}
    data["kpis"] = [
        {"metric": name, **(seconds if name[0] == "p" else {"target": "< 1%", "alert": "> 2%"})}
        for name in names
    ]
    scenario = parse_scenario(data, source="test")
    record = simulate(scenario, replications=2).record
    share, age, part = (record.metric(parse_metric(n, scenario.metric_table)) for n in names)
    assert share == record.stages["outdated"].count / sum(record.read_totals().values())
    assert age is not None
    assert 0 < age <= 3.0
    assert part == pytest.approx(share, abs=0.1)


def test_what_cannot_be_is_refused() -> None:
    def refused(invalidation: dict[str, Any], **fields: Any) -> str:
        with pytest.raises(InputError) as caught:
            parse_scenario({"name": "x", "invalidation": invalidation, **fields}, source="test")
        return str(caught.value)

    assert "journeys is no cache type; use" in refused({"rates": {"journeys": 1.0}})
    assert "security_config holds no user's values" in refused({"events": {"security_config": 1}})
    assert "must be more than 0" in refused({"rates": {"user_journeys": 0}})
    assert "must be at most 1" in refused({"events": {"user_journeys": 2}})
    assert "broadcast needs what is invalidated" in refused({"broadcast": "1s"})
    kpi = {"metric": "p95(outdated)", "target": "< 1s", "alert": "> 2s"}
    assert "'p95(outdated)' is not a metric" in refused({}, kpis=[kpi])
    scenario = written({"rates": {"user_journeys": 5.0}})
    with pytest.raises(InputError, match="does not simulate invalidation"):
        simulate(scenario, prepared=prepare(scenario), engine="compiled", replications=0)
    with pytest.raises(InputError, match="invalidation: the reference service is told of writes"):
        check_served(scenario)


def test_a_further_attempt_that_reads_an_outdated_value_is_noted_of_its_request() -> None:
    policy = Retries(attempts=3)
    watch = Watch([1.0, 20.0], 5.0, policy.request)
    watch.write("journey:u0", 21.0)
    for request in (0, 1):  # the first one came before the warm-up's end
        span = Span(policy.row(request, 3))
        watch.look("journey:u0", 10.0, span, 22.5)
    ((times, ages),) = watch.samples(0.0).values()
    assert (times.tolist(), ages.tolist()) == ([20.0], [1.5])
