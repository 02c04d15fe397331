"""Loads through a real Locust process and a real socket."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.metrics.kpi import Outcome
from core.metrics.verdict import compare, outcome
from scenarios.audit import audit_of
from scenarios.driver import GeneratorDied, run_load
from scenarios.hosts import HostUnreachable
from scenarios.measurement import measure
from scenarios.plan import LoadPlan
from scenarios.result import Kind, LoadResult
from tests.scenarios.conftest import ROOT, StartService, inspect
from tests.scenarios.fake_service import STALL_SECONDS
from tests.scenarios.loads import small_plan, small_scenario

ONLY_TRACK = {"track": 1, "attribution": 0, "journey": 0, "channels": 0}


def audited(plan: LoadPlan, result: LoadResult) -> Any:
    return audit_of(plan.workload, result, warm_up=plan.scenario.warm_up)[0]


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose command line names *folder*."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in arguments:
                found.append(int(entry.name))
    return found


def test_every_planned_request_goes_over_the_wire(
    start_service: StartService, tmp_path: Path
) -> None:
    url = start_service("good")
    plan = small_plan(small_scenario(rate=150, duration="1.8s"), [url])
    plan = replace(plan, metrics=True)
    lines: list[Mapping[str, Any]] = []
    result = run_load(plan, tmp_path, on_progress=lines.append)
    rows, audit = result.rows, audited(plan, result)
    assert audit.sent + len(audit.dropped) == audit.planned == len(plan.workload)
    assert audit.dropped == ()
    assert audit.rendered_hash == plan.workload.identity()
    assert set(rows.kind.tolist()) == {Kind.ANSWERED}
    assert np.all(rows.latency > 0)
    assert np.all(rows.lag >= 0)
    seen = inspect(url)["seen"]
    assert len(seen) == len(plan.workload)
    events = {json.loads(request["body"])["event_id"] for request in seen if request["body"]}
    assert events == {f"test-{index}" for index in np.flatnonzero(plan.workload.endpoint == 0)}
    assert lines[-1]["phase"] == "done"
    assert lines[-1]["done"] == lines[-1]["planned"] == len(plan.workload)
    assert lines[-1]["answered"] == len(plan.workload)
    figures = lines[-1]["figures"]
    assert sum(figures["sent"].values()) == len(plan.workload)
    assert [sum(found["counts"]) for found in figures["latency"].values()] == np.bincount(
        rows.endpoint, minlength=len(figures["latency"])
    ).tolist()
    assert sum(found["sum"] for found in figures["latency"].values()) == pytest.approx(
        float(rows.latency.sum())
    )
    assert figures["lag"]["sum"] == pytest.approx(float(rows.lag.sum()))
    assert figures["users"]["busy"] == 0
    assert processes_in(tmp_path) == []


def test_service_that_tells_is_measured_white_box(
    start_service: StartService, tmp_path: Path
) -> None:
    plan = small_plan(small_scenario(), [start_service("good")])
    result = run_load(plan, tmp_path)
    record, requests = measure(plan.scenario, plan.workload, result)
    measured = sum(histogram.count for histogram in record.latencies.values())
    assert record.stages["query"].count >= measured > 0
    assert record.stages["total"].count == record.stages["cpu"].count == measured
    assert record.stages["l2"].count == 2 * measured
    assert record.stages["cpu"].quantile(0.5) == pytest.approx(200e-6, rel=0.2)
    assert record.memory_peak == plan.scenario.topology.base_memory + 1_000_000
    assert set(record.reads["config"]) >= {"l1", "l2", "miss"}
    assert sum(record.reads["lookup"][outcome] for outcome in ("l1", "miss")) > 0
    assert "clean start: clean" in record.notes
    assert requests.intended.size == len(plan.workload)
    assert result.polls[0]
    assert result.polls[0][-1]["counters"]["requests"] == len(plan.workload)


def test_hosts_start_together_and_get_their_own_isolates(
    start_service: StartService, tmp_path: Path
) -> None:
    hosts = [start_service("good"), start_service("good")]
    scenario = small_scenario(topology={"processes": 2, "isolates": 2}, rate=100)
    plan = small_plan(scenario, hosts)
    result = run_load(plan, tmp_path)
    assert set(result.rows.kind.tolist()) == {Kind.ANSWERED}
    first, second = inspect(hosts[0]), inspect(hosts[1])
    assert first["runs"][0]["starts_at_ms"] is None
    assert second["runs"][0]["starts_at_ms"] is not None
    assert first["runs"][0]["run_id"] == second["runs"][0]["run_id"] == "test"
    here = plan.workload.isolate < 2
    assert len(first["seen"]) == np.count_nonzero(here)
    assert len(second["seen"]) == np.count_nonzero(~here)
    assert {request["isolate"] for request in second["seen"]} == {"0", "1"}


def test_foreign_host_is_measured_black_box(start_service: StartService, tmp_path: Path) -> None:
    url = start_service("foreign")
    plan = small_plan(small_scenario(), [url])
    record, _ = measure(plan.scenario, plan.workload, run_load(plan, tmp_path))
    assert f"clean start: not possible: {url}: the host answered 405" in record.notes
    assert record.memory_peak is None
    assert "query" not in record.stages
    assert all(histogram.failed == 0 for histogram in record.latencies.values())


def test_without_a_token_no_clean_start_is_asked_for(
    start_service: StartService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = start_service("good")
    monkeypatch.delenv("EDGEPROOF_TOKEN")
    result = run_load(small_plan(small_scenario(), [url]), tmp_path)
    assert "EDGEPROOF_TOKEN is not set" in result.audit["clean_start"]
    assert inspect(url)["runs"] == []


@pytest.mark.parametrize(
    ("mode", "kind", "status"),
    [
        ("error", Kind.STATUS, 500),
        ("redirect", Kind.STATUS, 302),
        ("bad_json", Kind.NOT_JSON, 200),
        ("empty_json", Kind.EMPTY, 200),
        ("hang", Kind.TIMEOUT, 0),
        ("close", Kind.CLOSED, 0),
        ("truncate", Kind.TRUNCATED, None),
    ],
)
def test_failed_requests_are_slower_than_any_limit(
    mode: str, kind: Kind, status: int | None, start_service: StartService, tmp_path: Path
) -> None:
    plan = small_plan(small_scenario(rate=40, timeout="0.4s"), [start_service(mode)])
    result = run_load(plan, tmp_path)
    rows = result.rows
    assert set(rows.kind.tolist()) == {kind}
    assert status is None or set(rows.status.tolist()) == {status}
    assert np.all(np.isinf(rows.latency))
    assert len(rows) + rows.dropped.size == len(plan.workload)
    record, _ = measure(plan.scenario, plan.workload, result)
    assert all(h.failed == h.count for h in record.latencies.values())


def test_connection_is_never_used_twice_for_one_request(
    start_service: StartService, tmp_path: Path
) -> None:
    """A GET must not be sent again behind the generator's back when the host hangs up."""
    url = start_service("close")
    mix = {"track": 0, "attribution": 0, "journey": 1, "channels": 0}
    traffic = {"stages": [{"rate": 40}], "mix": mix}
    result = run_load(small_plan(small_scenario(traffic=traffic), [url]), tmp_path)
    assert set(result.rows.kind.tolist()) == {Kind.CLOSED}
    assert len(inspect(url)["seen"]) == len(result.rows)


