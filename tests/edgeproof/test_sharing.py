"""edgeproof load over several processes: one merged result, and what is lost is named."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from edgeproof.main import main
from scenarios.driver import LOCUSTFILE, worker_fault
from tests.conftest import free_port
from tests.scenarios.conftest import StartService, inspect, start_service

__all__ = ["start_service"]

SCENARIO = """
name = "shared"
duration = "0.8s"
warm_up = "0.2s"
timeout = "1s"

[traffic]
stages = [{ rate = 80.0 }]
users = 50
conversions = 20

[endpoints.track.headers]
X-Key = "${SHARED_KEY}"
"""
SECRET = "kZ3f-of-this-machine"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts `edgeproof load` in a folder with the scenario."""
    (tmp_path / "shared.toml").write_text(SCENARIO)
    processes = []

    def begin(*arguments: str, program: str | None = None, **env: str) -> subprocess.Popen[str]:
        run = ["-m", "edgeproof", "load"] if program is None else ["-c", program]
        process = subprocess.Popen(
            [sys.executable, *run, *arguments],
            cwd=tmp_path,
            env={**os.environ, "SHARED_KEY": SECRET, "HOME": str(tmp_path), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_load(url: str, process: subprocess.Popen[str]) -> None:
    end = monotonic() + 60
    while len(inspect(url)["seen"]) < 20:
        assert process.poll() is None
        assert monotonic() < end
        sleep(0.05)


def test_workers_of_a_master_share_the_plan_and_give_one_record(
    start_service: StartService, start: Start, tmp_path: Path
) -> None:
    url, port = start_service("good"), str(free_port())
    worker = start("--worker", f"127.0.0.1:{port}", "--processes", "2")
    master = start(
        *("shared.toml", "--host", url, "--master", "--port", port, "--expect-workers", "2"),
        *("--json", "--out", "run", "--kpi", "p95(track) < 400ms"),
    )
    said, told = master.communicate(timeout=60)
    assert master.returncode in (0, 1, 3), told  # 3: a machine too busy to send in time
    _, told = worker.communicate(timeout=30)
    assert worker.returncode == 0, told
    assert json.loads(said)["kpis"]
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    audit = record["audit"]
    assert audit["sent"] + len(audit["dropped"]) == audit["planned"] == record["planned"]
    assert audit["sent"] < audit["planned"] or audit["rendered_hash"] == record["workload_hash"]
    facts = json.loads((tmp_path / "run" / "load" / "audit.json").read_text())["facts"]
    assert sum(each["sent"] for each in facts["workers"]) == audit["sent"]
    shares = [each["sent"] for each in facts["workers"]]
    assert len(shares) == 2
    assert min(shares) > 0
    assert audit["cpu_share"] == max(each["cpu_share"] for each in facts["workers"])
    asked = inspect(url)
    of_run = [each for each in asked["seen"] if "preflight" not in each["body"]]
    events = [json.loads(each["body"])["event_id"] for each in of_run if each["body"]]
    assert len(set(events)) == len(events) > 0
    assert len(asked["runs"]) == 1
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


def test_a_killed_process_is_named_and_the_run_invalid(
    start_service: StartService, start: Start, tmp_path: Path
) -> None:
    url, port = start_service("good"), free_port()
    load = start(
        *("shared.toml", "--host", url, "--processes", "2", "--plain", "--out", "run"),
        *("--set", "duration=600s", "--metrics-port", str(port)),
    )
    wait_for_load(url, load)
    metrics = ""
    while 'edgeproof_load_requests_total{endpoint="journey"}' not in metrics:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            metrics = answer.read().decode()
        assert load.poll() is None
    (idle,) = re.findall(r'edgeproof_load_users{state="idle"} (\d+)', metrics)
    assert int(idle) > 0
    # Of the processes that the command has started, the first is the master.
    children = Path(f"/proc/{load.pid}/task/{load.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    said, told = load.communicate(timeout=60)
    assert load.returncode == 3, told
    assert f"process {children[-1]}) was lost: it sends no heartbeat any more" in said
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert 0 < record["audit"]["sent"] < record["audit"]["planned"]
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_ctrl_c_keeps_what_all_processes_measured(
    start_service: StartService, start: Start, tmp_path: Path
) -> None:
    url = start_service("good")
    load = start(
        *("shared.toml", "--host", url, "--processes", "2", "--plain", "--out", "run"),
        *("--set", "duration=600s"),
    )
    wait_for_load(url, load)
    load.send_signal(signal.SIGINT)
    _, told = load.communicate(timeout=60)
    assert load.returncode == 130, told
    facts = json.loads((tmp_path / "run" / "load" / "audit.json").read_text())["facts"]
    assert facts["lost"] == []
    assert all(each["sent"] for each in facts["workers"])
    assert len(facts["workers"]) == 2


# A worker as it would be on a machine where another version is installed.
OTHER_VERSION = """
import importlib.metadata as metadata, sys
real = metadata.version
metadata.version = lambda name: "0.0.1" if name == "edgeproof" else real(name)
from locust.main import main
sys.argv[0] = "locust"
main()
"""


def test_workers_that_cannot_take_part_end_the_load_before_it_begins(
    start_service: StartService, start: Start
) -> None:
    url, port = start_service("good"), str(free_port())
    start(
        *("-f", str(LOCUSTFILE), "--headless", "--worker", "--master-port", port),
        program=OTHER_VERSION,
    )
    worker = start("--worker", f"127.0.0.1:{port}", SHARED_KEY="")
    master = start(
        *("shared.toml", "--host", url, "--master", "--port", port, "--expect-workers", "2"),
        "--plain",
    )
    _, told = master.communicate(timeout=60)
    assert master.returncode == 2, told
    (line,) = [each for each in told.splitlines() if "failed: " in each]
    assert line.startswith("edgeproof: worker ")
    assert "it runs edgeproof 0.0.1, the master " in line
    assert "endpoints.track.headers.X-Key: the environment variable SHARED_KEY is empty" in line
    assert inspect(url)["seen"] == []
    _, told = worker.communicate(timeout=30)
    assert worker.returncode == 2
    assert "a worker could not do its part: endpoints.track.headers.X-Key: " in told


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--worker 10.0.0.5 --rate 5", "--rate: with --worker the master decides it"),
        ("baseline --worker 10.0.0.5", "SCENARIO: with --worker the master decides it"),
        ("--worker http://a/b", "--worker http://a/b: is no address"),
        ("baseline --host URL --master --processes 2", "--processes 2: with --master, workers are"),
        ("baseline --host URL --master --repeat 2", "--repeat: with --master there is one load"),
        ("baseline --host URL --master --bind here", "--bind here: is no IP address"),
        ("baseline --host URL --processes 3 --connections 2", "fewer than the 3 processes"),
        ("", "SCENARIO is missing"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert main(["load", *arguments.replace("URL", url).split()]) == 2
    assert reason in capsys.readouterr().err


def test_worker_without_a_master_names_its_address() -> None:
    said = "[2026-01-01 10:00:00] vm/ERROR/locust.main: Failed to connect to the Locust master:"
    assert worker_fault(said, "10.0.0.5", 5557).startswith(
        "--worker 10.0.0.5:5557: no master answers there; start `edgeproof load --master` first"
    )
    assert worker_fault("no", "10.0.0.5", 5557) == "a worker could not do its part: no"
