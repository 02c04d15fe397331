"""The Locust user: a connection of the pool that sends one request per arrival."""

from __future__ import annotations

import socket
from functools import partial
from time import perf_counter
from typing import Any, ClassVar, NamedTuple

import gevent
from gevent.queue import SimpleQueue
from geventhttpclient.client import HTTPClient, HTTPClientPool
from locust import FastHttpUser, task
from locust.env import Environment
from locust.exception import CatchResponseError

from core.metrics.failures import reason_text
from core.scenario.retries import Retrying, tries_again
from scenarios.answer import AnswerTooLarge, BoundedResponse
from scenarios.arrivals import Arrival
from scenarios.cdn_headers import cdn_header
from scenarios.diagnosis import UNREADABLE, kind_of
from scenarios.recorder import Recorder
from scenarios.rendering import Request
from scenarios.result import Kind
from scenarios.run import LoadRun
from scenarios.transport import Transport
from scenarios.warming import improve, rehearse

_GRACE_SECONDS = 0.01
"""Beyond the time limit: an answer of the last moment is judged by the clock, not by a timer."""


_NO_RETRY = -1
_FOR_GOOD = (
    Kind.CERTIFICATE, Kind.TLS, Kind.CLIENT_CERTIFICATE, Kind.HTTP2, Kind.UNSENDABLE,
    Kind.TOO_LARGE, Kind.EXHAUSTED, Kind.NOT_HTTP,
)  # fmt: skip
"""Failures that the next attempt meets, too, beside answers that are not what is expected."""


class ConnectionPool(HTTPClientPool):
    """One client per host with kept connections, shared by all users; it never sends twice."""

    def __init__(self, transport: Transport, **options: Any) -> None:
        super().__init__(**options)
        self._transport = transport
        self._context = transport.context()

    def get_client(self, url: Any) -> HTTPClient:
        """Return the client of *url*'s host."""
        client = super().get_client(url)
        connections: Any = client._connection_pool
        if connections.size != _NO_RETRY:
            # geventhttpclient sends a GET anew size + 1 times when the host closes the connection:
            # hidden load, and a failure that nobody would see.
            connections.size = _NO_RETRY
            connections.after_connect = _send_at_once
            # It has no option that verifies the host's name with a context of one's own.
            connections.ssl_context = self._context
            address = self._transport.address(client.host, client.port or 0)
            connections._connection_host = address
            improve(connections)
        return client


def _send_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Asked(NamedTuple):
    """What came of one request.

    response: None where none was made of what arrived. check: the name of the one that failed.
    """

    kind: Kind
    latency: float
    response: Any
    error: BaseException | None
    check: str = ""

    @property
    def may_be_repeated(self) -> bool:
        """Whether a request that failed so may succeed when it is tried again."""
        if self.kind is Kind.STATUS:
            return tries_again(self.response.status_code)
        return not self.kind.is_answer and self.kind not in _FOR_GOOD

    @property
    def location(self) -> str:
        """Where a redirect leads, without its query, which may hold what signs it; or ""."""
        if self.response is None or not 300 <= self.response.status_code < 400:
            return ""
        address, query, _ = _field(self.response.headers, "location").partition("?")
        return f"{address}{query and '?...'}"


def ask(
    session: Any,
    request: Request,
    name: str,
    recorder: Recorder,
    position: int,
    intended: float,
    timeout: float,
    begun: float | None = None,
) -> Asked:
    """Send *request*, write at *position* of *recorder* what came of it, and return that.

    name: what Locust calls it. intended: when it should have been sent, on the scale of
    perf_counter(); the answer counts within *timeout* seconds of it, or of when this attempt was
    *begun*.
    """
    end = timeout + (intended if begun is None else begun)
    # The client's own limits are for each read: a body that trickles in would never end.
    seconds = end + _GRACE_SECONDS - perf_counter()
    deadline = gevent.Timeout(max(0.001, seconds))
    deadline.start()
    try:
        response: Any = session.request(
            request.method,
            request.url,
            name=name,
            data=request.body,
            headers=request.headers,
            catch_response=True,
            allow_redirects=False,
        )
    except (*UNREADABLE, AnswerTooLarge, gevent.Timeout) as error:
        too_large = isinstance(error, AnswerTooLarge)
        kind = Kind.TOO_LARGE if too_large else kind_of(error, has_begun=False)
        recorder.fail(position, kind)
        return Asked(kind, perf_counter() - intended, None, error)
    finally:
        deadline.close()
    ended = perf_counter()
    latency = ended - intended
    reading, failed = response.request_meta["exception"], None
    if reading is not None:
        failed = kind_of(reading, has_begun=response.status_code != 0)
    elif response.status_code == 0:
        failed = Kind.CONNECTION
    elif ended > end:
        failed = Kind.TIMEOUT
    if failed is not None:
        recorder.fail(position, failed)
        return Asked(failed, latency, response, reading)
    headers = response.headers
    cache_status = _field(headers, "cache-status")
    kind = recorder.answer(
        position,
        latency,
        status=response.status_code,
        content_type=_field(headers, "content-type"),
        body=response.content,
        cache_status=cache_status,
        server_timing=_field(headers, "server-timing"),
        cdn_header=None if cache_status else cdn_header(partial(_field, headers)),
    )
    check = recorder.failed_check(position) if kind is Kind.CHECK else ""
    return Asked(kind, latency, response, None, check)


