"""Claims about the service's life: starts, ends, crashes, lost stores, several processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from core.clock import SystemClock, epoch_ms
from core.errors import InputError, InvalidRun
from core.metrics.histogram import LatencyHistogram
from core.scenario.scenario import Scenario
from core.service.launcher import running_service
from tests.conftest import ROOT, find_program, free_port, start_redis, stop
from tests.core.service.serving import (
    MODELS,
    NOW_MS,
    POLLS,
    Visitor,
    await_end,
    problem,
    rows_of,
    serving,
    small_scenario,
)

NEVER = "60s"


def slow_queue(name: str) -> Scenario:
    """Return a scenario whose queue hands nothing out by itself."""
    return small_scenario(name, queue={"wait": NEVER, "batch_size": 100})


def sell(visitor: Visitor, number: int) -> list[str]:
    """Track *number* conversions of new users, with a touch each; return their ids."""
    sold = []
    for _ in range(number):
        user, conversion = visitor.fresh("user"), visitor.fresh("conversion")
        visitor.track(user_id=user, timestamp=NOW_MS - 1, utm_source="bing")
        answer = visitor.track(user_id=user, conversion_id=conversion, value=2.0)
        assert answer.status_code == 202
        sold.append(conversion)
    return sold


def attributed(folder: Path) -> list[tuple[str, float]]:
    """Return (conversion, linear credit) of every processed conversion that was tracked."""
    return rows_of(
        folder,
        "SELECT conversion_id, linear FROM conversions JOIN touch_credits"
        " USING (conversion_id) WHERE processed = 1 AND conversion_id LIKE 'fresh%'"
        " ORDER BY conversion_id",
    )


def totals(folder: Path) -> dict[str, tuple[float, float]]:
    """Return credit and value over all channels, by model."""
    sql = (
        "SELECT attribution_model, sum(total_attribution), sum(total_value)"
        " FROM channel_performance GROUP BY attribution_model"
    )
    return {model: (credit, value) for model, credit, value in rows_of(folder, sql)}


# --- ends and crashes --------------------------------------------------------------------------


def test_sigterm_attributes_what_was_accepted_just_before(tmp_path: Path) -> None:
    with serving(slow_queue("drained"), tmp_path) as (visitor,):
        before = totals(tmp_path)
        sold = sell(visitor, 3)
        assert visitor.counters()["queue_pending"] == 3
        assert attributed(tmp_path) == []
        (process,) = visitor.service.processes
        os.kill(process.pid, signal.SIGTERM)
        await_end(process.pid)
        assert attributed(tmp_path) == [(name, 1.0) for name in sorted(sold)]
    after = totals(tmp_path)
    for model in MODELS:
        assert after[model] == pytest.approx((before[model][0] + 3, before[model][1] + 6.0))
    assert {file.name for file in tmp_path.iterdir()} == {"cdp.sqlite"}


def test_queue_pending_counts_what_waits_in_the_database_and_in_no_hand(tmp_path: Path) -> None:
    with serving(small_scenario("waiting"), tmp_path):
        pass
    later = epoch_ms(SystemClock()) + 3_600_000
    with closing(sqlite3.connect(tmp_path / "cdp.sqlite")) as connection, connection:
        connection.executemany(
            "INSERT INTO conversion_queue VALUES (?, 0, ?, ?, NULL, NULL)",
            [(f"later-{number}", later, later) for number in range(3)],
        )
    with serving(small_scenario("waiting"), tmp_path) as (visitor,):
        assert visitor.counters()["queue_pending"] == 3


def test_kill_loses_no_accepted_conversion(tmp_path: Path) -> None:
    with serving(slow_queue("killed"), tmp_path) as (visitor,):
        before = totals(tmp_path)
        sold = sell(visitor, 4)
        (process,) = visitor.service.processes
        os.kill(process.pid, signal.SIGKILL)
        await_end(process.pid)
        assert attributed(tmp_path) == []
    with serving(small_scenario("killed"), tmp_path) as (visitor,):
        visitor.await_processed(4)
        for name in sold:
            assert [t["credit"] for t in visitor.attribution(name).json()["touchpoints"]] == [1.0]
        visitor.await_counters(lambda now: now["queue_pending"] == 0)
        assert visitor.counters()["conversions_processed"] == 4
    assert attributed(tmp_path) == [(name, 1.0) for name in sorted(sold)]
    after = totals(tmp_path)
    for model in MODELS:
        assert after[model] == pytest.approx((before[model][0] + 4, before[model][1] + 8.0))


def test_restart_keeps_the_rows_and_attributes_nothing_twice(tmp_path: Path) -> None:
    with serving(small_scenario("again"), tmp_path) as (visitor,):
        sell(visitor, 2)
        visitor.await_processed(2)
    before = totals(tmp_path), attributed(tmp_path)
    with serving(small_scenario("again"), tmp_path) as (visitor,):
        assert visitor.counters()["conversions_processed"] == 0
        assert visitor.counters()["queue_pending"] == 0
    assert (totals(tmp_path), attributed(tmp_path)) == before
    assert len(before[1]) == 2


def test_no_process_outlives_the_context(tmp_path: Path) -> None:
    scenario = small_scenario("ended", topology={"processes": 2, "isolates": 2})
    with serving(scenario, tmp_path) as (visitor, _):
        pids = [process.pid for process in visitor.service.processes]
        assert len(pids) == 4  # two of the service, the L2 that they share, the consumer
        assert not visitor.service.ended()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


LAUNCH = """
import json, sys, threading
from pathlib import Path
from core.service.launcher import running_service
from tests.core.service.serving import small_scenario
scenario = small_scenario("orphaned", topology={"processes": 2, "isolates": 2})
with running_service(scenario, token=None, folder=Path(sys.argv[1])) as service:
    print(json.dumps([process.pid for process in service.processes]), flush=True)
    threading.Event().wait()
