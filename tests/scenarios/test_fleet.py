"""A distributed Locust that loses one of its processes: it ends, is INVALID and names it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scenarios.driver import LOCUSTFILE
from tests.conftest import free_port
from tests.scenarios.conftest import StartService, inspect

# Far longer than a test may take: whoever waits for its end has failed.
SCENARIO = """
name = "long"
duration = "600s"
warm_up = "0s"
timeout = "1s"

[traffic]
stages = [{ rate = 20.0 }]
users = 50
conversions = 20
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts Locust on our locustfile, its output on one pipe."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, cwd: Path = tmp_path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *arguments],
            cwd=cwd,
            env={**os.environ, "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # workers that it has forked, too
        process.communicate()


@pytest.fixture
def load(tmp_path: Path, start_service: StartService) -> tuple[str, list[str]]:
    """Return a service's URL and the options of a long load on it."""
    path, url = tmp_path / "long.toml", start_service("good")
    path.write_text(SCENARIO)
    return url, ["--headless", "--only-summary", "--scenario", str(path), "--host", url]


def wait_for_load(url: str, process: subprocess.Popen[str]) -> None:
    while len(inspect(url)["seen"]) < 5:
        assert process.poll() is None
        assert process.stdout is not None
        select.select([process.stdout], [], [], 0.1)


def children(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
def test_lost_worker_makes_the_run_invalid_and_is_named(
    fate: signal.Signals, load: tuple[str, list[str]], start: Start
) -> None:
    url, options = load
    port = str(free_port())  # not the one that every other such run takes
    ports = ("--master-bind-port", port, "--master-port", port)
    master = start(*options, "--processes", "2", *ports)
    wait_for_load(url, master)
    first, second = children(master)
    os.kill(second, fate)
    said, _ = master.communicate(timeout=60)
    assert master.returncode == 3
    (reason,) = re.findall(r"^INVALID: (worker .* was lost.*)$", said, re.MULTILINE)
    assert f"process {second})" in reason
    assert "sends no heartbeat any more" in reason
    assert re.search(
        r"^INVALID: interrupted after \d+ of 1[12],\d{3} requests$", said, re.MULTILINE
    )
    assert not is_running(first)
    assert not is_running(second)


def test_the_only_worker_that_is_killed_ends_the_master(
    load: tuple[str, list[str]], start: Start
) -> None:
    url, options = load
    port = str(free_port())
    worker = start("--worker", "--master-port", port)
    master = start(*options, "--master", "--master-bind-port", port)
    wait_for_load(url, master)
    worker.kill()
    said, _ = master.communicate(timeout=60)
    assert master.returncode == 3
    assert f"process {worker.pid}) was lost" in said


def test_worker_that_joins_late_makes_the_run_invalid(
    load: tuple[str, list[str]], start: Start
) -> None:
    url, options = load
    port = str(free_port())
    worker = start("--worker", "--master-port", port)
    master = start(*options, "--master", "--master-bind-port", port)
    wait_for_load(url, master)
    late = start("--worker", "--master-port", port)
    said, _ = master.communicate(timeout=60)
    assert master.returncode == 3
    assert re.search(r"^INVALID: worker 1 \(\S+\) joined after the start", said, re.MULTILINE)
    for each in (worker, late):
        each.communicate(timeout=60)


def test_worker_that_never_connects_is_not_waited_for_for_ever(
    load: tuple[str, list[str]], start: Start
) -> None:
    port = str(free_port())
    worker = start("--worker", "--master-port", port)
    master = start(
        *(*load[1], "--master", "--master-bind-port", port),
        *("--expect-workers", "2", "--expect-workers-max-wait", "8"),
    )
    said, _ = master.communicate(timeout=60)
    assert master.returncode == 3
    assert re.search(r"^edgeproof: INVALID: 1 of 2 workers connected within 8 s \(\S+\);", said,
                     re.MULTILINE)  # fmt: skip
    worker.communicate(timeout=60)
    assert inspect(load[0])["seen"] == []


def test_worker_ends_when_its_master_is_killed(load: tuple[str, list[str]], start: Start) -> None:
    url, options = load
    port = str(free_port())
    worker = start("--worker", "--master-port", port)
    master = start(*options, "--master", "--master-bind-port", port)
    wait_for_load(url, master)
    master.kill()
    said, _ = worker.communicate(timeout=50)  # Locust itself would wait for a minute
    assert worker.returncode == 3
    assert f"edgeproof: the master 127.0.0.1:{port} has been silent for 10 s" in said


def test_worker_that_cannot_take_its_part_ends_the_run_with_its_reason(
    load: tuple[str, list[str]], start: Start, tmp_path: Path
) -> None:
    url, port, elsewhere = load[0], str(free_port()), tmp_path / "elsewhere"
    elsewhere.mkdir()
    worker = start("--worker", "--master-port", port, cwd=elsewhere)
    master = start(
        *("--headless", "--only-summary", "--scenario", "long.toml", "--host", url),
        *("--master", "--master-bind-port", port),
    )
    said, _ = master.communicate(timeout=60)
    assert master.returncode == 3
    assert re.search(r"^INVALID: worker 0 \(\S+\) failed: long.toml: ", said, re.MULTILINE)
    worker.communicate(timeout=60)
    assert inspect(url)["seen"] == []
