"""An endpoint of one's own works from the scenario to the report, beside tables without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from matplotlib.text import Text

from core.endpoints import CDP, EndpointTable
from core.errors import InputError
from core.metrics.kpi import Outcome, parse_metric
from core.metrics.metric_table import BUILT_IN
from core.metrics.record import read_record, write_record
from core.metrics.verdict import compare
from core.scenario.file import load_scenario, parse_scenario, scenario_data, scenario_hash
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from core.service.app import create_app
from core.service.launcher import running_service
from core.service.plan import WorkerPlan
from reports.page import html
from reports.report import Report
from reports.spectrum import spectrum
from scenarios.calibrate import calibration_workload
from scenarios.catalogue import shipped
from scenarios.driver import run_load
from scenarios.measurement import measure
from scenarios.plan import make_plan
from sim.simulate import Simulation, simulate
from tests.edgeproof.profile_endpoint import PROFILE

FIVE = CDP.with_endpoint(PROFILE)
KPI = {"metric": "p95(profile)", "target": "< 1s", "alert": "> 2s"}


def small(**fields: Any) -> Scenario:
    data = {
        "name": "small",
        "duration": "4s",
        "warm_up": "1s",
        "traffic": {"stages": [{"rate": 150}], "users": 40, "conversions": 20, "sites": 3},
    }
    return parse_scenario(data | fields, source="test")


@pytest.fixture(scope="module")
def both() -> tuple[Simulation, Simulation]:
    """Return two runs of one process: of the CDP's table, and of a table of five endpoints."""
    return simulate(small(), replications=1), simulate(
        small(endpoints=FIVE, kpis=[KPI]), replications=1
    )


def test_simulation_asks_the_fifth_endpoint_and_reports_its_reads_and_its_kpi(
    both: tuple[Simulation, Simulation],
) -> None:
    four, five = (simulation.record for simulation in both)
    assert "profile" not in four.latencies
    assert "profile" not in four.reads
    asked = five.latencies["profile"].count
    share = asked / sum(histogram.count for histogram in five.latencies.values())
    assert 0.15 < share < 0.25  # a weight of 0.25 beside 1
    reads = five.reads["profile"]
    assert sum(reads[name] for name in ("l1", "l2", "miss", "collapsed", "bypass")) == asked
    assert reads["l1"] > reads["miss"]
    metric = parse_metric("p95(profile)", BUILT_IN.of_endpoints(FIVE.names))
    assert five.metric(metric) == five.latencies["profile"].quantile(0.95)
    found = five.estimate(metric)
    assert found is not None
    assert found.runs == 2


def test_warm_start_holds_entries_of_the_fifth_endpoint() -> None:
    asked = small(endpoints=FIVE)
    state = warm_state(asked, prepare(asked))
    assert {entry.cache_type for entry in state.l2} == set(FIVE.cache_types)
    assert {entry.subject for entry in state.l2 if entry.cache_type == "profiles"} <= {*range(40)}


def test_endpoint_that_nobody_asks_for_changes_no_request_and_no_figure(
    both: tuple[Simulation, Simulation],
) -> None:
    silent = simulate(small(endpoints=FIVE, traffic={
        "stages": [{"rate": 150}], "users": 40, "conversions": 20, "sites": 3,
        "mix": {"profile": 0},
    }), replications=0)  # fmt: skip
    assert np.array_equal(silent.requests.latency, both[0].requests.latency)
    assert silent.record.reads == both[0].record.reads
    assert silent.record.workload_hash == both[0].record.workload_hash


def test_table_is_data_that_the_hash_covers_and_a_record_keeps(
    both: tuple[Simulation, Simulation], tmp_path: Path
) -> None:
    asked, plain = small(endpoints=FIVE), small()
    data = scenario_data(asked)
    again = parse_scenario(json.loads(json.dumps(data)), source="again")
    assert again == asked
    assert scenario_hash(again) == scenario_hash(asked) != scenario_hash(plain)
    assert "endpoints" not in scenario_data(plain)
    assert small(endpoints=CDP.to_data()) == plain
    # Its order decides which numbers draw an endpoint.
    turned = type(FIVE)((FIVE.endpoints[-1], *FIVE.endpoints[:-1]))
    assert scenario_hash(small(endpoints=turned)) != scenario_hash(asked)
    write_record(both[1].record, tmp_path / "record.json")
    record = read_record(tmp_path / "record.json")
    assert record.endpoints == FIVE
    assert both[0].record.endpoints == CDP


