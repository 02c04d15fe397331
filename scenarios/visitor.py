"""The Locust user: a connection of the pool that sends one request per arrival."""

from __future__ import annotations

import socket
from time import perf_counter
from typing import Any, ClassVar

import gevent
from gevent.queue import SimpleQueue
from geventhttpclient.client import HTTPClient, HTTPClientPool
from locust import FastHttpUser, task
from locust.contrib.fasthttp import LocustBadStatusCode
from locust.env import Environment

from core.scenario import ENDPOINTS
from scenarios.arrivals import Arrival
from scenarios.result import Kind
from scenarios.run import LoadRun


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
        position = run.recorder.send(due.row, request, perf_counter() - due.intended)
        try:
            with self.client.request(
                request.method,
                request.url,
                name=ENDPOINTS[request.endpoint],
                data=request.body,  # type: ignore[arg-type]  # bytes are taken too
                headers=request.headers,
                catch_response=True,
                allow_redirects=False,
            ) as response:
                latency = perf_counter() - due.intended
                response.request_meta["response_time"] = latency * 1e3
                fault = self._note(position, response, latency)
                if fault is None:
                    response.success()
                else:
                    response.failure(fault)
        except (ValueError, RuntimeError) as error:
            # An answer that the client cannot read: an unknown encoding, a name that is none.
            run.recorder.fail(position, Kind.CONNECTION)
            self._report(request.method, request.endpoint, perf_counter() - due.intended, error)

    def _note(self, position: int, response: Any, latency: float) -> str | None:
        """Write the answer down; return what is wrong with it, None if nothing is."""
        recorder, error = self.load_run.recorder, response.request_meta["exception"]
        is_broken = error is not None and not isinstance(error, LocustBadStatusCode)
        if is_broken or response.status_code == 0:
            is_late = isinstance(getattr(error, "original", error), (TimeoutError, gevent.Timeout))
            recorder.fail(position, Kind.TIMEOUT if is_late else Kind.CONNECTION)
            return "timeout" if is_late else f"connection: {type(error).__name__}"
        if latency > self.load_run.plan.timeout:
            recorder.fail(position, Kind.TIMEOUT)
            return "timeout"
        headers = response.headers
        kind = recorder.answer(
            position,
            latency,
            status=response.status_code,
            content_type=_field(headers, "content-type"),
            body=response.content,
            cache_status=_field(headers, "cache-status"),
            server_timing=_field(headers, "server-timing"),
        )
        if kind is Kind.ANSWERED:
            return None
        return f"status {response.status_code}" if kind is Kind.STATUS else "not JSON"

    def _report(self, method: str, endpoint: int, latency: float, error: Exception) -> None:
        self.environment.events.request.fire(
            request_type=method,
            name=ENDPOINTS[endpoint],
            response_time=latency * 1e3,
            response_length=0,
            exception=error,
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
