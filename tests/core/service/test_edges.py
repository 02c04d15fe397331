"""Claims about what no well-behaved client sends: an error in JSON, never a 500 or a traceback."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.service.protocol import MAX_HEAD_BYTES
from tests.core.service.serving import TOKEN, Visitor, event_of

COMMAND = f"Authorization: Bearer {TOKEN}\r\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One answer as it came over a socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> str:
        """Return the message of the error that this is."""
        assert self.headers["content-type"] == "application/json"
        data = json.loads(self.body)
        assert data["success"] is False
        assert set(data["error"]) == {"code", "message"}
        message: str = data["error"]["message"]
        return message


@contextmanager
def connected(visitor: Visitor) -> Iterator[socket.socket]:
    parts = urlsplit(visitor.service.urls[0])
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=30)) as line:
        yield line


def next_answer(line: socket.socket) -> Heard:
    answer = http.client.HTTPResponse(line)
    with closing(answer):
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Heard(status=answer.status, headers=headers, body=answer.read())


def exchange(visitor: Visitor, *pieces: bytes) -> Heard:
    """Send *pieces* one after the other, and return the first answer."""
    with connected(visitor) as line:
        for piece in pieces:
            line.sendall(piece)
        return next_answer(line)


@pytest.fixture(autouse=True)
def _nothing_was_logged_and_service_works_on(visitor: Visitor) -> Iterator[None]:
    yield
    assert visitor.service.logged() == ""
    assert visitor.get("/journey/u1").status_code == 200


def get(target: bytes, *fields: bytes) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + b"".join(fields) + b"\r\n"


def post(target: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"POST " + target + b" HTTP/1.1\r\nHost: x\r\n" + b"".join(fields) + b"\r\n" + body


NO_HTTP = (
    b"\0\1\2\3\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(50),  # the beginning of TLS
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"B/EW / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"BREW\r\n\r\n",
    b"BREW / HTTP/9.9\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    get(b"/journey/\0"),
    get(b"/journey/a b"),
    get("/journey/ü".encode()),
    get(b"/journey/\xff\xfe"),
    get(b"/journey/u1", b"No colon\r\n"),
    get(b"/journey/u1", b"Bad name: x\r\n"),
    get(b"/journey/u1", b"X: a\0b\r\n"),
    post(b"/track", b"Content-Length: -1\r\n"),
    post(b"/track", b"Content-Length: 1x\r\n"),
    post(b"/track", b"Content-Length: 99999999999999999999999\r\n"),
    post(b"/track", b"Content-Length: 2\r\nContent-Length: 3\r\n", body=b"{} "),
    post(b"/track", b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", body=b"0\r\n\r\n"),
)


@pytest.mark.parametrize("raw", NO_HTTP)
def test_what_is_no_http_is_told_so_and_hung_up_on(visitor: Visitor, raw: bytes) -> None:
    with connected(visitor) as line:
        line.sendall(raw)
        answer = next_answer(line)
        assert answer.status == 400
        assert "no HTTP/1.1 request: mend" in answer.problem()
        assert answer.headers["connection"] == "close"
        assert line.recv(1) == b""


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}}\r\n0\r\n\r\n", b"-1\r\n"])
def test_body_of_broken_chunks_is_refused(visitor: Visitor, chunks: bytes) -> None:
    answer = exchange(visitor, post(b"/track", b"Transfer-Encoding: chunked\r\n", body=chunks))
    assert answer.status == 400
    assert "framing" in answer.problem()


def test_body_in_chunks_is_taken(visitor: Visitor) -> None:
    body = json.dumps(event_of(visitor.fresh("event"))).encode()
    head = post(b"/track", b"Transfer-Encoding: chunked\r\n")
    chunks = [b"1;ext=1\r\n%c\r\n" % byte for byte in body]
    answer = exchange(visitor, head, *chunks, b"0\r\nTrailer: x\r\n\r\n")
    assert (answer.status, json.loads(answer.body)["accepted"]) == (202, True)


def test_chunks_beyond_the_limit_of_a_body_are_refused(visitor: Visitor) -> None:
    head = post(b"/track", b"Transfer-Encoding: chunked\r\n")
    chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    answer = exchange(visitor, head, *[chunk] * 5)
    assert answer.status == 413
    assert "65,536" in answer.problem()


@pytest.mark.parametrize("path", [b"/track", b"/api/performance/cache-invalidate"])
def test_body_that_ends_before_its_length_is_no_fault_of_the_service(
    visitor: Visitor, path: bytes
) -> None:
    before = visitor.counters()["requests_track"]
    with connected(visitor) as line:
        line.sendall(post(path, COMMAND, b"Content-Length: 100\r\n", body=b'{"keys": ["a"'))
        line.shutdown(socket.SHUT_WR)
        assert line.recv(1) == b""
    if path == b"/track":
        visitor.await_counters(lambda now: now["requests_track"] == before + 1)


def test_body_longer_than_its_length_begins_another_request(visitor: Visitor) -> None:
    with connected(visitor) as line:
        line.sendall(post(b"/track", b"Content-Length: 2\r\n", body=b"{}trash\r\n\r\n"))
        assert next_answer(line).status == 400  # to the first one or to what is no second one


@pytest.mark.parametrize(
    "kind", [b"text/plain", b"application/x-www-form-urlencoded", b"\xff", b""]
)
def test_body_is_json_whatever_its_type_says(visitor: Visitor, kind: bytes) -> None:
    # A browser's beacon may say nothing but text/plain.
    body = json.dumps(event_of(visitor.fresh("event"))).encode()
    fields = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind, len(body))
    assert exchange(visitor, post(b"/track", fields, body=body)).status == 202
    assert "not JSON" in exchange(
        visitor, post(b"/track", fields, body=b"a=1&".ljust(len(body), b"x"))
    ).problem()  # fmt: skip


def test_body_is_asked_for_where_the_client_waits_for_that(visitor: Visitor) -> None:
    body = json.dumps(event_of(visitor.fresh("event"))).encode()
    with connected(visitor) as line:
        line.sendall(post(b"/track", b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(body)))
        assert line.recv(100).startswith(b"HTTP/1.1 100 Continue")
        line.sendall(body)
        assert next_answer(line).status == 202


def test_body_of_a_get_is_ignored(visitor: Visitor) -> None:
    with connected(visitor) as line:
        for _ in range(2):
            line.sendall(get(b"/journey/u1", b"Content-Length: 3\r\n") + b"\xff{}")
            assert next_answer(line).status == 200


# --- the head ----------------------------------------------------------------------------------


def long_heads(size: int) -> dict[str, bytes]:
    """Return heads of *size* bytes: one long field, and many short ones."""
    start = b"GET /journey/u1 HTTP/1.1\r\nHost: x\r\n"
    room = size - len(start) - 2
    one = start + b"X: " + b"a" * (room - 5) + b"\r\n\r\n"
    many = start + b"X: 12\r\n" * (room // 7 - 1) + b"X: 12" + b"3" * (room % 7) + b"\r\n\r\n"
    assert (len(one), len(many)) == (size, size)
    return {"one": one, "many": many}


@pytest.mark.parametrize("kind", ["one", "many"])
@pytest.mark.parametrize("piece", [1_000, 16_384, 16_385, 1_000_000])
def test_head_of_the_limit_is_taken_and_one_of_twice_that_is_not(
    visitor: Visitor, kind: str, piece: int
) -> None:
    def pieces(size: int) -> list[bytes]:
        head = long_heads(size)[kind]
        return [head[start : start + piece] for start in range(0, size, piece)]

    assert exchange(visitor, *pieces(MAX_HEAD_BYTES)).status == 200
    answer = exchange(visitor, *pieces(2 * MAX_HEAD_BYTES + 16_384))
    assert answer.status == 431
    assert "32,768" in answer.problem()


def test_head_without_an_end_is_refused_while_it_comes(visitor: Visitor) -> None:
    with connected(visitor) as line:
        line.sendall(b"GET /journey/u1 HTTP/1.1\r\nHost: x\r\n")
        for _ in range(9):
            line.sendall(b"X: " + b"a" * 8_000 + b"\r\n")
        assert next_answer(line).status == 431
        assert line.recv(1) == b""


def test_request_line_beyond_the_limit_is_refused(visitor: Visitor) -> None:
    for target in (b"/" + b"a" * 70_000, b"/channels?model=" + b"b" * 70_000):
        answer = exchange(visitor, get(target))
        assert answer.status == 414
        assert "request line" in answer.problem()


def test_long_bodies_and_heads_one_after_the_other_are_told_apart(visitor: Visitor) -> None:
    body = json.dumps(event_of(visitor.fresh("event"), user_id="pipelined")).encode().ljust(8_000)
    one = post(b"/track", b"Content-Length: 8000\r\n", body=body)
    with connected(visitor) as line:
        line.sendall((one + long_heads(30_000)["many"]) * 6)
        statuses = [next_answer_of(line) for _ in range(12)]
    assert statuses == [202, 200] * 6


def next_answer_of(line: socket.socket) -> int:
    """Return the status of the next of several answers, and read no further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = line.recv(1)
        assert byte, f"no answer, but {head!r}"
        head += byte
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while length:
        length -= len(line.recv(length))
    return int(head.split()[1])