def test_fields_of_the_scenario_are_those_of_its_endpoints() -> None:
    asked = small(
        endpoints=FIVE,
        topology={"cpu": {"profile": "1ms"}},
        tiers={"l2": {"ttl": {"profiles": "77s"}}},
        targets={"profile": {"path": "/p/{user_id}"}},
        faults=[{"at": "1s", "for": "1s", "kind": "hot_key", "endpoint": "profile"}],
        trace={"types": {"9": {"endpoint": "profile", "cache_type": "profiles"}}},
        kpis=[KPI],
    )
    assert asked.traffic.mix.of("profile") == PROFILE.weight
    assert (asked.topology.cpu.of("profile"), asked.tiers.l2.ttl.of("profiles")) == (1e-3, 77.0)
    assert asked.targets.of("profile").path == "/p/{user_id}"
    for fields, name in (
        ({"traffic": {"mix": {"profile": 1}}}, "endpoints.profile.weight"),
        ({"topology": {"cpu": {"profile": "1ms"}}}, "endpoints.profile.cpu"),
        ({"tiers": {"l2": {"ttl": {"profiles": "1s"}}}}, "tiers.l2.ttl.profiles"),
        ({"targets": {"profile": {"path": "/p"}}}, "endpoints.profile"),
        ({"faults": [{"at": "1s", "for": "1s", "kind": "hot_key", "endpoint": "profile"}]},
         "'track', 'attribution' or 'journey'"),
        ({"kpis": [KPI]}, "not a metric"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=name):
            small(**fields)


def test_table_without_the_cdps_endpoints_has_none_of_their_fields() -> None:
    alone = EndpointTable((PROFILE,))
    asked = small(endpoints=alone)
    assert asked.traffic.mix.weights() == (PROFILE.weight,)
    assert [kpi.name for kpi in asked.judged()] == [
        "hit_ratio", "p95_query", "peak_memory", "p95_cpu", "error_ratio",
    ]  # fmt: skip
    record = simulate(asked, replications=0).record
    assert set(record.latencies) == set(record.reads) == {"profile"}
    hot = {"at": "1s", "for": "1s", "kind": "hot_key", "endpoint": "profile"}
    turned = prepare(small(endpoints=alone, faults=[hot])).workload
    assert turned.users == 41
    pong = replace(PROFILE, subject="none", path="/pong", reads=())
    assert prepare(small(endpoints=EndpointTable((pong,)))).workload.subject.max() == 0
    with pytest.raises(InputError, match="hot_key is of track requests, which there are none of"):
        small(endpoints=EndpointTable((pong,)), faults=[{**hot, "endpoint": None}])


def test_file_takes_endpoints_from_python_alone(tmp_path: Path) -> None:
    path = shipped()["baseline"]
    asked = load_scenario(path, overrides=["endpoints.profile.weight=0.5"], endpoints=FIVE)
    assert asked.traffic.mix.weights() == (0.80, 0.08, 0.08, 0.04, 0.5)
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\n[[endpoints]]\nname = "x"\nbehaviour = "os:system"\n')
    with pytest.raises(InputError, match=r"own.toml: endpoints is no table; head"):
        load_scenario(own)
    own.write_text('name = "own"\n[endpoints.x]\npath = "/x"\nbehaviour = "os:system"\n')
    with pytest.raises(InputError, match=r"own.toml: endpoints.x.behaviour: names code"):
        load_scenario(own)


def test_read_that_the_description_does_not_have_is_named() -> None:
    twice = replace(PROFILE, behaviour=PROFILE.behaviour.replace("BEHAVIOUR", "TWICE"))
    with pytest.raises(InputError, match=r"profile: .* reads profile, profile, .* has profile"):
        simulate(small(endpoints=CDP.with_endpoint(twice)), replications=0)


def test_behaviour_that_is_not_there_is_named(tmp_path: Path) -> None:
    for behaviour, reason in (
        ("no_such_module:BEHAVIOUR", "No module named 'no_such_module'"),
        (f"{__name__.rpartition('.')[0]}.profile_endpoint:PROFILE", "is a Endpoint|has to be"),
    ):
        described = {**FIVE.to_data()[-1], "behaviour": behaviour}
        table = [*CDP.to_data(), described]
        with pytest.raises(InputError, match=rf"endpoint profile: .*{reason}"):
            simulate(small(endpoints=table), replications=0)


@asynccontextmanager
async def served(scenario: Scenario, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    folder.mkdir()
    app = create_app(
        WorkerPlan(scenario=scenario, position=0, folder=folder, redis=None, emulate=False)
    )
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        yield client


def test_two_services_of_one_process_have_each_the_endpoints_of_their_table(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with (
            served(small(), tmp_path / "four") as four,
            served(small(endpoints=FIVE), tmp_path / "five") as five,
        ):
            assert (await four.get("/profile/u1")).status_code == 404
            assert "/profile/{user_id}" not in (await four.get("/openapi.json")).json()["paths"]
            assert (await four.get("/journey/u1")).status_code == 200
            first, second = await five.get("/profile/u1"), await five.get("/profile/u1")
            assert first.json() == {"user_id": "u1", "segment": "returning"}
            assert "fwd=uri-miss; read=profile" in first.headers["Cache-Status"]
            assert second.headers["Cache-Status"] == "L1; hit; read=profile"
            absent = await five.get("/profile/nobody")
            assert absent.status_code == 404
            assert absent.json()["error"]["code"] == "no_profile"
            assert (await five.post("/profile/u1")).status_code == 405
            assert (await five.get("/journey/u1")).status_code == 200
            path = (await five.get("/openapi.json")).json()["paths"]["/profile/{user_id}"]
            assert path["get"]["operationId"] == "profile"
            stats = (await five.get("/api/performance/stats?scope=process")).json()["data"]
            assert stats["cumulative"]["counters"]["requests_profile"] == 3

    asyncio.run(scene())


def test_load_measures_the_fifth_endpoint_of_the_service(tmp_path: Path) -> None:
    asked = small(
        endpoints=FIVE, kpis=[KPI], duration="1.5s", warm_up="0.5s", start="cold",
        traffic={"stages": [{"rate": 120}], "users": 40, "conversions": 20},
    )  # fmt: skip
    prepared = prepare(asked)
    with running_service(asked, token="t", folder=None) as service:
        plan = make_plan(asked, prepared.workload, service.urls, run_id="own")
        plan_folder = tmp_path / "load"
        plan_folder.mkdir()
        result = run_load(plan, plan_folder)
    measured, _ = measure(asked, prepared.workload, result)
    assert measured.latencies["profile"].failed == 0
    assert sum(measured.reads["profile"].values()) >= measured.latencies["profile"].count > 0
    predicted = simulate(asked, prepared=prepared, replications=0).record
    assert predicted.latencies["profile"].count == measured.latencies["profile"].count


def test_report_calls_the_fifth_endpoint_by_its_title(both: tuple[Simulation, Simulation]) -> None:
    record, kpis = both[1].record, small(endpoints=FIVE, kpis=[KPI]).judged()
    report = Report(
        title="own", rows=compare(kpis, record, None), outcome=Outcome.PASS, predicted=record
    )
    assert "95 % of profile requests take at most this" in html(report, (), {})
    drawn = spectrum(record, None, kpis)
    texts = [text.get_text() for axes in drawn.axes for text in axes.findobj(Text)]
    assert "profile" in texts


def test_calibration_asks_every_endpoint() -> None:
    asked = small(endpoints=FIVE)
    workload = calibration_workload(asked)
    counts = np.bincount(workload.endpoint, minlength=5)
    assert counts[4] > 0.5 * counts[1] > 0
