"""Claims about connections: how many a load may hold, which are opened ahead, which are reused."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator

import gevent
import numpy as np
import pytest

from core.errors import InputError
from core.scenario.workload import generate_workload
from scenarios.connections import (
    checked_connections,
    descriptors,
    needed_connections,
    warm_number,
)
from scenarios.warming import improve, is_quiet, open_ahead, rehearse
from tests.scenarios.loads import small_scenario


class Connections:
    """A pool as geventhttpclient has it: the connection returned last is taken first."""

    def __init__(self, port: int) -> None:
        self.port, self.looked_up = port, 0
        self.kept: list[socket.socket] = []
        improve(self)

    def _resolve(self) -> list[str]:
        self.looked_up += 1
        return [f"address {self.looked_up}"]

    def get_socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=2)

    def return_socket(self, connection: socket.socket) -> None:
        self.kept.append(connection)


class Client:
    def __init__(self, port: int) -> None:
        self._connection_pool = Connections(port)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(5)
        yield server


def test_connections_are_opened_ahead_and_nothing_is_requested(listener: socket.socket) -> None:
    client = Client(listener.getsockname()[1])
    open_ahead(lambda _: client, ["http://127.0.0.1"], 3)
    accepted = [listener.accept() for _ in range(3)]
    kept = client._connection_pool.kept
    # A server of one thread takes what came first, so that is on top of the pool.
    assert [c.getsockname() for c in reversed(kept)] == [address for _, address in accepted]
    assert all(is_quiet(connection) for connection in kept)
    for connection, _ in accepted:
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.close()
    assert not any(is_quiet(connection) for connection in kept)
    for connection in kept:
        connection.close()


def test_a_host_that_takes_no_connection_does_not_stop_the_load() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        client = Client(closed.getsockname()[1])
        open_ahead(lambda _: client, ["http://127.0.0.1"], 2)
    assert client._connection_pool.kept == []


def test_an_address_is_looked_up_once_for_many_connections() -> None:
    connections = Connections(1)
    assert [connections._resolve() for _ in range(3)] == [["address 1"]] * 3
    assert connections.looked_up == 1


def test_an_idle_connection_beyond_what_select_takes_is_kept() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("this machine allows fewer than 1,200 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    left, right = socket.socketpair()
    try:
        import fcntl

        high = socket.socket(fileno=fcntl.fcntl(left.fileno(), fcntl.F_DUPFD, 1100))
        assert high.fileno() >= 1100
        assert is_quiet(high)
        right.close()
        assert not is_quiet(high)
        high.close()
    finally:
        left.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_rehearsal_asks_only_this_process() -> None:
    asked: list[str] = []

    def send(url: str) -> None:
        asked.append(url)
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        answers: list[bytes] = []

        def ask() -> None:
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                answers.append(connection.recv(1000))

        thread = threading.Thread(target=ask)
        thread.start()
        while thread.is_alive():
            gevent.sleep(0.001)
        assert answers[0].startswith(b"HTTP/1.1 200")

    rehearse(send)
    assert len(asked) == 1


def test_a_load_may_need_as_many_connections_as_arrive_within_the_timeout() -> None:
    scenario = small_scenario(rate=100, duration="4s", timeout="1s")
    workload = generate_workload(scenario)
    times = workload.intended_ns / 1e9
    busiest = max(np.count_nonzero((times >= t) & (times < t + 1.1)) for t in times)
    assert needed_connections(scenario, workload) == busiest


@pytest.mark.parametrize("asked", [0, 10**7])
def test_connections_that_cannot_be_are_refused_with_the_bound(asked: int) -> None:
    with pytest.raises(InputError, match=rf"--connections {asked}: use 1 to {descriptors():,}"):
        checked_connections(asked, 100)


def test_more_connections_than_files_are_not_promised() -> None:
    assert checked_connections(None, 10**7) == descriptors()
    assert checked_connections(None, 100) == 100
    assert checked_connections(7, 100) == 7


@pytest.mark.parametrize(("rate", "number"), [(1.0, 2), (200.0, 11), (1e5, 64)])
def test_few_connections_are_opened_ahead(rate: float, number: int) -> None:
    assert warm_number(rate) == number
