"""Services of another make to learn: `python -m bench.foreign stub|plain|shop` prints its port.

They know nothing of this project but, where it says so, the two headers.
"""

from __future__ import annotations

import asyncio
import math
import random  # noqa: TID251  # a service draws as it likes
import sqlite3
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

_L1_SECONDS = 60.0


class Stub:
    """An edge CDP whose /track only writes; the rest asks a dict, a store and a database.

    The store takes 60 ms, the database 20 ms on the way and one query at a time: 6 ms for a write,
    1 ms for a read. It sends both headers, neither statistics nor a clean start.
    """

    def __init__(self) -> None:
        self._l1: dict[str, float] = {}
        self._database = asyncio.Lock()

    async def _query(self, seconds: float) -> str:
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        async with self._database:
            await asyncio.sleep(seconds)
        await asyncio.sleep(0.01)
        return f"l3;dur={(time.perf_counter() - began) * 1e3:.2f}"

    async def answer(self, method: str, path: str) -> tuple[str, str]:
        """Return status and further header fields of an answer."""
        began = time.perf_counter()
        if path.startswith("/api/"):
            return "404 Not Found", ""
        stages, fields, status = "", "", "200 OK"
        if method == "POST":
            stages, status = f"{await self._query(0.006)}, ", "201 Created"
        elif self._l1.get(path, 0.0) > began:
            fields = "Cache-Status: L1; hit\r\n"
        else:
            await asyncio.sleep(0.06)
            stages = f"l2;dur=60, {await self._query(0.001)}, "
            self._l1[path] = time.perf_counter() + _L1_SECONDS
            fields = "Cache-Status: L2; fwd=uri-miss, L1; fwd=uri-miss\r\n"
        total = (time.perf_counter() - began) * 1e3
        return status, f"Server-Timing: {stages}total;dur={total:.2f}\r\n{fields}"


class Plain:
    """A shop without any header: items from an LRU of 500, or in 18 ms; orders in 11 ms."""

    def __init__(self) -> None:
        self._items: OrderedDict[str, None] = OrderedDict()
        self._random = random.Random(1)

    async def answer(self, method: str, path: str) -> tuple[str, str]:
        """Return status and further header fields of an answer."""
        if path.startswith("/api/"):
            return "404 Not Found", ""
        if method == "POST":
            await asyncio.sleep(self._random.lognormvariate(-4.5, 0.4))
            return "201 Created", ""
        if path in self._items:
            self._items.move_to_end(path)
        else:
            await asyncio.sleep(self._random.lognormvariate(-4.0, 0.4))
            self._items[path] = None
            if len(self._items) > 500:
                self._items.popitem(last=False)
        return "200 OK", ""


Answer = Callable[[str, str], Awaitable[tuple[str, str]]]


async def _serve(answer: Answer) -> None:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                for line in head.lower().split("\r\n"):
                    if line.startswith("content-length:"):
                        await reader.readexactly(int(line[15:]))
                method, path, *_ = head.split(" ", 2)
                status, fields = await answer(method, path)
                kind = "Content-Type: application/json\r\nContent-Length: 2\r\n"
                writer.write(f"HTTP/1.1 {status}\r\n{kind}{fields}\r\n{{}}".encode("latin-1"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _shop(folder: Path) -> None:
    """Serve a Flask application: a dict before SQLite, which sends both headers.

    A journey that is not cached scans its user's rows, and a write is committed; one at a time.
    """
    from flask import Flask, Response
    from werkzeug.serving import WSGIRequestHandler, make_server

    app = Flask("shop")
    database = sqlite3.connect(folder / "shop.sqlite", check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")  # a commit waits for no disk
    database.execute("CREATE TABLE touches (id INTEGER PRIMARY KEY, user INTEGER, value REAL)")
    rows = ((number % 3000, math.sin(number)) for number in range(30_000))
    database.executemany("INSERT INTO touches (user, value) VALUES (?, ?)", rows)
    database.commit()
    lock, cached = threading.Lock(), dict[str, float]()

    def timed(statement: str, values: Sequence[object]) -> str:
        began = time.perf_counter()
        with lock:
            database.execute(statement, values).fetchall()
            database.commit()
        return f"l3;dur={(time.perf_counter() - began) * 1e3:.3f}"

    @app.post("/track")
    def track() -> Response:
        stage = timed("INSERT INTO touches (user, value) VALUES (?, ?)", (1, 2.0))
        return Response("{}", 201, {"Server-Timing": stage}, content_type="application/json")

    @app.get("/journey/<user>")
    def journey(user: str) -> Response:
        if cached.get(user, 0.0) > time.monotonic():
            fields = {"Cache-Status": "L1; hit"}
        else:
            stage = timed("SELECT user, sum(value) FROM touches WHERE user = ?", (len(user),))
            cached[user] = time.monotonic() + _L1_SECONDS
            fields = {"Cache-Status": "L1; fwd=miss", "Server-Timing": stage}
        return Response("{}", 200, fields, content_type="application/json")

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log(self, type: str, message: str, *args: object) -> None:
            """Say nothing for each request."""

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def main(arguments: Sequence[str]) -> int:
    """Serve until the process is ended."""
    match arguments:
        case ["stub"]:
            asyncio.run(_serve(Stub().answer))
        case ["plain"]:
            asyncio.run(_serve(Plain().answer))
        case ["shop"]:
            with TemporaryDirectory() as folder:
                _shop(Path(folder))
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
