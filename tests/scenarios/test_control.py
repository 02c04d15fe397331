"""Claims about foreign hosts' answers to the control interface: bounded, and believed in part."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scenarios import control
from scenarios.control import MOST_AHEAD, CleanStart, ServiceControl
from scenarios.hosts import MAX_ANSWER_BYTES


class Host(ThreadingHTTPServer):
    """Answers everything with one body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = b""
        self.trickles = False
        self.is_over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Answers as its server says."""

    server: Host

    def do_GET(self) -> None:
        """Answer with the body."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.body)
        if self.server.trickles:
            with suppress(OSError):  # until the client goes away
                while not self.server.is_over.wait(0.02):
                    self.wfile.write(b" ")

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Return a host that answers as it is told."""
    with Host() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.is_over.set()
        server.shutdown()
        thread.join()


def at(host: Host) -> ServiceControl:
    return ServiceControl(f"http://127.0.0.1:{host.server_port}", token="a-token")


def start(host: Host, body: str) -> CleanStart | str:
    host.body = body.encode()
    with closing(at(host)) as service:
        return service.start_run("run", None)


def test_start_that_a_service_names_is_taken(host: Host) -> None:
    found = start(host, '{"data": {"starts_in": 0.5, "starts_at_ms": 1767225600000}}')
    assert found == CleanStart(starts_in=0.5, starts_at_ms=1_767_225_600_000)


@pytest.mark.parametrize(
    "body",
    [
        *(
            f'{{"data": {{"starts_in": {ahead}, "starts_at_ms": 1}}}}'
            for ahead in ("1e999", "NaN", "-1", f"{MOST_AHEAD + 1}", '"soon"', "9" * 5_000)
        ),
        '{"data": {"starts_in": 1, "starts_at_ms": 1e999}}',
        "[" * 2_000,
        "[]",
        "",
    ],
)
def test_start_that_nobody_waits_for_is_none(host: Host, body: str) -> None:
    assert start(host, body) == "the host answered with something else"


@pytest.mark.parametrize(
    "body",
    ["[" * 2_000, '{"data": {"cumulative": {"counters": {"a": 1e999}}}}', "null", "9" * 5_000],
)
def test_statistics_that_are_none_are_not_told(host: Host, body: str) -> None:
    host.body = body.encode()
    with closing(at(host)) as service:
        assert service.stats() is None


def test_answer_is_read_no_further_than_its_bound(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"data": {"starts_in": 1, "starts_at_ms": 1}})
    monkeypatch.setattr(control, "MAX_ANSWER_BYTES", 1_000)
    assert isinstance(start(host, body.ljust(1_000)), CleanStart)
    assert start(host, body.ljust(1_001)) == "the host answered with something else"
    assert MAX_ANSWER_BYTES > 1_000


def test_answer_that_trickles_in_ends_at_the_time_limit(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "trickles", True)
    url = f"http://127.0.0.1:{host.server_port}"
    with closing(ServiceControl(url, token="a-token", timeout=0.2)) as service:
        assert service.stats() is None
        said = service.start_run("a", None)
    assert said == "the host did not answer the request for it (timed out after 0.2 s)"
