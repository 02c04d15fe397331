"""What the connections of a load do before its clock starts, and when they have lain idle."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import gevent
from gevent.monkey import get_original
from gevent.server import StreamServer

ADDRESS_SECONDS = 60.0
"""How long the address of a host is kept; a service that closes each connection is not looked up
for each."""

WARM_SECONDS = 2.0
"""What the connections have to open before the clock starts; a slow handshake does not hold it."""

_poll = get_original("select", "poll")


def improve(connections: Any) -> None:
    """Let a pool of geventhttpclient keep addresses for a while, and take descriptors over 1,023.

    The client's own check of an idle connection is select(), which cannot take them: it would open
    a connection anew for each request.
    """
    connections._resolve = _remembered(connections._resolve)
    connections._is_socket_alive = is_quiet


def _remembered(resolve: Callable[[], Any]) -> Callable[[], Any]:
    found: Any = None
    until = 0.0

    def remembered() -> Any:
        nonlocal found, until
        if found is None or monotonic() >= until:
            found, until = resolve(), monotonic() + ADDRESS_SECONDS
        return found

    return remembered


def is_quiet(connection: socket.socket | None) -> bool:
    """Return whether an idle connection is open and holds nothing that nobody asked for."""
    if connection is None or connection.fileno() < 0:
        return False
    watched = _poll()
    watched.register(connection.fileno(), 1)  # POLLIN; an error or a hang-up is always reported
    return not watched.poll(0)


def open_ahead(client_of: Callable[[str], Any], urls: Sequence[str], number: int) -> None:
    """Open *number* connections to each of *urls*, TCP and TLS, and leave them in their pools.

    Nothing is requested. What cannot be opened in WARM_SECONDS is left: the load will say why.
    """
    opened: list[tuple[Any, socket.socket]] = []

    def open_one(url: str) -> None:
        with contextlib.suppress(Exception):  # the first request meets it, too, and is recorded
            connections = client_of(url)._connection_pool
            opened.append((connections, connections.get_socket()))

    tasks = [gevent.spawn(open_one, url) for url in urls for _ in range(number)]
    gevent.joinall(tasks, timeout=WARM_SECONDS)
    gevent.killall(tasks)
    # The pool takes the last one first. A server of one thread waits for what was opened first.
    for connections, connection in reversed(opened):
        connections.return_socket(connection)


def rehearse(send: Callable[[str], object]) -> None:
    """Let *send* ask this process itself, so that nothing is done for the first time later."""

    def answer(connection: socket.socket, _: object) -> None:
        with contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                b"Connection: close\r\n\r\n{}"
            )

    with contextlib.suppress(Exception):  # a rehearsal decides nothing
        server = StreamServer(("127.0.0.1", 0), answer)
        server.start()
        try:
            send(f"http://127.0.0.1:{server.server_port}/")
        finally:
            server.stop(timeout=0)
