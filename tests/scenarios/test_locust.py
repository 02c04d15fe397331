"""Plain Locust on our locustfile, and what its import must not disturb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from scenarios.driver import LOCUSTFILE
from scenarios.result import LoadResult
from tests.conftest import free_port
from tests.scenarios.conftest import ROOT, StartService, inspect

SCENARIO = """
name = "small"
duration = "0.8s"
warm_up = "0.2s"
timeout = "1s"

[traffic]
stages = [{ rate = 60.0 }]
users = 50
conversions = 20
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """Return a scenario file of about a second."""
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def locust(
    scenario: Path, arguments: Sequence[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run plain Locust elsewhere than in the checkout."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"),
            *("--only-summary", "--scenario", str(scenario), *arguments),
        ],
        cwd=scenario.parent,
        env={**os.environ, "HOME": str(scenario.parent), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_plain_locust_sizes_its_pool_and_quits(start_service: StartService, scenario: Path) -> None:
    folder = scenario.parent / "result"
    host = start_service("good")
    done = locust(scenario, ["--host", host, "--result-folder", str(folder), "--rate", "80"])
    assert done.returncode in (0, 3), done.stderr  # 3: a machine too busy to send in time
    assert "track" in done.stdout
    result = LoadResult.read(folder)
    assert result.rows.dropped.size == 0
    assert result.audit["handed"] == result.audit["planned"] == len(result.rows)
    assert ("INVALID" in done.stdout) == (done.returncode == 3)


def test_failed_requests_give_code_1(start_service: StartService, scenario: Path) -> None:
    done = locust(scenario, ["--host", start_service("error")])
    assert done.returncode in (1, 3)
    assert "status 500" in done.stderr


def test_arrivals_that_find_no_connection_give_code_3(
    start_service: StartService, scenario: Path
) -> None:
    url = start_service("stall")
    done = locust(scenario, ["--host", url, "-u", "1", "--connections", "1"])
    assert done.returncode == 3
    assert "INVALID" in done.stdout
    assert "were dropped" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (
            [
                "--host",
                "http://127.0.0.1:1",
                "--set",
                "targets.track.headers.X=${NOT_SET_ANYWHERE}",
            ],
            "targets.track.headers.X: the environment variable NOT_SET_ANYWHERE is not set",
        ),
        (["--host", "http://192.0.2.1"], "--i-am-allowed-to-load 192.0.2.1"),
        (["--host", "http://127.0.0.1:1", "--max-rate", "10"], "above the bound of 10"),
        (["--host", "http://127.0.0.1:1", "--max-duration", "0.5"], "above the bound of 0.5 s"),
        (["--host", "http://127.0.0.1:1", "--set", "tiers.l9=1"], "tiers.l9 is not a known key"),
        ([], "no host is given"),
    ],
)
def test_wrong_input_gives_code_2_before_anything_is_sent(
    arguments: list[str], fault: str, scenario: Path
) -> None:
    done = locust(scenario, arguments)
    assert done.returncode == 2
    assert fault in done.stderr


def test_workers_share_the_rows_and_start_together(
    start_service: StartService, scenario: Path
) -> None:
    url = start_service("good")
    port = str(free_port())  # not the one that every other such run takes
    ports = ["--master-bind-port", port, "--master-port", port]
    done = locust(scenario, ["--host", url, "--processes", "2", *ports])
    assert done.returncode in (0, 3), done.stderr
    assert "track" in done.stdout
    asked = inspect(url)
    bodies = [request["body"] for request in asked["seen"] if request["body"]]
    events = [json.loads(body)["event_id"] for body in bodies]
    assert len(events) == len(set(events)) > 0
    assert {int(event.rpartition("-")[2]) % 2 for event in events} == {0, 1}
    assert len({event.rpartition("-")[0] for event in events}) == 1
    assert len(asked["runs"]) == 1


def test_modules_hide_no_other_package() -> None:
    """While Locust imports the file, its folder comes first on sys.path."""
    ours = {path.stem for path in LOCUSTFILE.parent.glob("*.py")} - {"__init__"}
    others = set(sys.stdlib_module_names) | set(packages_distributions())
    assert ours & others == set()


def test_driver_imports_neither_locust_nor_gevent() -> None:
    """Importing them patches the whole process, which also simulates and draws."""
    code = (
        "import sys, scenarios.driver, scenarios.measurement, scenarios.plan\n"
        "sys.exit(any(name.split('.')[0] in ('locust', 'gevent') for name in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0


LATE_ARRIVAL = """
import json, sys
from time import perf_counter
from locust.env import Environment
from scenarios.arrivals import Arrival
from scenarios.run import LoadRun
from scenarios.visitor import Visitor
from tests.scenarios.loads import small_plan, small_scenario

class Late(Visitor):
    host = sys.argv[1]
    load_run = LoadRun(small_plan(small_scenario(timeout="30s"), [host]), token=None, watches=False)

environment, told = Environment(user_classes=[Late]), []
environment.events.request.add_listener(lambda response_time, **_: told.append(response_time))
late = Late(environment)
late._due = Arrival(0, perf_counter() - 5.0)
late.visit()
rows = Late.load_run.recorder.rows(())
print(json.dumps([rows.lag.tolist(), rows.latency.tolist(), told]))
"""


def test_request_sent_late_counts_from_its_intended_start(start_service: StartService) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE_ARRIVAL, start_service("foreign")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (lag,), (latency,), (told,) = json.loads(done.stdout)
    assert 5 <= lag <= latency
    assert told == latency * 1e3
