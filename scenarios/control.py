"""The service's own interface for load tests: starting a run clean, and its statistics."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from core.errors import EdgeproofError
from core.metrics.failures import reason_text
from core.secrets import Blotter
from core.texts import parse_json
from core.wire import RUN_PATH, STATS_PATH, TOKEN_VARIABLE
from scenarios.diagnosis import kind_of
from scenarios.hosts import MAX_ANSWER_BYTES
from scenarios.result import Snapshot
from scenarios.transport import Transport

MOST_AHEAD = 600.0
"""Seconds that a load waits for the start which a service names."""
_MOST_NAMES = 1024
_FOREIGN = (401, 403, 404, 405, 501)


class ServiceFault(EdgeproofError):
    """A service that has the control interface but could not use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanStart:
    """A run that a service has prepared: it starts in *starts_in* seconds, at an epoch time."""

    starts_in: float
    starts_at_ms: int


class ServiceControl:
    """One host's control interface, over a connection of its own."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        timeout: float = 5.0,
        transport: Transport | None = None,
        user_agent: str = "edgeproof",
        blotter: Blotter | None = None,
    ) -> None:
        parts, transport = urlsplit(url), transport or Transport()
        host, port = parts.hostname or "", parts.port
        self.url = url
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._fault = ""
        self._user_agent = user_agent
        # A service names its figures: each poll has the same names.
        self._hidden = lru_cache(maxsize=_MOST_NAMES)((blotter or Blotter([token or ""])).hide)
        connection: Any
        if parts.scheme == "https":
            context = transport.context()
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)

        def connect(place: tuple[str, int], *options: Any) -> socket.socket:
            return socket.create_connection((transport.address(*place), place[1]), *options)

        connection._create_connection = connect  # its name stands in Host and in the certificate
        self._connection: http.client.HTTPConnection = connection

    def start_run(self, run_id: str, starts_at_ms: int | None) -> CleanStart | str:
        """Ask for a clean start; return it, or why the host does not offer one.

        Raise ServiceFault if the host tried and failed.
        """
        if not self._token:
            return f"{TOKEN_VARIABLE} is not set"
        body = json.dumps({"run_id": run_id, "starts_at_ms": starts_at_ms})
        answer = self._ask("POST", RUN_PATH, body)
        if answer is None:
            return f"the host did not answer the request for it ({self._fault})"
        status, data = answer
        if status in _FOREIGN:
            return f"the host answered {status}"
        try:
            start = CleanStart(
                starts_in=float(data["data"]["starts_in"]),
                starts_at_ms=int(data["data"]["starts_at_ms"]),
            )
            if not 0 <= start.starts_in <= MOST_AHEAD:
                raise ValueError("a start that nobody waits for")
            return start
        except (KeyError, OverflowError, TypeError, ValueError):
            if status == 200:
                return "the host answered with something else"
            raise ServiceFault(
                f"{self.url}{RUN_PATH} answered {status}; look into the service's log"
            ) from None

    def stats(self) -> Snapshot | None:
        """Return what the service counted so far, None if it does not tell."""
        answer = self._ask("GET", STATS_PATH, None)
        if answer is None or answer[0] != 200:
            return None
        try:
            return Snapshot.from_json(answer[1]["data"]["cumulative"]).named(self._hidden)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            return None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, Any] | None:
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        # A kept connection may have been closed by the host since: a second try opens a new one.
        for _ in range(2):
            try:
                with self._bounded():
                    self._connection.request(method, self._prefix + path, body, headers)
                    with closing(self._connection.getresponse()) as response:  # or it stays open
                        content = response.read(MAX_ANSWER_BYTES + 1)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                cause = kind_of(error, has_begun=False).cause
                self._fault = reason_text(cause, None, timeout=self._timeout)
                if isinstance(error, TimeoutError):
                    return None
                continue
            if len(content) > MAX_ANSWER_BYTES:
                self._connection.close()
                return response.status, None
            try:
                return response.status, parse_json(content)
            except ValueError:
                return response.status, None
        return None

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Raise TimeoutError if what is done with the connection takes longer than the time limit.

        The socket's own limit is for each read: an answer that trickles in would never end.
        """
        if self._connection.sock is None:
            self._connection.connect()
        connected = self._connection.sock
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            with suppress(OSError):  # it has been closed meanwhile
                connected.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._timeout, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            if expired.is_set():
                raise TimeoutError(f"no whole answer in {self._timeout:g} s") from error
            raise
        finally:
            timer.cancel()
        if expired.is_set():  # the end of a body without a length looks like its end
            raise TimeoutError(f"no whole answer in {self._timeout:g} s")