"""


def launched(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Return a process that runs a service of several on *folder*, and their ids."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(folder)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert launcher.stdout is not None
    return launcher, json.loads(launcher.stdout.readline())


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the children")
def test_no_process_outlives_a_launcher_that_was_killed(tmp_path: Path) -> None:
    launcher, pids = launched(tmp_path)
    try:
        assert len(pids) == 4
    finally:
        launcher.kill()
        launcher.communicate()
    for pid in pids:
        await_end(pid)


@pytest.mark.parametrize("module", ["core.service.fake_redis", "core.service.local_destination"])
def test_a_burst_of_signals_ends_what_a_service_starts_beside_it(module: str) -> None:
    # As the kernel sends them when a parent with several threads is killed.
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-m", module], stdout=subprocess.PIPE, cwd=ROOT)
        assert child.stdout is not None
        assert "ready" in json.loads(child.stdout.readline())
        for _ in range(400):
            child.send_signal(signal.SIGTERM)
        await_end(child.pid)
        # What is still sent while the interpreter ends may end it.
        assert child.wait() in (0, -signal.SIGTERM)
        child.stdout.close()


# --- what keeps it from starting ---------------------------------------------------------------


def refusal(scenario: Scenario, folder: Path, *, port: int = 0, redis: str | None = None) -> str:
    """Return why the service for *scenario* does not start; it is one line."""
    with (
        pytest.raises(InputError) as caught,
        running_service(scenario, token=None, folder=folder, port=port, redis=redis),
    ):
        pytest.fail("the service started")
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Return a port on which somebody else listens; the one before it is free."""
    for _ in range(100):
        with socket.socket() as listener, socket.socket() as before:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = int(listener.getsockname()[1])
            try:
                before.bind(("127.0.0.1", port - 1))
            except OSError:
                continue
            before.close()
            yield port
            return
    pytest.fail("no two ports in a row are free")


def test_port_in_use_is_one_clear_error(tmp_path: Path, taken_port: int) -> None:
    message = refusal(small_scenario("taken"), tmp_path, port=taken_port)
    assert f"127.0.0.1:{taken_port}" in message
    assert "in use" in message
    assert "--port" in message


