"""Claims about connections: each has time limits, their number has one, and so have descriptors."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from uvicorn.server import ServerState

from core.errors import InputError
from core.service.limits import DEFAULT_LIMITS, ConnectionLimits
from core.service.protocol import BoundedProtocol
from tests.core.service.serving import (
    POLLS,
    TOKEN,
    Visitor,
    event_of,
    problem,
    serving,
    small_scenario,
)
from tests.edgeproof.commands import SMALL_SERVICE, running

GET = b"GET /journey/u1 HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = ConnectionLimits(most=8, idle=0.3, receive=0.3)


def connect(url: str) -> closing[socket.socket]:
    parts = urlsplit(url)
    return closing(socket.create_connection((parts.hostname, parts.port), timeout=60))


def answer_on(line: socket.socket) -> tuple[int, http.client.HTTPMessage, bytes]:
    answer = http.client.HTTPResponse(line)
    with closing(answer):
        answer.begin()
        return answer.status, answer.headers, answer.read()


def code_of(body: bytes) -> str:
    code: str = json.loads(body)["error"]["code"]
    return code


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """Return a client of a service that is soon tired of its connections."""
    scenario = small_scenario("short")
    with serving(scenario, tmp_path_factory.mktemp("short"), limits=SHORT) as (visitor,):
        yield visitor


def serves_on(visitor: Visitor) -> None:
    """Check that a new connection is served: one that was kept may have been idle for too long."""
    with connect(visitor.service.urls[0]) as line:
        line.sendall(GET)
        assert answer_on(line)[0] == 200


def trickle(line: socket.socket, piece: bytes, stop: threading.Event) -> None:
    """Send *piece* again and again until the other side is gone or *stop* is set."""
    try:
        while not stop.wait(0.01):
            line.sendall(piece)
    except OSError:
        pass


@pytest.mark.parametrize(
    ("begin", "piece", "part"),
    [
        (b"GET /journey/u1 HTTP/1.1\r\nHost: ", b"x", "head"),
        (b"GET /journey/", b"u", "head"),
        (b"G", b"", "head"),
        (b"POST /track HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{", b" ", "body"),
        (b"POST /track HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n", b"", "body"),
        (
            b"POST /track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
            "body",
        ),
    ],
)
def test_request_that_never_ends_is_answered_408_however_often_it_sends_something(
    short: Visitor, begin: bytes, piece: bytes, part: str
) -> None:
    stop = threading.Event()
    with connect(short.service.urls[0]) as line:
        line.sendall(begin)
        sender = threading.Thread(target=trickle, args=(line, piece, stop))
        sender.start()
        try:
            status, headers, body = answer_on(line)
            assert (status, headers["Connection"], code_of(body)) == (
                408,
                "close",
                "request_timeout",
            )
            assert f"the {part} of the request did not arrive within 0.3 s".encode() in body
        finally:
            stop.set()
            sender.join()
    serves_on(short)


class _Leaving:
    """The transport of a client that resets the connection as soon as it is sent something."""

    def __init__(self, transport: asyncio.Transport, client: socket.socket) -> None:
        self._transport, self._client = transport, client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._transport.write(data)
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.close()


def test_client_that_resets_the_connection_while_it_is_refused_harms_nobody() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("no request is whole")

    async def refuse() -> None:
        config = uvicorn.Config(app, http=BoundedProtocol, lifespan="off")
        config.load()
        state = ServerState()
        protocol = BoundedProtocol(config=config, server_state=state, app_state={}, limits=SHORT)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            line, _ = listener.accept()
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, line)
        client.sendall(b"GET /")
        while protocol.scope is None:
            await asyncio.sleep(0)
        protocol.look(0.0)
        protocol.transport = _Leaving(protocol.transport, client)  # type: ignore[assignment]
        protocol.look(SHORT.receive)
        assert not state.connections
        assert protocol.transport.is_closing()

    asyncio.run(refuse())


@pytest.mark.parametrize("asks", [0, 1, 3])
def test_idle_connection_is_closed_without_a_word(short: Visitor, asks: int) -> None:
    with connect(short.service.urls[0]) as line:
        for _ in range(asks):
            line.sendall(GET)
            assert answer_on(line)[0] == 200
        assert line.recv(1) == b""


def test_late_second_head_is_refused_after_the_first_answer(short: Visitor) -> None:
    with connect(short.service.urls[0]) as line:
        line.sendall(GET + GET[:10])
        assert answer_on(line)[0] == 200
        assert answer_on(line)[0] == 408


def test_slow_answer_is_no_fault_of_the_client(tmp_path: Path) -> None:
    slow = {"l3": {"round_trip": "1s", "timeout": "5s"}}
    with (
        serving(small_scenario("slow", tiers=slow), tmp_path, limits=SHORT) as (visitor,),
        connect(visitor.service.urls[0]) as line,
    ):
        line.sendall(GET)
        assert answer_on(line)[0] == 200


def test_refusal_behind_requests_in_flight_is_taken_for_no_answer_of_theirs(tmp_path: Path) -> None:
    slow = {"l3": {"round_trip": "300ms", "timeout": "5s"}}
    with serving(small_scenario("pipelined", tiers=slow), tmp_path) as (visitor,):
        with connect(visitor.service.urls[0]) as line:
            line.sendall(GET + GET + b"\0\r\n\r\n")
            with suppress(ConnectionResetError):
                assert line.recv(1) == b""
        with connect(visitor.service.urls[0]) as line:
            line.sendall(GET.replace(b"u1", b"u2"))  # answered after them
            assert answer_on(line)[0] == 200
        assert visitor.service.logged() == ""


def test_client_that_takes_no_answer_is_cut_off(short: Visitor) -> None:
    with closing(socket.socket()) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        parts = urlsplit(short.service.urls[0])
        line.settimeout(60)
        line.connect((parts.hostname, parts.port))
        request = GET.replace(b"/journey/u1", b"/openapi.json") * 500
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            # Until the buffers of both sides are full, and the connection ends.
            for _ in iter(lambda: line.sendall(request), 0):
                pass
    serves_on(short)


def test_connection_beyond_the_cap_is_answered_503_and_has_room_once_another_closes(
    tmp_path: Path,
) -> None:
    limits = ConnectionLimits(most=5)
    with (
        serving(small_scenario("capped"), tmp_path, limits=limits) as (visitor,),
        ExitStack() as open_until_then,
    ):
        url = visitor.service.urls[0]
        held = [open_until_then.enter_context(connect(url)) for _ in range(5)]
        for line in held:
            line.sendall(GET)
            assert answer_on(line)[0] == 200
        for _ in range(30):
            with connect(url) as line:
                line.sendall(GET)
                status, headers, body = answer_on(line)
                assert (status, code_of(body)) == (503, "too_many_connections")
                assert (headers["Connection"], headers["Retry-After"]) == ("close", "1")
                assert b"5 connections are open" in body
                assert line.recv(1) == b""
        held[0].sendall(GET)
        assert answer_on(held[0])[0] == 200
        held.pop().close()
        for _ in range(POLLS):
            with connect(url) as line:
                line.sendall(GET)
                if answer_on(line)[0] == 200:
                    break
        else:
            pytest.fail("there is no room although a connection was closed")
    said = visitor.service.last_news
    assert said.count("WARNING: a connection was answered 503: 5 are open") == 1
    assert re.search(r"^WARNING: repeated [\d,]+ times in \d+ s: a connection was", said, re.M)


WITH_FEW_DESCRIPTORS = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.executable, [sys.executable, "-m", "edgeproof", *sys.argv[2:]])
"""


