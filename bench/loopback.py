"""A client that is cheaper than the servers it drives: prepared bytes over a few connections."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

CONNECTIONS = 8

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The cost of some requests: the server's CPU (user and system, all threads) and the time."""

    requests: int
    cpu_seconds: float
    seconds: float


class WrongAnswer(Exception):
    """A server did not give the answer that is measured."""


def request_bytes(
    method: str, path: str, body: bytes | None = None, headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """Return the bytes of an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of process *pid* so far, in seconds: user and system, all threads.

    The kernel's clock of that process, on Linux; utime and stime in /proc/PID/stat are the same
    in steps of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


class _Connection(asyncio.Protocol):
    """Sends the next of *requests* after each answer, and ends when none is left."""

    def __init__(
        self, requests: Iterator[bytes], expected: bytes, ended: asyncio.Future[None]
    ) -> None:
        self._requests = requests
        self._expected = expected
        self._ended = ended
        self._buffer = b""
        self._fault: str | None = "the connection was lost"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
            return
        self._fault = None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self._buffer = data
            return
        length = _LENGTH.search(data, 0, head)
        if length is None or self._expected not in data[:head]:
            self._fault = f"expected {self._expected.decode()!r} in {data[:head].decode()!r}"
            self._transport.abort()
            return
        if len(data) < head + 4 + int(length[1]):
            self._buffer = data
            return
        self._buffer = b""
        self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if self._fault is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(WrongAnswer(self._fault))


async def drive(url: str, pid: int, requests: Sequence[bytes], expected: str) -> Spent:
    """Send *requests* to the server at *url*, process *pid*, each as soon as a connection is free.

    Raise WrongAnswer if an answer's head does not hold *expected*, or is lost.
    """
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    loop = asyncio.get_running_loop()
    waiting = iter(requests)
    ended = [loop.create_future() for _ in range(min(CONNECTIONS, len(requests)))]
    connections = iter([_Connection(waiting, expected.encode(), future) for future in ended])
    cpu, started = cpu_seconds(pid), time.perf_counter()
    for _ in ended:
        await loop.create_connection(lambda: next(connections), host, port)
    results = await asyncio.gather(*ended, return_exceptions=True)
    spent = Spent(
        requests=len(requests),
        cpu_seconds=cpu_seconds(pid) - cpu,
        seconds=time.perf_counter() - started,
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return spent


async def answer_of(url: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (names in small letters) and body of the answer to *request*."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
        await writer.wait_closed()
    return int(head[0].split()[1]), headers, body
