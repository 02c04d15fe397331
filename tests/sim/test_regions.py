"""Claims about regions: each request's latency is that of its distances, and each has its share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core.errors import InputError
from core.metrics.kpi import parse_metric
from core.scenario.distances import tiers_of
from core.scenario.file import parse_scenario, scenario_data
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.wire import L1_HIT, L2_HIT, MISS, NEGATIVE
from sim.simulate import simulate
from tests.sim.runs import NO_CPU, ONLY_JOURNEYS, replicate, small_scenario, t_statistic

REGIONS = [
    {"name": "eu", "share": 6},
    {"name": "us", "share": 3, "to_database": "90ms", "to_store": "80ms"},
    {"name": "asia", "share": 1, "to_database": "200ms", "to_store": "150ms"},
]


def far(**fields: Any) -> Scenario:
    """Return a scenario of reads alone in three regions, with constant latencies."""
    return small_scenario(
        rate=60.0, duration="30s", warm_up="0s", regions=REGIONS, traffic={"mix": ONLY_JOURNEYS},
        tiers={
            "l1": {"ttl": "5s"},
            "l2": {
                "ttl": {"user_journeys": "20s"}, "cache_ttl": "4s",
                "read": "1ms", "cold_read": "10ms", "write": "0s",
            },
            "l3": {"round_trip": "20ms", "read_execution": "0s"},
        },
        topology={"processes": 2, "isolates": 2, "cpu": NO_CPU},
        **fields,
    )  # fmt: skip


def test_every_request_takes_as_long_as_its_distances() -> None:
    scenario = far(start="cold")
    requests = replicate(scenario, 0).requests
    region = requests.isolate // 4  # two processes of two isolates in each
    codes = requests.reads[:, 0] & (NEGATIVE - 1)
    store = np.array([0.0, 0.08, 0.15])[region]
    database = np.array([0.0, 0.09, 0.2])[region]
    # What a process read within cache_ttl is hot there, counted from the answer of the read.
    hot: dict[tuple[int, int], float] = {}
    checked = np.zeros(3, dtype=int)
    for row in range(len(codes)):
        if codes[row] not in (L1_HIT, L2_HIT, MISS):
            continue  # it waited for another one's load
        where = (int(requests.isolate[row]) // 2, int(requests.subject[row]))
        expected = 0.0
        if codes[row] != L1_HIT:
            sent = requests.intended[row]
            expected = 0.001 if hot.get(where, -1.0) > sent else 0.01 + store[row]
            hot[where] = max(hot.get(where, -1.0), sent + expected + 4.0)
            if codes[row] == MISS:
                expected += 0.02 + database[row]
        if requests.latency[row] == pytest.approx(expected, abs=1e-6):
            checked[region[row]] += 1
        else:  # another read of the key, under way meanwhile, made it hot or did not yet
            assert codes[row] != L1_HIT
            assert requests.latency[row] - expected == pytest.approx(-0.009 - store[row]) or (
                requests.latency[row] - expected == pytest.approx(0.009 + store[row])
            )
    assert checked.sum() > 0.97 * np.isin(codes, (L1_HIT, L2_HIT, MISS)).sum()
    assert (checked > 50).all()


def test_each_region_has_its_share_and_its_isolates_alike() -> None:
    scenario = far()
    isolates = np.concatenate([prepare(scenario, replication=n).workload.isolate for n in range(5)])
    for region, share in enumerate((0.6, 0.3, 0.1)):
        error = math.sqrt(share * (1 - share) / isolates.size)
        assert np.mean(isolates // 4 == region) == pytest.approx(share, abs=4 * error)
    counts = np.bincount(isolates, minlength=12)[:4]
    expected = counts.mean()
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi squared, 3 degrees, 0.1 %


def test_a_warm_start_is_as_warm_in_each_region_as_it_stays() -> None:
    # The share of slow reads, in the small region and in the large one, early and late.
    differences: dict[int, list[float]] = {0: [], 2: []}
    for replication in range(12):
        scenario = far()
        requests = replicate(scenario, replication).requests
        region = requests.isolate // 4
        slow = requests.latency > 0.005
        for place, found in differences.items():
            early, late = (
                slow[(region == place) & (requests.intended >= start)
                     & (requests.intended < start + 5.0)].mean()
                for start in (0.0, 25.0)
            )  # fmt: skip
            found.append(float(early - late))
    for found in differences.values():
        assert abs(t_statistic(found, 0.0)) < 3.1


def test_metrics_by_region_are_those_of_its_requests() -> None:
    scenario = far()
    data = scenario_data(scenario)
    kpi = {"target": "< 1s", "alert": "> 2s"}
    data["kpis"] = [{"metric": name, **kpi} for name in ("p95(asia)", "p95(us, 10s..20s)")]
    scenario = parse_scenario(data, source="test")
    run = simulate(scenario, replications=2)
    requests, record = run.requests, run.record
    for name, place, start, end in (("p95(asia)", 2, 0, 30), ("p95(us, 10s..20s)", 1, 10, 20)):
        chosen = (requests.isolate // 4 == place) & (requests.intended >= start)
        chosen &= requests.intended < end
        metric = parse_metric(name, scenario.metric_table)
        expected = np.quantile(requests.latency[chosen], 0.95, method="inverted_cdf")
        assert record.metric(metric) == pytest.approx(expected, rel=0.01)
        estimate = record.estimate(metric)
        assert estimate is not None
        assert estimate.interval is not None
    assert [line.split(":")[0] for line in run.lines if line.startswith("Region")] == [
        "Region eu", "Region us", "Region asia",
    ]  # fmt: skip


def test_the_consumer_is_where_the_database_is() -> None:
    scenario = far()
    trips = [tiers_of(scenario, position).l3.round_trip.mean for position in range(7)]
    assert trips == pytest.approx([0.02, 0.02, 0.11, 0.11, 0.22, 0.22, 0.02])


def test_regions_that_cannot_be_are_refused() -> None:
    def refused(**data: Any) -> str:
        with pytest.raises(InputError) as caught:
            parse_scenario({"name": "x", **data}, source="test")
        return str(caught.value)

    assert "topology.points_of_presence is 2: each region is one" in refused(
        regions=REGIONS, topology={"points_of_presence": 2}
    )
    assert "region track has the name of an endpoint" in refused(
        regions=[{"name": "track", "share": 1}]
    )
    assert "region eu has the name of" in refused(regions=[REGIONS[0], REGIONS[0]])
    assert "regions[0].share is 0; it must be more than 0" in refused(
        regions=[{"name": "eu", "share": 0}]
    )
    assert "p95(mars)' is not a metric" in refused(
        regions=REGIONS, kpis=[{"metric": "p95(mars)", "target": "< 1s", "alert": "> 2s"}]
    )
    scenario = far()
    assert scenario.topology.points_of_presence == 3
    with pytest.raises(InputError, match="does not simulate regions"):
        simulate(scenario, prepared=prepare(scenario), engine="compiled", replications=0)
