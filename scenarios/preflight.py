"""One request an endpoint, sent ahead of a load: what is wrong with all of them ends it here."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook

from core.errors import InputError
from core.metrics.failures import reason_text
from core.secrets import is_secret_name, references
from scenarios.recorder import Recorder
from scenarios.rendering import Renderer, Request
from scenarios.result import Kind
from scenarios.run import LoadRun
from scenarios.visitor import Asked, ConnectionPool, ask, prepare_session

TRIES = 3
"""Requests about other subjects, where an answer may concern the first one alone."""

_HOPELESS = frozenset(
    (
        Kind.CERTIFICATE, Kind.CLIENT_CERTIFICATE, Kind.TLS, Kind.HTTP2, Kind.NOT_HTTP, Kind.NAME,
        Kind.REFUSED, Kind.UNREACHABLE, Kind.UNSENDABLE,
    )
)  # fmt: skip
"""What no repetition mends."""

_CUT = frozenset((Kind.RESET, Kind.CLOSED, Kind.CONNECTION))
"""How a host also refuses a client: what it says of a certificate may be lost."""

_DENIED = (401, 403, 407)
_PASSING = (408, 425, 429)


class PreflightFailed(InputError):
    """A request that was sent ahead, and shows that all of its endpoint would fail."""


def preflight(run: LoadRun, pool: Any) -> None:
    """Send one request of each endpoint to each host, over *pool*; none is in the run's figures.

    Raise PreflightFailed where no other request would fare better. Any other failure becomes a
    note of the run.
    """
    ahead = _Ahead(run, pool)
    sent = 0
    workload = run.plan.workload
    hosts = run.hosts_of(workload.isolate)
    for host in range(len(run.plan.hosts)):
        for code in range(len(run.endpoints)):
            rows = np.flatnonzero((workload.endpoint == code) & (hosts == host))
            if rows.size:
                sent += ahead.check(_of_several_subjects(workload.subject, rows))
    run.note(f"preflight: {sent} requests were sent ahead, which no figure counts")


def _of_several_subjects(subjects: Any, rows: Any) -> list[int]:
    _, first = np.unique(subjects[rows], return_index=True)
    return [int(row) for row in rows[np.sort(first)][:TRIES]]


class _Ahead:
    def __init__(self, run: LoadRun, pool: ConnectionPool) -> None:
        plan = run.plan
        self._run = run
        self._renderer: Renderer = run.renderer_of(f"{plan.run_id}-preflight"[-64:])
        self._recorder = Recorder(plan.scenario)
        events: Any = EventHook  # Locust gives it no types; nobody listens to this one
        self._session: Any = FastHttpSession(
            plan.hosts[0], events(), user=None, client_pool=pool, max_retries=0
        )
        prepare_session(self._session, run.user_agent)

    def check(self, rows: list[int]) -> int:
        """Send the request of the first of *rows*, and of the others if it is refused."""
        for number, row in enumerate(rows, 1):
            request = self._renderer.request(row)
            asked = self._asked(row, request)
            if asked.kind is Kind.ANSWERED:
                return number
            status = 0 if asked.response is None else asked.response.status_code
            is_status = asked.kind is Kind.STATUS
            is_refused = is_status and 300 <= status < 500 and status not in _PASSING
            is_refused = is_refused or asked.kind in _CUT
            if asked.kind in _HOPELESS or (is_status and status in _DENIED):
                raise PreflightFailed(self._told(request, asked, status, 1))
            if not is_refused:
                self._run.note(f"preflight: {self._what(request, asked, status)}")
                return number
        raise PreflightFailed(self._told(request, asked, status, len(rows)))

    def _asked(self, row: int, request: Request) -> Asked:
        now, timeout = perf_counter(), self._run.timeouts[request.endpoint]
        position = self._recorder.send(row, request, 0.0)
        name = self._run.endpoints[request.endpoint]
        return ask(self._session, request, name, self._recorder, position, now, timeout)

    def _told(self, request: Request, asked: Asked, status: int, tries: int) -> str:
        what = self._what(request, asked, status)
        also = f", as had {tries - 1} about other subjects" if tries > 1 else ""
        remedy = _REMEDIES.get(asked.kind) or self._remedy(request, asked, status)
        name = self._run.endpoints[request.endpoint]
        return (
            f"preflight: {what}{also}; {remedy.format(name=name)}, or leave this check out with "
            "--no-preflight"
        )

    def _remedy(self, request: Request, asked: Asked, status: int) -> str:
        if asked.kind is not Kind.STATUS:
            return (
                "check the port, https or http, and whether the host wants a certificate (--cert)"
            )
        if status not in _DENIED:
            return (
                "give --host and endpoints.{name}.path the address that it leads to"
                if asked.location
                else "check endpoints.{name} and its status"
            )
        headers = self._run.plan.scenario.targets.of(self._run.endpoints[request.endpoint]).headers
        if any(is_secret_name(name) or references(text) for name, text in headers.items()):
            return "check the token that endpoints.{name}.headers sends"
        return (
            'endpoints.{name}.headers sends no token; add Authorization = "Bearer ${{TOKEN}}", or '
            "what the host asks for"
        )

    def _what(self, request: Request, asked: Asked, status: int) -> str:
        body = b""
        if asked.response is not None and asked.error is None:
            body = asked.response.content or b""
        example = self._run.examples.example(
            request, asked.kind, status, body=body, location=asked.location, error=asked.error
        )
        reason = reason_text(
            asked.kind.cause,
            status,
            timeout=self._run.timeouts[request.endpoint],
            check=asked.check or None,
        )
        host = self._run.plan.hosts[request.host]
        text = f" ({example.text})" if example.text else ""
        if example.text.startswith(reason):
            reason, text = example.text, ""
        name = self._run.endpoints[request.endpoint]
        return f"{name}: {example.request} to {host}: {reason}{text}"


_REMEDIES = {
    Kind.CERTIFICATE: "name its authority with --ca FILE, or take any with --insecure",
    Kind.CLIENT_CERTIFICATE: "give one that the host knows with --cert and --cert-key",
    Kind.TLS: "check that https is spoken at this port",
    Kind.HTTP2: "give the address of a server or a proxy that speaks HTTP/1.1",
    Kind.NOT_HTTP: "check the host's port",
    Kind.NAME: "check the host's name, or give its address with --resolve",
    Kind.REFUSED: "start the service there, or check the port",
    Kind.UNREACHABLE: "check the host's address",
    Kind.UNSENDABLE: "check endpoints.{name}",
}
