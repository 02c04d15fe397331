"""Claims about asking peers: each one's answer or what is wrong with it, in bounded time."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from core.service.peers import Peers, Reply

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{"success":true,"data":{"n":1}}'
BROKEN = "it broke off its answer, or is another program"


def saying(answer: bytes, heard: list[bytes] | None = None) -> Answer:
    """Return a server that answers with *answer* whatever it is asked."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if heard is not None:
            heard.append(head + body)
        writer.write(answer)
        writer.close()

    return handle


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def asked(tmp_path: Path, *answers: Answer | None, patience: float = 30.0) -> list[Reply]:
    """Return what a worker hears from peers that answer so; None: nobody listens there."""

    async def ask() -> list[Reply]:
        urls, servers = ["http://127.0.0.1:1"], []
        for answer in answers:
            if answer is None:
                with socket.socket() as free:
                    free.bind(("127.0.0.1", 0))
                    port = free.getsockname()[1]
            else:
                servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
                port = servers[-1].sockets[0].getsockname()[1]
            urls.append(f"http://127.0.0.1:{port}")
        roster = tmp_path / "workers.json"
        roster.write_text(json.dumps(urls))
        peers = Peers(roster, position=0, count=len(urls), patience=patience)
        replies = await peers.ask("POST", "/x?y=z", headers={"Authorization": "A"}, body=b"{}")
        for server in servers:
            server.close()
            await server.wait_closed()
        return replies

    return asyncio.run(ask())


def test_request_goes_whole_to_each_sibling_and_not_to_oneself(tmp_path: Path) -> None:
    heard: list[bytes] = []
    replies = asked(tmp_path, saying(GOOD, heard), saying(GOOD, heard))
    assert [(reply.worker, reply.data, reply.fault) for reply in replies] == [
        (1, {"n": 1}, ""), (2, {"n": 1}, ""),
    ]  # fmt: skip
    assert heard == 2 * [
        b"POST /x?y=z HTTP/1.1\r\nHost: edgeproof\r\nConnection: close\r\nAuthorization: A\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    ]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", BROKEN),
        (b"\0\xff" * 50, BROKEN),
        (GOOD[:-1], BROKEN),
        (GOOD[:12], BROKEN),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", BROKEN),
        (b"HTTP/1.1 404 Not Found\r\n\r\n{}", BROKEN),
        (
            b'HTTP/1.1 403 Forbidden\r\n\r\n{"success":false,"error":{"message":"why"}}',
            "403: why",
        ),
    ],
)
def test_sibling_that_does_not_answer_well_is_named_with_the_reason(
    tmp_path: Path, answer: bytes, fault: str
) -> None:
    bad, good = asked(tmp_path, saying(answer), saying(GOOD))
    assert bad == Reply(worker=1, fault=fault)
    assert good.data == {"n": 1}


def test_sibling_that_is_gone_or_hangs_costs_the_patience_and_no_more(tmp_path: Path) -> None:
    gone, hung, good = asked(tmp_path, None, hang, saying(GOOD), patience=2.0)
    assert gone.fault.startswith("cannot be reached (")
    assert hung == Reply(worker=2, fault="no answer within 2 s")
    assert good.data == {"n": 1}


def test_sibling_that_has_not_started_is_named(tmp_path: Path) -> None:
    peers = Peers(tmp_path / "missing", position=1, count=2)
    (reply,) = asyncio.run(peers.ask("GET", "/", headers={}))
    assert (reply.worker, reply.fault) == (0, "it has not started yet")


def test_one_process_has_nobody_to_ask(tmp_path: Path) -> None:
    for peers in (
        Peers(tmp_path / "missing", position=0, count=1),
        Peers(None, position=0, count=3),
    ):
        assert asyncio.run(peers.ask("GET", "/", headers={})) == []
