"""A shop of another make: two cache reads and their queries, a search, and orders.

`python shop.py` prints its port and serves until it is terminated. GET /items/ID reads the item
(kept for a minute) and its price (kept for 0.5 s), each from memory or by one query; GET /search
makes two queries; POST /orders writes once and asks for a token. The database does one thing at a
time.
"""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import unquote

PRICE_SECONDS = 0.5
TRIP_SECONDS, READ_SECONDS = 0.004, 0.001


class Shop:
    """Its memory, its database, and the ids that it was asked for."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}
        self._database = asyncio.Lock()
        self._asked: set[str] = set()

    async def _query(self) -> None:
        await asyncio.sleep(TRIP_SECONDS)
        async with self._database:
            await asyncio.sleep(READ_SECONDS)

    async def _read(self, name: str, key: str, ttl: float) -> str:
        if self._until.get((name, key), 0.0) > time.monotonic():
            return f"L1; hit; read={name}"
        await self._query()
        self._until[name, key] = time.monotonic() + ttl
        return f"L1; fwd=uri-miss; read={name}"

    async def answer(self, method: str, path: str, head: str) -> str:
        """Return the whole answer to a request."""
        status, fields, body = "200 OK", "", {"ok": True}
        if path.startswith("/items/"):
            item = unquote(path.removeprefix("/items/"))
            self._asked.add(item)
            reads = [await self._read("item", item, 60.0)]
            reads.append(await self._read("price", item, PRICE_SECONDS))
            fields = f"Cache-Status: {', '.join(reads)}\r\n"
        elif path.startswith("/search"):
            await self._query()
            await self._query()
        elif path == "/orders" and method == "POST":
            status = "201 Created" if "Bearer a-token-of-staging" in head else "401 Unauthorized"
            await self._query()
        elif path == "/asked":
            body = {"ids": sorted(self._asked)}  # type: ignore[dict-item]  # JSON of its own
        else:
            status = "404 Not Found"
        text = json.dumps(body)
        kind = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        return f"HTTP/1.1 {status}\r\n{kind}{fields}\r\n{text}"

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection until it ends."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                for line in head.lower().split("\r\n"):
                    name, _, value = line.partition(":")
                    if name == "content-length":
                        await reader.readexactly(int(value))
                method, path, *_ = head.split(" ", 2)
                writer.write((await self.answer(method, path, head)).encode("latin-1"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def main() -> None:
    server = await asyncio.start_server(Shop().connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
