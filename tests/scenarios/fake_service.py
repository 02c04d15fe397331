"""A small service that answers as edgeproof's does, for the generator's tests.

`python fake_service.py --port 0 --mode good` prints its port on the first line and serves until
it is terminated. Modes: good, error (500), hang, bad_json, empty_json, close, truncate, redirect,
foreign (no control interface), stall (the tenth request holds all others up for a while), flaky (a
body that comes for the first time is answered 503, every second one not at all).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from core.metrics.histogram import LatencyHistogram
from core.wire import L1_HIT, L2_HIT, MISS, cache_status, server_timing

TOKEN = "test-token"
STALL_SECONDS = 0.5
READS = {"track": ("config", "lookup"), "attribution": ("attribution",), "journey": ("journey",)}
Handler = Callable[[Request], Awaitable[Response]]


class FakeService:
    """Its state: what was asked, and what it tells of itself."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.query, self.queue = LatencyHistogram(), LatencyHistogram()
        self.counters = {"requests": 0, "queue_pending": 0}
        self.own_cpu = 0.0
        self.runs: list[dict[str, object]] = []
        self.seen: list[dict[str, str]] = []
        self.bodies: dict[str, int] = {}
        self.held = asyncio.Event()
        self.held.set()

    def handler(self, endpoint: str) -> Handler:
        """Return what answers *endpoint*."""

        async def answer(request: Request) -> Response:
            return await self.answer(endpoint, request)

        return answer

    async def answer(self, endpoint: str, request: Request) -> Response:
        self.counters["requests"] += 1
        body = (await request.body()).decode()
        isolate = request.headers.get("edgeproof-isolate", "")
        self.seen.append({"path": str(request.url.path), "body": body, "isolate": isolate})
        self.query.record(0.002)
        self.queue.record(0.05)
        if self.mode == "error":
            return JSONResponse({"success": False}, status_code=500)
        if self.mode == "flaky" and body and self.bodies.get(body, 0) == 0:
            self.bodies[body] = 1
            if len(self.bodies) % 2:
                await asyncio.Event().wait()
            return JSONResponse({"success": False}, status_code=503)
        if self.mode == "hang":
            await asyncio.Event().wait()
        if self.mode == "bad_json":
            return Response("{nothing", media_type="application/json")
        if self.mode == "empty_json":
            return Response("", media_type="application/json")
        if self.mode == "redirect":
            return Response(status_code=302, headers={"location": "/journey/elsewhere"})
        if self.mode == "stall" and self.counters["requests"] == 10:
            self.held.clear()
            asyncio.get_running_loop().call_later(STALL_SECONDS, self.held.set)
        await self.held.wait()
        self.own_cpu += 0.0001
        reads = [(name, L1_HIT) for name in READS.get(endpoint, ("channels",))]
        if self.counters["requests"] % 10 == 0:
            reads = [(name, MISS if name != "config" else L2_HIT) for name, _ in reads]
        stages = [
            ("l1", 1e-6), ("l2", 0.004), ("l2", 0.005), ("auth-check", 0.003), ("cpu", 0.0001),
            ("total", 0.006),
        ]  # fmt: skip
        response = JSONResponse({"success": True})
        for read in reads:  # in lines of their own, as a Worker sends what it appends
            response.headers.append("cache-status", cache_status([read]))
        for stage in stages:
            response.headers.append("server-timing", server_timing([stage]))
        return response

    async def run(self, request: Request) -> Response:
        if self.mode == "foreign":
            return PlainTextResponse("no", status_code=405)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"success": False}, status_code=401)
        asked = json.loads(await request.body())
        self.runs.append(asked)
        now_ms = round(time.time() * 1000)  # noqa: TID251  # a service tells epoch time
        starts_at_ms = asked["starts_at_ms"] or now_ms + 200
        data = {"starts_in": (starts_at_ms - now_ms) / 1000, "starts_at_ms": starts_at_ms}
        return JSONResponse({"success": True, "data": data})

    async def stats(self, request: Request) -> Response:
        if self.mode == "foreign":
            return PlainTextResponse("no", status_code=404)
        if request.url.query != "scope=process":  # anything else would be asked of every worker
            return JSONResponse({"success": False}, status_code=400)
        cumulative = {
            "histograms": {
                "query": self.query.to_json(),
                "queue": self.queue.to_json(),
                "batches": self.queue.to_json(),
            },
            "counters": self.counters,
            "process": {
                "cpu_seconds": 2 * self.own_cpu,
                "own_cpu_seconds": self.own_cpu,
                "rss_bytes": 60_000_000,
                "peak_rss_bytes": 61_000_000,
                "start_rss_bytes": 60_000_000,
                "speed_count": self.counters["requests"],
                "speed_seconds": 0.0003 * self.counters["requests"],
                "delay_count": self.counters["requests"],
                "delay_error_seconds": 0.00002 * self.counters["requests"],
            },
        }
        return JSONResponse({"success": True, "data": {"cumulative": cumulative}})

    async def inspect(self, request: Request) -> Response:
        """Tell the tests what was asked."""
        return JSONResponse({"runs": self.runs, "seen": self.seen})

    def application(self) -> Starlette:
        """Return the routes."""
        return Starlette(
            routes=[
                Route("/track", self.handler("track"), methods=["POST"]),
                Route("/attribution/{id}", self.handler("attribution")),
                Route("/journey/{id}", self.handler("journey")),
                Route("/channels", self.handler("channels")),
                Route("/api/performance/run", self.run, methods=["POST"]),
                Route("/api/performance/stats", self.stats),
                Route("/inspect", self.inspect),
            ]
        )


async def close_connections(listener: socket.socket, *, truncates: bool) -> None:
    """Take every request and close the connection instead of answering, or in the middle."""
    seen: list[dict[str, str]] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        except asyncio.IncompleteReadError:
            path = ""  # only looked whether somebody listens
        if path.startswith("/api/"):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif path == "/inspect":
            body = json.dumps({"seen": seen}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        elif path:
            seen.append({"path": path})
            if truncates:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(client, sock=listener)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", default="good")
    options = parser.parse_args()
    # asyncio sets TCP_NODELAY only where the protocol is named; without it answers take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", options.port))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    if options.mode in ("close", "truncate"):
        asyncio.run(close_connections(listener, truncates=options.mode == "truncate"))
        return

    async def serve() -> None:
        application = FakeService(options.mode).application()
        config = uvicorn.Config(application, log_level="warning", http="httptools")
        await uvicorn.Server(config).serve(sockets=[listener])

    asyncio.run(serve())


if __name__ == "__main__":
    main()