# --- paths and queries -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"//journey/u1", 404), (b"/journey//u1", 404), (b"/./journey/u1", 404),
        (b"/journey/../journey/u1", 404), (b"/journey/u1/", 404), (b"*", 404),
        (b"/%6Aourney/u1", 200),
        (b"/journey%2Fu1", 200), (b"http://elsewhere/journey/u1", 200), (b"/journey/u1#x", 200),
        (b"/journey/u1?any=1&any&&==%00%ff", 200), (b"/journey/%75%31", 200),
        (b"/journey/%", 404), (b"/journey/%zz", 404), (b"/journey/%00", 400),
        (b"/journey/u1%00", 400), (b"/journey/%ff", 400), (b"/journey/%c0%af", 400),
        (b"/journey/%ed%a0%80", 400), (b"/journey/" + b"%C3%BC" * 200, 404),
        (b"/journey/" + b"%C3%BC" * 201, 400), (b"/journey/" + b"a" * 20_000, 400),
        (b"/journey/", 400), (b"/channels?model=%ff", 400), (b"/channels?model=linear&x=1", 200),
        (b"/channels?model=linear;x=1", 400), (b"/channels?" + b"a=1&" * 5_000, 400),
        (b"/api/performance/stats?%ff", 400), (b"/api/performance/stats?scope=process&", 200),
        (b"/openapi.json?x=1", 400),
    ],
)  # fmt: skip
def test_odd_paths_and_queries_are_answered(visitor: Visitor, target: bytes, status: int) -> None:
    answer = exchange(visitor, get(target))
    assert answer.status == status
    if status != 200:
        assert answer.problem()