def test_stall_counts_from_the_intended_start(start_service: StartService, tmp_path: Path) -> None:
    url = start_service("stall")
    traffic = {"stages": [{"rate": 100}], "mix": ONLY_TRACK}
    plan = small_plan(small_scenario(traffic=traffic), [url])
    result = run_load(plan, tmp_path)
    rows = result.rows
    order = np.argsort(rows.index)
    intended, latency = rows.intended_ns[order] / 1e9, rows.latency[order]
    body = json.loads(inspect(url)["seen"][9]["body"])
    stalling = int(body["event_id"].removeprefix("test-"))
    # The service holds everybody up until at least this moment.
    released = intended[stalling] + STALL_SECONDS
    held = (np.arange(intended.size) > stalling) & (intended < released)
    assert np.count_nonzero(held) > 10
    assert np.all(latency[held] >= released - intended[held] - 1e-3)


def test_arrivals_without_a_connection_are_dropped(
    start_service: StartService, tmp_path: Path
) -> None:
    scenario = small_scenario(rate=40, timeout="0.4s")
    plan = small_plan(scenario, [start_service("hang")], connections=1)
    result = run_load(plan, tmp_path)
    audit = audited(plan, result)
    assert len(audit.dropped) > 0
    assert audit.sent + len(audit.dropped) == audit.planned
    assert any("were dropped" in reason for reason in audit.invalid)


