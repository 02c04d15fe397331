"""Claims about deliveries over real sockets, to destinations that misbehave."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from core.delivery.http import MAX_ANSWER_BYTES, HttpReceiver, token_of
from core.delivery.receiver import DeliveryError
from core.errors import InputError
from core.service.local_destination import MAX_BODY_BYTES
from tests.core.delivery.destinations import local_destination

BODY = b'[{"idempotency_key":"c1"}]'
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A destination that reads requests and answers each by *answer*."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.sent = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                text = head.decode()
                self.heads.append(text)
                lines = [line.lower() for line in text.splitlines()]
                (length,) = [line for line in lines if line.startswith("content-length:")]
                self.bodies.append(await reader.readexactly(int(length.split(":")[1])))
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    """Run a destination on a loopback port."""
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/in"
    try:
        yield server
    finally:
        listener.close()


def says(answer: bytes) -> Answer:
    """Return what answers every request by *answer*."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return write


def status(line: str, *headers: str, body: bytes = b"") -> bytes:
    fields = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


async def closes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def never_answers(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def drips_a_header(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not writer.is_closing():
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(0.005)


async def takes_and_never_ends(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nx")
    await asyncio.Event().wait()


async def send(url: str, *, timeout: float = 5.0, token: str | None = None, times: int = 1) -> None:
    receiver = HttpReceiver(url, timeout=timeout, connections=2, token=token)
    try:
        for _ in range(times):
            await receiver.send(BODY)
    finally:
        await receiver.close()


@pytest.mark.parametrize("line", ["200 OK", "202 Accepted", "204 No Content", "299 Fine"])
def test_any_2xx_is_a_delivery_over_one_connection(line: str) -> None:
    async def scene() -> None:
        async with serving(says(status(line))) as server:
            await send(server.url, times=3)
            assert server.bodies == [BODY] * 3
            assert server.connections == 1
            assert server.heads[0].startswith("POST /in HTTP/1.1\r\n")
            assert "content-type: application/json" in server.heads[0].lower()
            assert "authorization" not in server.heads[0].lower()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (says(status("500 Oh", body=b'{"error":\n"busy"}')), 'status 500 {"error": "busy"}'),
        (says(status("503 No", body=b"\x1b[2J\xff" + 500 * b"n")), r"status 503 \?\[2J\?n+\.\.\."),
        (says(status("400 Bad")), "status 400"),
        (says(status("401 Who")), "status 401"),
        (says(b"HTTP/1.1 100 Continue\r\n\r\n" + status("500 No")), "status 500"),
        (closes, "RemoteProtocolError"),
        (says(b"this is no HTTP\r\n\r\n"), "RemoteProtocolError"),
        (says(b"HTTP/1.1 200 OK\r\nX: " + 300_000 * b"y"), "RemoteProtocolError"),
        (never_answers, "no answer within 0.3 s"),
        (drips_a_header, "no answer within 0.3 s"),
    ],
)
def test_anything_else_is_a_failure_with_its_reason(answer: Answer, reason: str) -> None:
    async def scene() -> None:
        async with serving(answer) as server:
            with pytest.raises(DeliveryError, match=f"^{reason}") as caught:
                await send(server.url, timeout=0.3)
            assert len(str(caught.value)) <= 160
            assert str(caught.value).isprintable()
            assert server.bodies == [BODY]

    asyncio.run(scene())


def test_redirect_is_a_failure_and_is_not_followed() -> None:
    async def scene() -> None:
        async with (
            serving(says(status("200 OK"))) as elsewhere,
            serving(says(status("307 There", f"Location: {elsewhere.url}"))) as server,
        ):
            with pytest.raises(DeliveryError, match="status 307"):
                await send(server.url, token="secret")
            assert elsewhere.bodies == []

    asyncio.run(scene())


def test_destination_that_is_away_is_a_failure() -> None:
    async def scene() -> None:
        async with serving(closes) as server:
            url = server.url
        with pytest.raises(DeliveryError, match="ConnectError"):
            await send(url)

    asyncio.run(scene())


def test_huge_answer_is_read_to_its_limit_only() -> None:
    written = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(65_536 * b"x")
            await writer.drain()  # raises once the other end is gone
            written += 65_536

    async def scene() -> None:
        async with serving(answer) as server:
            with pytest.raises(DeliveryError, match=r"status 500 x+"):
                await send(server.url, timeout=30.0)
        assert written < 100 * MAX_ANSWER_BYTES  # what the sockets between them hold

    asyncio.run(scene())


def test_answer_that_said_yes_is_a_delivery_even_if_it_never_ends() -> None:
    async def scene() -> None:
        async with serving(takes_and_never_ends) as server:
            await send(server.url, timeout=0.3)
            assert server.bodies == [BODY]

    asyncio.run(scene())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with serving(says(status("200 OK"))) as server, serving(closes) as proxy:
            for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
                monkeypatch.setenv(name, proxy.url)
            await send(server.url)
            assert proxy.connections == 0

    asyncio.run(scene())


def test_token_of_the_environment_goes_along_and_a_missing_one_is_told() -> None:
    async def scene() -> None:
        async with serving(says(status("200 OK"))) as server:
            await send(server.url, token=token_of("MINE", {"MINE": " s3cret\n"}))
            assert "\r\nauthorization: bearer s3cret\r\n" in server.heads[0].lower()

    asyncio.run(scene())

    async def scene_of_an_echo() -> None:
        async with serving(says(status("400 Bad", body=b"you sent Bearer s3cret"))) as server:
            with pytest.raises(DeliveryError, match=r"you sent Bearer \(token\)"):
                await send(server.url, token="s3cret")

    asyncio.run(scene_of_an_echo())
    assert token_of(None, {}) is None
    with pytest.raises(InputError, match="MINE is not set"):
        token_of("MINE", {})
    with pytest.raises(InputError, match="does not hold a token") as caught:
        token_of("MINE", {"MINE": "s3cret\nX: y"})
    assert "s3cret" not in str(caught.value)


def test_local_destination_tells_a_conversion_that_it_has_seen() -> None:
    with local_destination() as server:
        asyncio.run(send(server.url, times=2))
        body = json.dumps([{"idempotency_key": "c1"}, {"idempotency_key": "c2"}])
        answer = httpx.post(server.url, content=body)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
        counts = httpx.get(server.url).json()
        assert counts == {"requests": 3, "conversions": 2, "duplicates": 2}


@pytest.mark.parametrize("body", [b"", b"{}}", b'{"a": 1}', b"[1]", b'[{"id": 1}]', b"[" * 100_000])
def test_local_destination_refuses_what_is_no_delivery(body: bytes) -> None:
    with local_destination() as server:
        assert httpx.post(server.url, content=body).status_code == 400
        assert server.counts.conversions == 0


def test_local_destination_takes_no_body_without_a_bound() -> None:
    with local_destination() as server:
        with socket.create_connection(("127.0.0.1", server.server_address[1]), 10) as connection:
            head = f"POST / HTTP/1.1\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        chunked = httpx.post(server.url, content=iter([b"[]"]))
        assert chunked.status_code == 413
        assert server.counts.requests == 0
