"""Claims about `--cluster`: a real Dask scheduler with two workers, of which one is killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from unittest import mock

import pytest

from edgeproof.progress import Display
from tests.conftest import ROOT, free_port, stop
from tests.edgeproof.commands import called, environment
from tests.edgeproof.swept import SIZES, SMALL

GIVEN = ("sweep", "baseline", *SMALL, "--over", SIZES, "--replications", "5", "--engine",
         "reference")  # fmt: skip


def require_dask() -> None:
    if find_spec("distributed") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Dask is not installed: pip install 'edgeproof[dask]'")
        pytest.skip("Dask is not installed: pip install 'edgeproof[dask]'")


def dask(*arguments: str, until: str, path: Path = ROOT) -> subprocess.Popen[bytes]:
    """Start `dask ARGUMENTS` and return it once it has said *until*."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        cwd=path, env={**environment(), "PYTHONPATH": f"{path}:{ROOT}"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if until.encode() in line:
            # What nobody reads would fill the pipe in the end.
            threading.Thread(target=drained, args=(process.stderr,)).start()
            return process
    raise AssertionError(b"".join(said).decode())


def drained(stream: IO[bytes]) -> None:
    with stream:
        stream.read()


def worker(address: str, path: Path = ROOT) -> subprocess.Popen[bytes]:
    return dask(
        "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host",
        "127.0.0.1", until="Registered to", path=path,
    )  # fmt: skip


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    require_dask()
    port = free_port()
    process = dask(
        "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show",
        until="Scheduler at",
    )  # fmt: skip
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        stop(process)


def test_cluster_finds_what_this_machine_finds_though_a_worker_is_killed(
    scheduler: str, tmp_path: Path
) -> None:
    assert "has no worker" in called(*GIVEN, "--cluster", scheduler, cwd=tmp_path).stderr
    with ExitStack() as stack:
        workers = [worker(scheduler) for _ in range(2)]
        for process in workers:
            stack.callback(stop, process)
        update = Display.update
        killed: list[int] = []

        def kill_one(self: Display, phase: str, share: float, detail: str = "") -> None:
            if detail.startswith("2 of 10 runs") and not killed:
                os.kill(workers[0].pid, signal.SIGKILL)
                killed.append(workers[0].wait(10.0))
            update(self, phase, share, detail)

        with mock.patch.object(Display, "update", kill_one):
            ran = called(*GIVEN, "--cluster", scheduler, "--out", "far", "--plain", cwd=tmp_path)
        assert ran.returncode in (0, 1), ran.stderr
        assert killed == [-signal.SIGKILL]
        assert "10 of 10 runs" in ran.stderr
        assert workers[1].poll() is None

        # A worker that joins with another version is named, and nothing runs.
        other = tmp_path / "other"
        shutil.copytree(ROOT / "sim", other / "sim", ignore=shutil.ignore_patterns("__pycache__"))
        with (other / "sim" / "rates.py").open("a") as file:
            file.write("\n# Another version.\n")
        stack.callback(stop, worker(scheduler, other))
        refused = called(*GIVEN, "--cluster", scheduler, "--out", "no", cwd=tmp_path)
    near = called(*GIVEN, "--out", "near", "--plain", cwd=tmp_path)
    assert ran.stdout.replace("far", "near") == near.stdout
    for name in ("sweep.json", "cells.csv", "figures/kpi-1.svg"):
        assert (tmp_path / "far" / name).read_bytes() == (tmp_path / "near" / name).read_bytes()
    assert refused.returncode == 2
    assert refused.stderr.startswith("edgeproof: worker tcp://127.0.0.1:")
    assert "has edgeproof" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("PORT", "no Dask scheduler answers there (Connection refused)"),
        ("nonsense", "(no host with a port); start one (dask scheduler)"),
        ("http://127.0.0.1:80", "(http is none of tcp, tls)"),
        ("tcp://127.0.0.1:many", "no Dask scheduler answers there"),
    ],
)
def test_address_that_cannot_be_used_is_one_line(tmp_path: Path, address: str, says: str) -> None:
    require_dask()
    ran = called(
        *GIVEN, "--cluster", address.replace("PORT", f"127.0.0.1:{free_port()}"), cwd=tmp_path
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_missing_dask_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with mock.patch("sim.cluster.find_spec", return_value=None):
        ran = called(*GIVEN, "--cluster", "127.0.0.1:1", cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr == (
        "edgeproof: --cluster needs Dask, which is not installed; pip install 'edgeproof[dask]'\n"
    )


def test_something_else_that_listens_is_no_scheduler(tmp_path: Path) -> None:
    require_dask()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with mock.patch("sim.cluster.CONNECT", 0.1):
            ran = called(*GIVEN, "--cluster", f"127.0.0.1:{port}", cwd=tmp_path)
    assert ran.returncode == 2
    assert "no Dask scheduler answers there" in ran.stderr