def test_service_pauses_at_the_limit_of_descriptors_says_so_once_and_recovers(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as errors, ExitStack() as open_until_then:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_FEW_DESCRIPTORS, "96", "serve", "baseline", *SMALL_SERVICE,
             "--port", "0", "--workers", "1", "--no-emulation"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        open_until_then.callback(process.wait)
        open_until_then.callback(process.kill)
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        lines = [open_until_then.enter_context(connect(url)) for _ in range(150)]
        for line in lines:
            line.sendall(GET)
        answered = [line for line in lines[:40] if answer_on(line)[0] == 200]
        assert len(answered) == 40
        for _ in range(POLLS):
            if "file descriptors are in use" in log.read_text():
                break
        # What it has taken it serves, with descriptors that are left for the stores.
        answered[0].sendall(b"GET /api/performance/stats HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_on(answered[0])[0] == 200
        for line in lines[:40]:
            line.close()
        served = 0
        for line in lines[40:]:  # each that closes lets another one in
            served += answer_on(line)[0] == 200
            line.close()
        assert served == 110
        with connect(url) as line:
            line.sendall(GET)
            assert answer_on(line)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()
    said = log.read_text()
    assert len(re.findall("^WARNING: no connection is accepted until", said, re.M)) == 1, said
    assert len(re.findall("^WARNING: connections are accepted again", said, re.M)) == 1, said
    assert "Traceback" not in said


def test_error_that_repeats_is_logged_once_and_counted(tmp_path: Path) -> None:
    with serving(small_scenario("broken"), tmp_path) as (visitor,):
        with closing(sqlite3.connect(tmp_path / "cdp.sqlite")) as database, database:
            database.execute("UPDATE sites SET max_event_bytes = 'abc'")
        body = json.dumps(event_of("e1")).encode()
        head = b"POST /track HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        for _ in range(20):
            with connect(visitor.service.urls[0]) as line:
                line.sendall(head + body)
                assert answer_on(line)[0] == 500
    said = visitor.service.last_news
    assert said.count("Traceback (most recent call last)") == 1
    assert re.search(r"repeated 19 times in \d+ s: Exception in ASGI application: TypeError", said)


# --- who may reach it ----------------------------------------------------------------------------

MONITORING = ("stats", "cache-stats", "query-stats", "latency-summary", "figures")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", MONITORING)
def test_monitoring_of_a_public_service_wants_the_token(
    public: list[Visitor], name: str, method: str
) -> None:
    visitor = public[0]
    path = f"/api/performance/{name}"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        answer = visitor.http.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in answer.text
    answer = visitor.http.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Visitor]]:
    """Return clients of two workers that others may reach, too."""
    scenario = small_scenario("public", topology={"processes": 2})
    with serving(scenario, tmp_path_factory.mktemp("public"), host="0.0.0.0") as visitors:
        yield visitors


