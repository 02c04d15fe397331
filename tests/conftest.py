"""What every test may ask for: programs of the host, real traces, repeatable hypothesis runs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from core.errors import InputError
from scenarios.node import Node, find_node

ROOT = Path(__file__).resolve().parents[1]

STARTS = 5
START_LIMIT_SECONDS = 20.0
STOP_LIMIT_SECONDS = 10.0
POLL_SECONDS = 0.01

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, max_examples=2_000)
settings.load_profile("ci")

# A shell starts what it puts into the background with SIGINT ignored, and every child of a test
# would inherit that: Ctrl-C would end none of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same goes for nohup and the end of a terminal.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _no_ci_of_the_host() -> None:
    """Let no test write into the summary of the job that runs it, or annotate that."""
    for name in [*os.environ]:
        if name.startswith(("GITHUB_", "CI_")):
            del os.environ[name]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of an empty redis-server that keeps nothing and ends after the last test."""
    program = find_program("redis-server", package="redis-server")
    process, url = start_redis(program, tmp_path_factory.mktemp("redis"))
    try:
        yield url
    finally:
        stop(process)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Return the path of the Chromium that renders pages."""
    return find_program("chromium", "chromium-browser", package="chromium")


@pytest.fixture(scope="session")
def node() -> Node:
    """Return Node.js with miniflare and workerd; without them skip the test, but fail it in CI."""
    try:
        return find_node()
    except InputError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_traces() -> Path:
    """Return the folder of real traces that lies beside the checkout."""
    folder = ROOT.parent / "shared" / "data" / "traces"
    if not folder.is_dir():
        pytest.skip("no real traces: shared/data/traces is not beside the checkout")
    return folder


def find_program(*names: str, package: str) -> Path:
    """Return the first of *names* on the PATH; without one skip the test, but fail it in CI."""
    for name in names:
        if found := shutil.which(name):
            return Path(found)
    reason = f"{names[0]} is not installed (on Debian: apt-get install {package})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def start_redis(
    program: Path, folder: Path, *, at_port: int | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """Start redis-server in *folder* and return its process and URL once it answers.

    Without a port a free one is chosen. Raise RuntimeError with its log if it does not answer.
    """
    log = folder / "redis.log"
    for _ in range(STARTS):
        port = free_port() if at_port is None else at_port
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(program, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder),
                    *("--save", "", "--appendonly", "no", "--daemonize", "no"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        url = f"redis://127.0.0.1:{port}/0"
        if answers(url, process):
            return process, url
        # Another process may have taken the port between its choice and its use.
        stop(process)
    raise RuntimeError(f"redis-server did not start:\n{log.read_text()}")


def answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until *process* itself answers at *url*; False if it ends or the time runs out."""
    with redis.Redis.from_url(url, socket_timeout=1.0) as client:
        for _ in range(round(START_LIMIT_SECONDS / POLL_SECONDS)):
            try:
                return bool(client.info("server")["process_id"] == process.pid)
            except redis.RedisError:
                pass
            try:
                # Returns early where a sleep would not: when the server gave up.
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return False
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End *process*, by force if it does not end when asked."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
