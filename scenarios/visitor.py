"""The Locust user: a connection of the pool that sends one request per arrival."""

from __future__ import annotations

import socket
from functools import partial
from time import perf_counter
from typing import Any, ClassVar

import gevent
from gevent.queue import SimpleQueue
from geventhttpclient.client import HTTPClient, HTTPClientPool
from locust import FastHttpUser, task
from locust.env import Environment
from locust.exception import CatchResponseError

from core.metrics.failures import reason_text
from scenarios.answer import AnswerTooLarge, BoundedResponse
from scenarios.arrivals import Arrival
from scenarios.cdn_headers import cdn_header
from scenarios.diagnosis import UNREADABLE, kind_of
from scenarios.result import Kind
from scenarios.run import LoadRun

_GRACE_SECONDS = 0.01
"""Beyond the time limit: an answer of the last moment is judged by the clock, not by a timer."""


class ConnectionPool(HTTPClientPool):
    """One client per host with kept connections, shared by all users; it never sends twice."""

    def get_client(self, url: Any) -> HTTPClient:
        """Return the client of *url*'s host."""
        client = super().get_client(url)
        # geventhttpclient sends a GET anew size + 1 times when the host closes the connection:
        # hidden load, and a failure that nobody would see.
        connections: Any = client._connection_pool
        connections.size = -1
        connections.after_connect = _send_at_once
        return client


def _send_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Visitor(FastHttpUser):
    """Waits for an arrival, sends its request and notes the answer."""

    abstract = True
    load_run: ClassVar[LoadRun]

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        # Users stand for connections, not for people: what one answer sets the next must not send.
        self.client.client.cookiejar = None
        # What the scenario expects decides; a client that minds the status leaves bodies unread.
        agent: Any = self.client.client
        agent.valid_response_codes = range(1000)
        agent.response_type = BoundedResponse
        self._inbox: SimpleQueue[Arrival] = SimpleQueue()
        self._due: Arrival | None = None

    def on_start(self) -> None:
        """Send without a further turn of the event loop once an arrival is there."""
        taskset: Any = self._taskset_instance
        taskset._sleep = _sleep

    def wait_time(self) -> float:
        """Wait for the next arrival; it is to be sent at once."""
        self._due = self.load_run.arrivals.take(self._inbox)
        return 0.0

    @task
    def visit(self) -> None:
        """Send the request that is due; the first call only leads to the first wait."""
        due, self._due = self._due, None
        if due is None:
            return
        run = self.load_run
        request = run.renderer.request(due.row)
        lag = perf_counter() - due.intended
        position = run.recorder.send(due.row, request, lag)
        # The client's own limits are for each read: a body that trickles in would never end.
        timeout = run.timeouts[request.endpoint]
        deadline = gevent.Timeout(max(0.001, timeout + _GRACE_SECONDS - lag))
        deadline.start()
        try:
            answer = self.client.request(
                request.method,
                request.url,
                name=run.endpoints[request.endpoint],
                data=request.body,  # type: ignore[arg-type]  # bytes are taken too
                headers=request.headers,
                catch_response=True,
                allow_redirects=False,
            )
        except (*UNREADABLE, AnswerTooLarge, gevent.Timeout) as error:
            too_large = isinstance(error, AnswerTooLarge)
            kind = Kind.TOO_LARGE if too_large else kind_of(error, has_begun=False)
            run.recorder.fail(position, kind)
            latency = perf_counter() - due.intended
            reason = reason_text(kind.cause, 0, timeout=timeout)
            self._report(request.method, request.endpoint, latency, reason)
            return
        finally:
            deadline.close()
        with answer as response:
            latency = perf_counter() - due.intended
            response.request_meta["response_time"] = latency * 1e3
            kind = self._note(position, response, latency, timeout)
            if kind is Kind.ANSWERED:
                response.success()
            else:
                check = run.recorder.failed_check(position) if kind is Kind.CHECK else None
                response.failure(
                    reason_text(kind.cause, response.status_code, timeout=timeout, check=check)
                )

    def _note(self, position: int, response: Any, latency: float, timeout: float) -> Kind:
        """Write the answer down; return how it is judged."""
        recorder, error = self.load_run.recorder, response.request_meta["exception"]
        kind = None
        if error is not None:
            kind = kind_of(error, has_begun=response.status_code != 0)
        elif response.status_code == 0:
            kind = Kind.CONNECTION
        elif latency > timeout:
            kind = Kind.TIMEOUT
        if kind is not None:
            recorder.fail(position, kind)
            return kind
        headers = response.headers
        cache_status = _field(headers, "cache-status")
        return recorder.answer(
            position,
            latency,
            status=response.status_code,
            content_type=_field(headers, "content-type"),
            body=response.content,
            cache_status=cache_status,
            server_timing=_field(headers, "server-timing"),
            cdn_header=None if cache_status else cdn_header(partial(_field, headers)),
        )

    def _report(self, method: str, endpoint: int, latency: float, reason: str) -> None:
        self.environment.events.request.fire(
            request_type=method,
            name=self.load_run.endpoints[endpoint],
            response_time=latency * 1e3,
            response_length=0,
            exception=CatchResponseError(reason),
            context={},
        )


def _sleep(seconds: float) -> None:
    if seconds:
        gevent.sleep(seconds)


def _field(headers: Any, name: str) -> str:
    value = headers.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else ", ".join(value)
