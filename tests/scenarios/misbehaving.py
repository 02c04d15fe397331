"""A bare HTTP server that misbehaves in one manner, for the reasons of failed requests.

`python -m tests.scenarios.misbehaving MANNER [CERTIFICATE KEY [CLIENT_CA]]` prints its port on the
first line and serves loopback until it is killed; with a certificate over TLS, with an authority
for clients that have a certificate of it. The manner is that of every answer but those under /api/,
which are 404. MANNER@ADDRESS listens at another address. MANNER,MANNER,... is a server for each,
and a line.
"""

from __future__ import annotations

import asyncio
import gzip
import html
import itertools
import json
import re
import socket
import ssl
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import brotli

from core.wire import STATS_PATH

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\n{}"
Writer = asyncio.StreamWriter


async def _reset(writer: Writer) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _reset_within(writer: Writer) -> None:
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
    await asyncio.sleep(0.05)
    await _reset(writer)


async def _endless(writer: Writer) -> None:
    """A chunked body of which a piece comes long before each read would time out."""
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while not writer.transport.is_closing():
        writer.write(b"5\r\n[1,2,\r\n")
        await asyncio.sleep(0.1)


def _labelled(encoding: str, body: bytes) -> bytes:
    fields = f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return HEAD + fields.encode() + body


async def _hang(_: Writer) -> None:
    await asyncio.Event().wait()


def _says(answer: bytes) -> Callable[[Writer], Awaitable[None]]:
    async def say(writer: Writer) -> None:
        writer.write(answer)
        await writer.drain()

    return say