def test_a_service_that_is_too_slow_gets_more_connections_and_fails(
    start_service: StartService, tmp_path: Path
) -> None:
    scenario = small_scenario(rate=40, timeout="0.4s")
    plan = replace(small_plan(scenario, [start_service("hang")]), pool_size=2)
    result = run_load(plan, tmp_path)
    # A generator that is behind itself, on a busy machine, adds none for that arrival.
    assert result.rows.dropped.size < len(plan.workload) / 4
    assert 2 < result.audit["connections_used"] <= plan.connections
    assert set(result.rows.kind.tolist()) == {Kind.TIMEOUT}
    record, _ = measure(scenario, plan.workload, result)
    assert outcome(compare(scenario.judged(), None, record)) is Outcome.FAIL


def test_stop_half_way_keeps_what_is_done(start_service: StartService, tmp_path: Path) -> None:
    plan = small_plan(small_scenario(rate=50, duration="60s"), [start_service("good")])
    stop = threading.Event()

    def stop_when_some_are_done(progress: Mapping[str, Any]) -> None:
        if progress["done"]:
            stop.set()

    result = run_load(plan, tmp_path, on_progress=stop_when_some_are_done, stop=stop)
    assert result.interrupted
    assert 0 < len(result.rows) < len(plan.workload)
    assert np.all(np.isfinite(result.rows.latency))
    assert audited(plan, result).invalid[0].startswith("interrupted after")
    assert processes_in(tmp_path) == []


def test_stop_before_the_first_request_is_an_empty_result(
    start_service: StartService, tmp_path: Path
) -> None:
    plan = small_plan(small_scenario(), [start_service("good")])
    stop = threading.Event()
    stop.set()
    result = run_load(plan, tmp_path, stop=stop)
    assert result.interrupted
    assert measure(plan.scenario, plan.workload, result)[1].latency.size == len(result.rows)
    assert processes_in(tmp_path) == []


PARENT = """
import sys
from pathlib import Path
from tests.scenarios.loads import small_plan, small_scenario
from scenarios.driver import run_load
plan = small_plan(small_scenario(rate=50, duration="60s"), [sys.argv[1]])
run_load(plan, Path(sys.argv[2]), on_progress=lambda progress: print(progress["done"], flush=True))
"""


@pytest.fixture
def parent(start_service: StartService, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that carries out a load and has begun to print its progress."""
    folder = tmp_path / "load"
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, start_service("good"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_generator_ends_when_its_parent_is_killed(
    parent: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "load"
    (generator,) = (pid for pid in processes_in(folder) if pid != parent.pid)
    handle = os.pidfd_open(generator)
    try:
        parent.kill()
        ended, _, _ = select.select([handle], [], [], 30)
        assert ended
    finally:
        os.close(handle)


def test_interrupt_of_the_parent_ends_the_generator_first(
    parent: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    parent.send_signal(signal.SIGINT)
    assert parent.wait(30) == 0
    assert processes_in(tmp_path / "load") == []
    assert LoadResult.read(tmp_path / "load").interrupted


def test_refused_connection_is_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(HostUnreachable, match=url):
            run_load(small_plan(small_scenario(), [url]), tmp_path / "load")
    assert not (tmp_path / "load").exists()


def test_generator_that_dies_leaves_its_last_line(
    start_service: StartService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(small_scenario(), [start_service("good")])
    monkeypatch.setattr("scenarios.driver.LOCUSTFILE", tmp_path / "missing.py")
    with pytest.raises(GeneratorDied, match=r"code \d+: .*missing\.py") as caught:
        run_load(plan, tmp_path)
    assert "\n" not in str(caught.value)
