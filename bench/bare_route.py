"""A Starlette application of fixed answers, in a process: `python -m bench.bare_route PLAN.json`.

The yardstick of the reference service: it sends the same bytes without looking anything up.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.child import die_with_parent, say
from core.service.repeats import log_to_stderr
from core.service.worker import SERVER_OPTIONS


def bare_app(routes: Sequence[dict[str, Any]]) -> Starlette:
    """Return an application that answers each of *routes* with its status, headers and body.

    A route is {path, method, status, headers, body}; a body that is sent to it is read.
    """
    return Starlette(
        routes=[
            Route(route["path"], _answering(route), methods=[route["method"]]) for route in routes
        ]
    )


def _answering(route: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    body, status, headers = route["body"].encode(), route["status"], route["headers"]
    takes_body = route["method"] == "POST"

    async def answer(request: Request) -> Response:
        if takes_body:
            await request.body()
        return Response(body, status, headers, "application/json")

    return answer


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM; return the exit code."""
    die_with_parent()
    log_to_stderr()
    routes = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    # asyncio turns Nagle's delay off only on sockets that name their protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # clients that connect before the server runs wait for it
    say({"ready": f"http://127.0.0.1:{listener.getsockname()[1]}"})
    server = uvicorn.Server(uvicorn.Config(bare_app(routes), **SERVER_OPTIONS))
    asyncio.run(server.serve(sockets=[listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