def test_workers_of_a_public_service_tell_one_another_their_figures(public: list[Visitor]) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    data = public[1].http.get("/api/performance/stats", headers=headers).json()["data"]
    assert data["workers"] == {"answered": [0, 1], "silent": []}
    assert public[1].http.get("/metrics").status_code == 401
    assert 'worker_up{worker="0"} 1.0' in public[1].http.get("/metrics", headers=headers).text


def test_public_service_without_a_token_answers_visitors_and_tells_nothing(tmp_path: Path) -> None:
    scenario = small_scenario("secretive")
    with serving(scenario, tmp_path, host="0.0.0.0", token=None) as (visitor,):
        assert visitor.get("/journey/u1").status_code == 200
        assert visitor.track().status_code == 202
        for name in MONITORING:
            message = problem(visitor.http.get(f"/api/performance/{name}"), 403)
            assert "EDGEPROOF_TOKEN" in message
        assert "EDGEPROOF_TOKEN" in problem(visitor.http.get("/metrics"), 403)


@pytest.mark.parametrize("token", ["", "a-token"])
def test_bind_beyond_this_machine_warns(tmp_path: Path, token: str) -> None:
    options = (
        "serve",
        "baseline",
        *SMALL_SERVICE,
        "--port",
        "0",
        "--workers",
        "1",
        "--bind",
        "0.0.0.0",
    )
    with running(*options, cwd=tmp_path, EDGEPROOF_TOKEN=token) as command:
        command.wait_for("Ctrl-C ends it", on_stdout=True)
        command.said.clear()
        command.interrupt()
        code, _, said = command.end()
    assert code == 0
    (line,) = said.splitlines()
    assert line.startswith("edgeproof: --bind 0.0.0.0 lets other machines reach the service")
    assert "EDGEPROOF_TOKEN" in line
    assert ("answers 403" in line) is (token == "")
    assert "a-token" not in line


# --- the limits themselves -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"most": 0}, "--max-connections 0: give 1 to 1,000,000"),
        ({"most": 1_000_001}, "--max-connections 1000001"),
        ({"idle": 0.0}, "--idle-timeout is 0 s; give 100ms to 24h"),
        ({"receive": 1e9}, "--receive-timeout is 1e+09 s"),
        ({"receive": float("nan")}, "--receive-timeout is nan s"),
    ],
)
def test_limit_that_cannot_be_is_refused(limits: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        ConnectionLimits(**limits)  # type: ignore[arg-type]  # one of them is a whole number


def test_pool_of_a_load_fits_and_may_rest_for_minutes() -> None:
    from scenarios.plan import POOL_BOUNDS

    assert DEFAULT_LIMITS.most >= 10 * POOL_BOUNDS[1]
    assert DEFAULT_LIMITS.idle >= 60
