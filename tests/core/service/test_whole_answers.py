"""Claims about answers that are written at once: the same bytes, in one write to the socket."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from core.service.protocol import BoundedProtocol
from core.service.responses import WHOLE_ANSWER
from core.service.worker import SERVER_OPTIONS

FIELDS = b"server-timing: total;dur=1.0\r\ncontent-type: application/json\r\n"
BODY = b'{"user_id":"u1"}'


async def whole(scope: Any, _: Any, __: Any) -> None:
    assert scope["extensions"][WHOLE_ANSWER](200, FIELDS, BODY)


async def in_messages(_: Any, __: Any, send: Any) -> None:
    pairs = [line.split(b": ") for line in FIELDS.split(b"\r\n") if line]
    headers = [*((name, value) for name, value in pairs), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def heard(app: Any, request: bytes) -> tuple[list[bytes], bytes]:
    """Return what was written to the socket, and what a client of *request* received."""
    written: list[bytes] = []

    class Watched:
        def __init__(self, transport: asyncio.Transport) -> None:
            self._transport = transport

        def write(self, data: bytes) -> None:
            written.append(data)
            self._transport.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)

    class Protocol(BoundedProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(Watched(transport))  # type: ignore[arg-type]  # it acts as one

    async def main() -> bytes:
        state = ServerState()
        state.default_headers = [(b"date", b"Sat, 28 Nov 2026 00:00:00 GMT")]
        config = uvicorn.Config(app, **SERVER_OPTIONS)
        server = await asyncio.get_running_loop().create_server(
            lambda: Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        if b"close" not in request:
            writer.write_eof()  # the end of the connection, for a single request
        received = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        server.close()
        return received

    received = asyncio.run(main())
    return written, received


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2
        + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["get", "head", "close", "old", "pipelined", "post"],
)
def test_answer_at_once_is_the_usual_one_in_one_write(request_text: bytes) -> None:
    at_once, received = heard(whole, request_text)
    usual, as_usual = heard(in_messages, request_text)

    def fields(answer: bytes) -> list[bytes]:
        return sorted(answer.split(b"\r\n"))

    assert fields(received) == fields(as_usual)
    answers = received.count(b"HTTP/1.1 200 OK")
    assert answers == (3 if request_text.count(b"GET") == 3 else 1)
    assert len(at_once) == answers
    assert len(usual) >= answers


def test_answer_at_once_leaves_alone_what_was_begun() -> None:
    left: list[bool] = []

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        await in_messages(scope, receive, send)
        left.append(scope["extensions"][WHOLE_ANSWER](200, FIELDS, BODY))

    _, received = heard(twice, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert left == [False]
    assert received.count(b"HTTP/1.1 200 OK") == 1


def test_request_that_was_answered_is_freed_without_the_collector() -> None:
    earlier: list[weakref.ref[Any]] = []
    freed: list[bool] = []

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        freed.extend(request() is None for request in earlier)
        answer = scope["extensions"][WHOLE_ANSWER]
        earlier.append(weakref.ref(answer.args[0]))
        del answer
        await whole(scope, receive, send)

    gc.disable()
    try:
        heard(noted, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    finally:
        gc.enable()
    assert freed == [True] * 3  # the first before the second, both before the third
