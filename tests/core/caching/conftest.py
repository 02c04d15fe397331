"""Servers that stores and channels are tried against besides `redis_server`."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator

import pytest
from fakeredis import TcpFakeServer

from tests.conftest import answers, find_program, stop


@pytest.fixture(scope="session")
def fake_server() -> Iterator[str]:
    """Yield the URL of a fakeredis server in a thread of this process."""
    server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a redis-server that listens on a Unix socket only."""
    folder = tmp_path_factory.mktemp("socket")
    program = find_program("redis-server", package="redis-server")
    path = folder / "redis.sock"
    process = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", path, "--dir", folder, "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        assert answers(f"unix://{path}", process)
        yield f"unix://{path}"
    finally:
        stop(process)