def test_port_in_use_of_the_second_process_ends_the_first(tmp_path: Path, taken_port: int) -> None:
    scenario = small_scenario("half-taken", topology={"processes": 2, "isolates": 2})
    message = refusal(scenario, tmp_path, port=taken_port - 1)
    assert f"127.0.0.1:{taken_port}" in message
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", taken_port - 1))
        first.listen()


def test_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "cdp.sqlite"
    path.write_text("These are the notes that I keep, and no database at all.\n" * 30)
    message = refusal(small_scenario("notes"), tmp_path)
    assert str(path) in message
    assert "not a usable database" in message


def test_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    message = refusal(small_scenario("nowhere"), tmp_path / "missing")
    assert message.startswith(f"{tmp_path / 'missing'}: ")
    assert "No such file or directory" in message


def test_second_service_on_a_folder_is_refused_and_does_the_first_no_harm(tmp_path: Path) -> None:
    with serving(small_scenario("first"), tmp_path) as (visitor,):
        sell(visitor, 2)
        visitor.await_processed(2)
        message = refusal(small_scenario("second"), tmp_path)
        assert message.startswith(f"{tmp_path}: a service runs on it already")
        assert f"(process {os.getpid()})" in message
        assert "give another folder" in message
        sell(visitor, 1)
        assert visitor.await_processed(3)["conversions_processed"] == 3
    with serving(small_scenario("second"), tmp_path) as (visitor,):
        assert visitor.get("/journey/u1").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the children")
def test_folder_of_a_service_that_was_killed_is_free(tmp_path: Path) -> None:
    launcher, _ = launched(tmp_path)
    try:
        message = refusal(small_scenario("too-early"), tmp_path)
        assert f"already (process {launcher.pid})" in message
    finally:
        launcher.kill()
        launcher.communicate()
    with serving(small_scenario("next"), tmp_path) as (visitor,):
        assert visitor.get("/journey/u1").status_code == 200


def test_database_of_a_newer_version_is_one_clear_error(tmp_path: Path) -> None:
    with serving(small_scenario("newer"), tmp_path):
        pass
    rows_of(tmp_path, "PRAGMA user_version = 99")
    assert "newer version" in refusal(small_scenario("newer"), tmp_path)


def test_redis_that_is_no_url_is_one_clear_error(tmp_path: Path) -> None:
    message = refusal(small_scenario("no-url"), tmp_path, redis="localhost")
    assert "--redis localhost" in message


def test_trace_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    scenario = small_scenario("traced", trace={"file": str(tmp_path / "missing.csv")})
    assert "missing.csv" in refusal(scenario, tmp_path)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_address_that_is_not_here_is_one_clear_error(tmp_path: Path, host: str) -> None:
    with (
        pytest.raises(InputError, match=rf"^{re.escape(host)}:0: .*; choose another --bind$"),
        running_service(small_scenario("away"), token=None, folder=tmp_path, host=host),
    ):
        pytest.fail("the service started")


def test_fault_after_the_start_is_not_the_services_own(tmp_path: Path) -> None:
    # An InvalidRun must stay one: it has an exit code of its own.
    with pytest.raises(InvalidRun, match=r"^mine$"), serving(small_scenario("mine"), tmp_path):
        raise InvalidRun("mine")


# --- an L2 that goes away ----------------------------------------------------------------------