PLAIN = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufffd"), min_size=1, max_size=200
)


@settings(
    max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(PLAIN)
def test_any_text_however_it_is_percent_encoded_names_one_user(visitor: Visitor, user: str) -> None:
    everything = "".join(f"%{byte:02x}" for byte in user.encode())
    answer = exchange(visitor, get(f"/journey/{everything}".encode()))
    assert answer.status == 404 or user[0] == "u"
    if answer.status == 404:
        assert answer.problem() == f"user {user!r} has no events; track one first"


@settings(
    max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=1, max_size=60), st.sampled_from([b"/journey/", b"/channels?", b"/"]))
def test_any_bytes_in_a_path_are_answered(visitor: Visitor, raw: bytes, prefix: bytes) -> None:
    answer = exchange(visitor, get(prefix + raw))
    assert answer.status in (200, 400, 404)
    if answer.status != 200:
        assert answer.problem()


# --- methods and upgrades ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    ["OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND", "BREW", "get", "X-1!", "POSTS"],
)
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/track", {"POST"}), ("/journey/u1", {"GET", "HEAD"}), ("/channels", {"GET", "HEAD"}),
        ("/api/performance/figures", {"GET", "HEAD"}), ("/api/performance/run", {"POST"}),
        ("/openapi.json", {"GET", "HEAD"}),
    ],
)  # fmt: skip
def test_other_methods_are_told_which_are_allowed(
    visitor: Visitor, method: str, path: str, allowed: set[str]
) -> None:
    raw = f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = exchange(visitor, raw)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert "Allow header" in answer.problem()