MANNERS: dict[str, Callable[[Writer], Awaitable[None]]] = {
    "ok": _says(OK),
    "agent": _says(OK),
    "reset": _reset,
    "reset_within": _reset_within,
    "endless": _endless,
    "hang": _hang,
    "close": _says(b""),
    "half": _says(HEAD + b"Content-Length: 100\r\n\r\n{"),
    "half_chunked": _says(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1"),
    "empty": _says(HEAD + b"Content-Length: 0\r\n\r\n"),
    "html": _says(HEAD + b"Content-Length: 3\r\n\r\n<p>"),
    "status429": _says(b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"),
    "status301": _says(b"HTTP/1.1 301 M\r\nLocation: https://a/?t=s\r\nContent-Length: 0\r\n\r\n"),
    "status204": _says(b"HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n"),
    "status204_gzip": _says(b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n"),
    "garbage": _says(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "bad_gzip": _says(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    "bad_brotli": _says(HEAD + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}"),
    "unknown_encoding": _says(HEAD + b"Content-Encoding: zstd\r\nContent-Length: 2\r\n\r\n{}"),
    "status401": _says(b'HTTP/1.1 401 No\r\nContent-Length: 14\r\n\r\n{"error":"no"}'),
    "frames": _says(bytes.fromhex("000000040000000000")),
    "close_each": _says(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"),
    "big": _says(HEAD + b"Content-Length: 500002\r\n\r\n" + b'"' + b"a" * 500_000 + b'"'),
}


async def _huge(writer: Writer) -> None:
    """A body of 50 MB, of which no more is written than the client takes."""
    writer.write(HEAD + b"Content-Length: 50000000\r\n\r\n")
    for _ in range(50):
        writer.write(b"1" * 1_000_000)
        await writer.drain()


async def _endless_head(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not writer.transport.is_closing():
        writer.write(b"x" * 100_000)
        await writer.drain()


async def _interim(writer: Writer) -> None:
    while not writer.transport.is_closing():
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 1000)
        await writer.drain()


MANNERS |= {
    "endless_head": _endless_head,
    "interim": _interim,
    "huge": _huge,
    "bomb": _says(_labelled("gzip", gzip.compress(b"1" * 17_000_000))),
    "brotli_bomb": _says(_labelled("br", brotli.compress(b"1" * 17_000_000, quality=1))),
    "cut_gzip": _says(_labelled("gzip", gzip.compress(b"[1, 2, 3]")[:-4])),
    "cut_brotli": _says(_labelled("br", brotli.compress(b"[1, 2, 3]")[:-4])),
    "gzip": _says(_labelled("gzip", gzip.compress(b"[1,") + gzip.compress(b"2]"))),
    "deflate": _says(_labelled("deflate", zlib.compress(b"[1, 2]"))),
    "raw_deflate": _says(_labelled("deflate", zlib.compress(b"[1, 2]")[2:-4])),
    "brotli": _says(_labelled("br", brotli.compress(b"[1, 2]"))),
}


def _echo(head: str, number: int) -> bytes:
    """A failure that writes the Authorization it got back in several ways, in turns.

    What would let no answer be read comes now and then only.
    """
    secret = head.partition("Authorization: ")[2].partition("\r\n")[0]
    bodies = (
        json.dumps({"error": "denied", "got": secret}),
        f"<p>{html.escape(secret)}</p>{quote(secret)}",
        "x" * 130 + secret,  # cut in the middle of it
    )
    body = bodies[number % 3].encode()
    status = ("200 OK", "500 Error", "403 Forbidden", "418 Teapot", f"302 {secret}")[number % 5]
    caches = (
        f'"edge {secret}"; hit', f'L1; hit; read="{secret}"', f'"{secret}"; hit=yes',
        f"{secret}; hit", f'"{"a" * 55}{secret}"; hit',
    )  # fmt: skip
    # The name of a figure is a token, the secret's characters are not all of one.
    timing = re.sub(r"[^\w+&'-]", "-", secret)
    fields = {
        "Content-Type": f"text/plain; charset={secret}", "X-Echo": secret,
        "Server-Timing": f'a;desc="{secret}", {timing};dur=1, {secret}', "Location": f"/{secret}",
        "Cache-Status": caches[number % 7 % 5], "CF-Cache-Status": secret,
    }  # fmt: skip
    length = secret if number % 23 == 22 else str(len(body))
    if number % 29 == 28:
        fields["Content-Encoding"] = secret
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    head_of_answer = "\r\n".join([*lines, f"Content-Length: {length}", "", ""])
    return head_of_answer.encode("latin-1") + body


def _echoed_statistics(head: str, number: int) -> bytes:
    """Statistics whose names are the Authorization, which grow with each request for them."""
    secret = head.partition("Authorization: ")[2].partition("\r\n")[0]
    figures = {secret: number, f"count {secret}": number}
    cumulative = {"histograms": {}, "counters": figures, "process": figures}
    body = json.dumps({"data": {"cumulative": cumulative}}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _rotating(head: str, number: int) -> bytes:
    """The token that ends with 1 is good for 30 requests, any other for all."""
    is_good = number < 30 or "1\r\n" not in head.partition("Authorization: ")[2][:60]
    return OK if is_good else b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}"


_AGENT = re.compile(r"\r\nuser-agent: edgeproof/[\w.]+ \(run=test\)\r\n")
_CLOSING = {"close", "half", "half_chunked", "garbage", "close_each"}


async def main(manners: str, certificate: list[str]) -> None:
    servers = [await serving(manner, certificate) for manner in manners.split(",")]
    for server in servers:
        print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def serving(manner: str, certificate: list[str]) -> asyncio.Server:
    manner, _, address = manner.partition("@")

    async def client(reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            while True:
                head_as_sent = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                head = head_as_sent.lower()
                length = head.partition("content-length:")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                if manner == "echo" and head.startswith(f"get {STATS_PATH}"):
                    writer.write(_echoed_statistics(head_as_sent, next(counter)))
                    continue
                if " /api/" in head.partition("\r\n")[0]:
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                if manner == "rotating":
                    writer.write(_rotating(head_as_sent, next(counter)))
                elif manner == "echo":
                    writer.write(_echo(head_as_sent, next(counter)))
                elif manner == "agent" and not _AGENT.search(head):
                    await MANNERS["status429"](writer)
                elif head.startswith("head "):
                    writer.write(HEAD + b"Content-Length: 500\r\n\r\n")
                else:
                    await MANNERS[manner](writer)
                if manner in _CLOSING:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    counter = itertools.count()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate[:2])
        if len(certificate) > 2:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificate[2])
    address = address or "127.0.0.1"
    return await asyncio.start_server(client, address, 0, ssl=context, backlog=1024)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
