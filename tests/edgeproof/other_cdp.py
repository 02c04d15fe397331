"""A CDP of another make: /track reads no cache, and there is neither statistics nor clean start.

`python other_cdp.py` prints its port and serves until it is terminated. The other endpoints read
a dict, else wait for the database, which does one thing at a time. Cache-Status names the cache
key in `key`, as RFC 9211 has it, and no read; its caches are `memory` and `store`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

STORE_SECONDS = 0.01
TRIP_SECONDS, READ_SECONDS, WRITE_SECONDS = 0.004, 0.001, 0.003


class OtherCdp:
    """Its memory and its database."""

    def __init__(self) -> None:
        self._memory: set[str] = set()
        self._database = asyncio.Lock()

    async def _query(self, seconds: float) -> str:
        began = time.perf_counter()
        await asyncio.sleep(TRIP_SECONDS)
        async with self._database:
            await asyncio.sleep(seconds)
        return f"l3;dur={(time.perf_counter() - began) * 1e3:.3f}"

    async def answer(self, method: str, path: str) -> str:
        """Return the head of the answer to a request."""
        fields = ""
        status = "200 OK"
        if path.startswith("/api/"):
            status = "404 Not Found"
        elif method == "POST":
            fields = f"Server-Timing: {await self._query(WRITE_SECONDS)}\r\n"
        elif path in self._memory:
            fields = f'Cache-Status: memory; hit; key="{path}"\r\n'
        else:
            await asyncio.sleep(STORE_SECONDS)
            fields = f"Server-Timing: {await self._query(READ_SECONDS)}\r\n"
            self._memory.add(path)
            # Each cache has a key of its own.
            fields += f'Cache-Status: store; fwd=miss; key="kv{path}"\r\n'
            fields += f'Cache-Status: "memory"; fwd=miss; key="{path}"\r\n'
        kind = "Content-Type: application/json\r\nContent-Length: 2\r\n"
        return f"HTTP/1.1 {status}\r\n{kind}{fields}\r\n{{}}"

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
                writer.write((await self.answer(method, path)).encode("latin-1"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@contextmanager
def serving() -> Iterator[str]:
    """Run one in a process of its own; yield its URL."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            yield f"http://127.0.0.1:{int(service.stdout.readline())}"
        finally:
            service.terminate()


async def main() -> None:
    server = await asyncio.start_server(OtherCdp().connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