def prepare_session(session: Any, user_agent: str) -> None:
    """Make *session* say who sends, and take every answer as it is."""
    # Users stand for connections, not for people: what one answer sets the next must not send.
    agent = session.client
    agent.cookiejar = None
    # What the scenario expects decides; a client that minds the status leaves bodies unread.
    agent.valid_response_codes = range(1000)
    agent.response_type = BoundedResponse
    agent.default_headers["User-Agent"] = user_agent


class Visitor(FastHttpUser):
    """Waits for an arrival, sends its request and notes the answer."""

    abstract = True
    load_run: ClassVar[LoadRun]

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._inbox: SimpleQueue[Arrival] = SimpleQueue()
        self._due: Arrival | None = None

    @classmethod
    def rehearse(cls, environment: Environment) -> None:
        """Send one request to this process itself, past Locust's statistics."""
        pool = ConnectionPool(Transport(), connection_timeout=1.0, network_timeout=1.0)
        alone = type("Rehearsal", (cls,), {"client_pool": pool, "host": "http://127.0.0.1"})
        session: Any = alone(environment).client
        prepare_session(session, cls.load_run.user_agent)
        rehearse(lambda url: session.client.urlopen(url, method="POST", payload=b"{}").content)
        pool.close()

    def serve(self, inbox: SimpleQueue[Arrival]) -> None:
        """Be one connection more: send what is in *inbox*, then wait for further arrivals."""
        prepare_session(self.client, self.load_run.user_agent)
        self._inbox = inbox
        self._due = inbox.get()
        while True:
            self.visit()
            self.wait_time()

    def on_start(self) -> None:
        """Say who sends, and send without a further turn of the loop once an arrival is there."""
        prepare_session(self.client, self.load_run.user_agent)
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
        recorder = run.recorder
        if run.has_sessions:
            request = request._replace(intended_ns=run.arrivals.time_ns(due))
        position = recorder.send(due.row, request, lag)
        if run.clients is not None:
            self._try(request, position, due, run.clients)
            run.arrivals.end(due.row)
            return
        timeout, name = run.timeouts[request.endpoint], run.endpoints[request.endpoint]
        found = ask(self.client, request, name, recorder, position, due.intended, timeout)
        self._tell(request, found, timeout)
        run.arrivals.end(due.row)

    def _try(self, request: Request, position: int, due: Arrival, clients: Retrying) -> None:
        """Send *request* until it is answered, or is not to be tried again."""
        run, code = self.load_run, request.endpoint
        recorder, intended, limit = run.recorder, due.intended, run.attempt_timeouts[code]
        start, end = run.arrivals.start, intended + run.timeouts[code]
        clients.note_request(intended)
        begun, attempt = intended, 1
        while True:
            found = ask(
                self.client, request, run.endpoints[code], recorder, position, intended,
                min(limit, end - begun), begun,
            )  # fmt: skip
            again = None
            if found.kind is not Kind.ANSWERED and found.may_be_repeated:
                refused = len(clients.refused)
                again = clients.next(due.row, attempt, perf_counter(), end)
                if again is not None:
                    recorder.reopen(position)  # before anybody else looks
                elif len(clients.refused) > refused:
                    recorder.refuse(position)
            self._tell(request, found, limit, is_last=again is None)
            if again is None:
                return
            gevent.sleep(max(0.0, again - perf_counter()))
            begun, attempt = perf_counter(), attempt + 1
            recorder.send_again(position, begun - start)

    def _tell(
        self, request: Request, found: Asked, timeout: float, *, is_last: bool = True
    ) -> None:
        """Tell Locust what came of an attempt, and keep why a request failed."""
        run = self.load_run
        if found.response is None:
            if is_last:
                run.examples.note(request, found.kind, 0, error=found.error)
            reason = reason_text(found.kind.cause, 0, timeout=timeout)
            self._report(request.method, request.endpoint, found.latency, reason)
            return
        with found.response as response:
            response.request_meta["response_time"] = found.latency * 1e3
            if found.kind is Kind.ANSWERED:
                response.success()
            else:
                if is_last:
                    run.note_failure(request, found)
                status, check = response.status_code, found.check or None
                reason = reason_text(found.kind.cause, status, timeout=timeout, check=check)
                response.failure(reason)

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
