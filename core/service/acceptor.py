"""Takes connections off a listening socket, and pauses where file descriptors run out."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
from collections.abc import Callable
from typing import Any

from core.errors import InputError

RETRY_SECONDS = 0.1
_AT_ONCE = 128
_RESERVE = 32
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_OF_THE_PORT = (errno.EADDRINUSE, errno.EACCES)
_log = logging.getLogger("edgeproof.service")


def bound(host: str, port: int) -> socket.socket:
    """Return a socket at *host* and *port* that does not listen yet; InputError if it cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only on sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(unbound(host, port, error)) from None
    return listener


def unbound(host: str, port: int, error: OSError) -> str:
    """Return why *host* and *port* cannot be listened on, and the remedy."""
    option = "--port" if error.errno in _OF_THE_PORT else "--bind"
    return f"{host}:{port}: {error.strerror}; choose another {option}"


class Acceptor:
    """Makes a protocol of *factory* for each connection to *listener*, in the running loop.

    asyncio's own server logs a traceback for each place of its backlog, a thousand every second,
    while no descriptor is free. This one says so once and leaves the connections in the kernel's
    queue. It pauses while a few descriptors are left, which stores and files need; once there are
    more again it goes on, and says so.
    """

    def __init__(self, listener: socket.socket, factory: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = limit if limit != resource.RLIM_INFINITY else 2**31
        # The lowest free number is the one that a descriptor gets.
        self._last = self._limit - min(_RESERVE, self._limit // 8)
        self._paused_at: float | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._taken: set[asyncio.Task[Any]] = set()

    def start(self, backlog: int) -> None:
        """Listen, with *backlog* connections that may wait; OSError if the port cannot be had."""
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Take no connection any more."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                line, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._say_that_it_goes_on()
                return
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                if error.errno in _EXHAUSTED:
                    self._pause(reason.lower())
                else:
                    _log.warning("a connection could not be accepted: %s", reason.lower())
                return
            line.setblocking(False)
            number = line.fileno()
            task = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, line))
            self._taken.add(task)
            task.add_done_callback(self._taken.discard)
            if number >= self._last:
                self._pause(f"{number + 1:,} of {self._limit:,} file descriptors are in use")
                return

    def _pause(self, reason: str) -> None:
        self._loop.remove_reader(self._listener)
        if self._paused_at is None:
            self._paused_at = self._loop.time()
            _log.warning(
                "no connection is accepted until others are closed: %s (ulimit -n raises the "
                "limit, --max-connections keeps below it)",
                reason,
            )
        self._retry = self._loop.call_later(RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        if self._has_room():
            self._retry = None
            self._loop.add_reader(self._listener, self._accept)
        else:
            self._retry = self._loop.call_later(RETRY_SECONDS, self._try_again)

    def _has_room(self) -> bool:
        try:
            probe = os.dup(self._listener.fileno())
        except OSError:
            return False
        os.close(probe)
        return probe < self._last

    def _say_that_it_goes_on(self) -> None:
        if self._paused_at is not None:
            seconds = self._loop.time() - self._paused_at
            self._paused_at = None
            _log.warning("connections are accepted again, after %.1f s", seconds)