BYPASS = "L2; fwd=bypass; detail=error; read={0}, L1; fwd=uri-miss; read={0}"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Return a redis-server that the test may stop and kill, and its URL."""
    program = find_program("redis-server", package="redis-server")
    folder = tmp_path / "redis"
    folder.mkdir()
    process, url = start_redis(program, folder)
    try:
        yield process, url
    finally:
        process.send_signal(signal.SIGCONT)
        stop(process)


def test_reads_bypass_a_redis_that_was_killed(
    tmp_path: Path, own_redis: tuple[subprocess.Popen[bytes], str]
) -> None:
    redis, url = own_redis
    with serving(small_scenario("bereft"), tmp_path, redis=url) as (visitor,):
        assert visitor.get("/journey/u1").headers["Cache-Status"].startswith("L2; fwd=uri-miss")
        redis.kill()
        redis.wait()
        for user in (2, 3):
            answer = visitor.get(f"/journey/u{user}")
            assert answer.status_code == 200
            assert answer.headers["Cache-Status"] == BYPASS.format("journey")
        assert visitor.get("/journey/u2").headers["Cache-Status"] == "L1; hit; read=journey"
        before = visitor.counters()["conversions_processed"]
        sell(visitor, 1)
        visitor.await_processed(before + 1)
        message = problem(visitor.command("cache-invalidate", {"prefix": "journey:"}), 503)
        assert "these isolates refuse the old values, L2 may hold them" in message
        assert visitor.get("/journey/u2").headers["Cache-Status"] == BYPASS.format("journey")
        assert "L2" in problem(visitor.command("run"), 503)
        bypassed = visitor.monitoring("cache-stats")["cache"]["by_type"]["user_journeys"]["bypass"]
        assert bypassed == 3


def test_reads_bypass_a_redis_that_hangs_and_return_when_it_does(
    tmp_path: Path, own_redis: tuple[subprocess.Popen[bytes], str]
) -> None:
    redis, url = own_redis
    scenario = small_scenario("hanging", tiers={"l2": {"timeout": "1s"}})
    with serving(scenario, tmp_path, redis=url) as (visitor,):
        assert visitor.get("/journey/u1").headers["Cache-Status"].startswith("L2; fwd=uri-miss")
        redis.send_signal(signal.SIGSTOP)
        answer = visitor.get("/journey/u1", isolate=1)
        assert answer.status_code == 200
        assert answer.headers["Cache-Status"] == BYPASS.format("journey")
        redis.send_signal(signal.SIGCONT)
        answer = visitor.get("/journey/u1", isolate=2)
        assert answer.headers["Cache-Status"].startswith("L2; hit")


def test_service_starts_and_serves_without_its_redis(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with serving(small_scenario("alone"), tmp_path, redis=url) as (visitor,):
        answer = visitor.get("/journey/u1")
        assert answer.status_code == 200
        assert answer.headers["Cache-Status"] == BYPASS.format("journey")


# --- faults of the scenario --------------------------------------------------------------------


def faulty(name: str, tier: str, kind: str, value: float = 1.0) -> Scenario:
    """Return a scenario with one fault that lasts longer than any test."""
    fault = {"at": "0s", "for": "10000s", "tier": tier, "kind": kind, "value": value}
    return small_scenario(name, faults=[fault], tiers={"l3": {"timeout": "1s"}})


def first_afflicted(visitor: Visitor) -> httpx.Response:
    """Start a run and return the first answer that differs from those before its faults hold."""
    answer = visitor.get(f"/journey/{visitor.fresh('user')}")
    healthy = answer.status_code, answer.headers["Cache-Status"]
    assert visitor.command("run").json()["data"]["starts_in"] > 0
    for _ in range(POLLS):
        answer = visitor.get(f"/journey/{visitor.fresh('user')}")
        if (answer.status_code, answer.headers.get("Cache-Status")) != healthy:
            return answer
    raise AssertionError("the fault never struck")


@pytest.mark.parametrize(("kind", "status"), [("error", 503), ("dead", 504)])
def test_fault_of_the_database_is_an_error_that_says_so(
    tmp_path: Path, kind: str, status: int
) -> None:
    with serving(faulty(f"l3-{kind}", "l3", kind), tmp_path) as (visitor,):
        answer = first_afflicted(visitor)
        assert "database" in problem(answer, status)
        assert "Server-Timing" in answer.headers
        assert visitor.counters()["l3_errors"] > 0


def test_fault_of_l2_is_bypassed(tmp_path: Path) -> None:
    with serving(faulty("l2-error", "l2", "error"), tmp_path) as (visitor,):
        answer = first_afflicted(visitor)
        assert answer.status_code == 404
        assert answer.headers["Cache-Status"] == BYPASS.format("journey")
        assert visitor.counters()["l2_errors"] > 0


# --- two processes -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Visitor]]:
    """Return clients of the two processes of one service, whose database was used before."""
    folder = tmp_path_factory.mktemp("pair")
    # Free times on the scale of a clock that had run for years: another boot's.
    (folder / "executions").write_bytes(struct.pack("d", 1e9))
    scenario = small_scenario(
        "two-processes",
        topology={"processes": 2, "isolates": 2},
        tiers={"l3": {"timeout": "5s"}},
    )
    with serving(scenario, folder) as visitors:
        assert len({visitor.http.base_url for visitor in visitors}) == 2
        yield visitors


def test_processes_share_l2_and_not_l1(pair: list[Visitor]) -> None:
    first, second = pair
    answers = [v.get("/journey/u1") for v in (first, second, second)]
    states = [answer.headers["Cache-Status"] for answer in answers]
    assert [state[:7] for state in states] == ["L2; fwd", "L2; hit", "L1; hit"]
    assert len({answer.content for answer in answers}) == 1


def test_processes_share_the_database(pair: list[Visitor]) -> None:
    first, second = pair
    user = first.fresh("shared")
    first.track(user_id=user)
    assert len(second.get(f"/journey/{user}").json()["events"]) == 1
    event = {"event_id": f"e-{user}", "user_id": user, "site_id": "s1",
             "event_name": "view", "timestamp": NOW_MS}  # fmt: skip
    flags = [v.http.post("/track", json=event).json()["duplicate"] for v in (second, first)]
    assert flags == [False, True]


def test_consumer_attributes_what_any_process_accepted(pair: list[Visitor]) -> None:
    first, second = pair
    before = first.counters()["conversions_processed"]
    sold = sell(second, 3)
    first.await_processed(before + 3)
    counters = first.await_counters(lambda now: now["queue_pending"] == 0)
    assert second.counters()["conversions_processed"] == 0  # the first one tells for all
    assert {name for name, _ in attributed(first.folder)} >= {*sold}
    histogram = LatencyHistogram.from_json(first.stats()["histograms"]["queue"])
    assert histogram.count == counters["queue_batches"] > 0


def test_kill_of_consumer_and_workers_loses_no_accepted_conversion(tmp_path: Path) -> None:
    topology = {"processes": 2, "isolates": 2}
    scenario = small_scenario(
        "killed-pair", topology=topology, queue={"wait": NEVER, "batch_size": 100}
    )
    with serving(scenario, tmp_path) as visitors:
        sold = sell(visitors[1], 4)
        visitors[0].await_counters(lambda now: now["queue_pending"] == 4)
        for process in visitors[0].service.processes:
            os.kill(process.pid, signal.SIGKILL)
            await_end(process.pid)
        assert attributed(tmp_path) == []
    with serving(small_scenario("killed-pair", topology=topology), tmp_path) as visitors:
        visitors[0].await_processed(4)
        visitors[0].await_counters(lambda now: now["queue_pending"] == 0)
    assert attributed(tmp_path) == [(name, 1.0) for name in sorted(sold)]


def test_sigterm_lets_the_consumer_finish_what_the_workers_accepted(tmp_path: Path) -> None:
    scenario = small_scenario(
        "ended-pair",
        topology={"processes": 2, "isolates": 2},
        queue={"wait": NEVER, "batch_size": 100},
    )
    with serving(scenario, tmp_path) as visitors:
        sold = sell(visitors[1], 4)
        assert attributed(tmp_path) == []
    assert attributed(tmp_path) == [(name, 1.0) for name in sorted(sold)]


def test_isolates_of_a_process_are_its_own(pair: list[Visitor]) -> None:
    for visitor in pair:
        assert "0 to 1" in problem(visitor.get("/journey/u1", isolate=2), 400)


def test_run_starts_at_one_time_on_both_processes(pair: list[Visitor]) -> None:
    first, second = pair
    for visitor in pair:
        visitor.get("/journey/u7", isolate=1)
    starts = first.command("run").json()["data"]
    joined = second.command("run", {"starts_at_ms": starts["starts_at_ms"]}).json()["data"]
    # Both count from a clock of their own, to the millisecond.
    assert abs(joined["starts_at_ms"] - starts["starts_at_ms"]) <= 1
    assert joined["starts_in"] <= starts["starts_in"] + 0.002