def test_connection_lives_on_after_a_method_that_nobody_knows(visitor: Visitor) -> None:
    event = json.dumps(event_of(visitor.fresh("event"))).encode()
    tracked = post(b"/track", b"Content-Length: %d\r\n" % len(event), body=event)
    with connected(visitor) as line:
        for raw, status in (
            (b"BREW /track HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ntea", 405),
            (tracked, 202),
            (b"BREW /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            (b"BREW /track HTTP/1.1\r\nHost: x\r\n\r\n" + get(b"/journey/u1"), 405),
        ):
            line.sendall(raw)
            assert next_answer_of(line) == status
        assert next_answer_of(line) == 200


def test_bytes_of_a_body_never_become_a_request_of_their_own(visitor: Visitor) -> None:
    inner = b"BREW /track HTTP/1.1\r\nHost: x\r\n\r\n"
    head = post(b"/track", b"Content-Length: %d\r\n" % len(inner))
    with connected(visitor) as line:
        line.sendall(head)
        line.sendall(inner + b"BREW /journey/u1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert next_answer_of(line) == 400
        # Of the first one or of what is none; no second answer is a 405.
        rest = b""
        while piece := line.recv(10_000):
            rest += piece
        assert b" 405 " not in rest


@pytest.mark.parametrize("to", [b"websocket", b"h2c"])
def test_upgrade_is_not_taken_up(visitor: Visitor, to: bytes) -> None:
    fields = b"Connection: upgrade\r\nUpgrade: " + to + b"\r\nSec-WebSocket-Version: 13\r\n"
    answer = exchange(visitor, get(b"/journey/u1", fields, b"Sec-WebSocket-Key: AAAA\r\n"))
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def posted(event: str, fields: bytes) -> tuple[bytes, bytes]:
    """Return the head and the body of an event, by its length or in chunks as *fields* say."""
    body = json.dumps(event_of(event, user_id=event)).encode()
    if b"chunked" in fields:
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]))
        return post(b"/track", fields), chunks + b"0\r\n\r\n"
    return post(b"/track", fields, b"Content-Length: %d\r\n" % len(body)), body


@pytest.mark.parametrize("framing", [b"", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("piece", [1, 100, 100_000])
@pytest.mark.parametrize("to", [b"websocket", b"h2c"])
def test_body_of_a_request_for_an_upgrade_is_read(
    visitor: Visitor, to: bytes, piece: int, framing: bytes
) -> None:
    event = visitor.fresh("upgrade")
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: "
    whole = b"".join(posted(event, fields + to + b"\r\n" + framing))
    pieces = [whole[start : start + piece] for start in range(0, len(whole), piece)]
    pieces[-1] += b"what the other protocol would say: GET /journey/u1 HTTP/1.1\r\n\r\n"
    answer = exchange(visitor, *pieces)
    assert (answer.status, answer.headers["connection"]) == (202, "close")
    assert json.loads(answer.body) == {"accepted": True, "duplicate": False}
    assert len(visitor.get(f"/journey/{event}").json()["events"]) == 1


def test_body_behind_a_request_for_an_upgrade_is_asked_for(visitor: Visitor) -> None:
    fields = b"Expect: 100-continue\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
    head, body = posted(visitor.fresh("upgrade"), fields)
    with connected(visitor) as line:
        line.sendall(head)
        assert line.recv(100).startswith(b"HTTP/1.1 100 Continue")
        line.sendall(body)
        assert next_answer(line).status == 202


@pytest.mark.parametrize("fields", [b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n"])
def test_broken_body_of_a_request_for_an_upgrade_is_refused(
    visitor: Visitor, fields: bytes
) -> None:
    upgrade = b"Connection: upgrade\r\nUpgrade: h2c\r\n"
    answer = exchange(visitor, post(b"/track", upgrade, fields, body=b"zz\r\n{}"))
    assert answer.status == 400
    assert "framing" in answer.problem()


def test_refusal_names_the_scheme_that_is_wanted(visitor: Visitor) -> None:
    answer = exchange(visitor, post(b"/api/performance/run", b"Content-Length: 2\r\n", body=b"{}"))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_old_clients_are_answered_and_hung_up_on(visitor: Visitor) -> None:
    answer = exchange(visitor, b"GET /journey/u1 HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
