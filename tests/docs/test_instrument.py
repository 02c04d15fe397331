"""Claims about docs/instrument.md: its examples run, and what they send is read."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest

from core.scenario.caches import default_caches
from edgeproof.main import main
from scenarios.header_check import HeaderCheck, check_headers
from tests.conftest import ROOT, find_program

TEXT = Path(ROOT, "docs", "instrument.md").read_text(encoding="utf-8")
STAGES = {"l1": 0.0001, "l2": 0.0042, "l3": 0.0125}


def snippets(language: str) -> list[str]:
    """Return the examples of the page in *language*."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def python() -> dict[str, Any]:
    """Return the names that the Python examples define."""
    names: dict[str, Any] = {}
    exec("\n".join(snippets("python")), names)
    return names


def test_each_wrapper_takes_ten_lines_at_most() -> None:
    _, asgi, wsgi = snippets("python")
    worker, _ = snippets("js")
    assert max(len(re.findall(r"\S.*", text)) for text in (asgi, wsgi, worker)) <= 10


def assert_told(checks: tuple[HeaderCheck, HeaderCheck]) -> None:
    status, timing = checks
    assert status.read == (
        "cache read config: hit in L1", "cache read lookup: miss", "cache read more: hit in L2",
    )  # fmt: skip
    assert timing.read == ("l1 100 µs", "l2 4.20 ms", "l3 12.5 ms, taken to include waiting")
    assert not status.problems + timing.problems + status.ignored + timing.ignored


def tell(names: dict[str, Any]) -> None:
    for read, tier in (("config", "l1"), ("lookup", "miss"), ("more", "l2")):
        names["tell_read"](read, tier)
    for stage, seconds in STAGES.items():
        names["tell_stage"](stage, seconds)


def test_asgi_example_sends_what_is_read(python: dict[str, Any]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        tell(python)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"{}"})

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=python["asgi_telling"](app))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/journey/u1")

    answer = asyncio.run(ask())
    assert_told(check_headers(answer.headers.multi_items(), default_caches()))


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Yield the URL of a WSGI application on a thread of its own."""
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/journey/u1"
        finally:
            server.shutdown()
            thread.join()


def test_wsgi_example_passes_check_headers(
    python: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        tell(python)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]

    with serving(python["wsgi_telling"](app)) as url:
        assert main(["check-headers", url, "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert main(["check-headers", url]) == 0
    checks = [
        HeaderCheck(
            header=check["header"],
            read=tuple(check["read"]),
            ignored=tuple(check["ignored"]),
            problems=tuple(check["problems"]),
        )
        for check in data["headers"]
    ]
    assert_told((checks[0], checks[1]))
    assert capsys.readouterr().out.splitlines() == [
        f"GET {url}: 200",
        "Cache-Status:",
        *(f"  {text}" for text in checks[0].read),
        "Server-Timing:",
        *(f"  {text}" for text in checks[1].read),
        "All can be read.",
    ]


def test_worker_example_sends_what_is_read() -> None:
    node = find_program("node", package="nodejs")
    told, usage = snippets("js")
    reads = [["config", "l1"], ["lookup", "miss"], ["more", "l2"]]
    stages = [[name, seconds * 1e3] for name, seconds in STAGES.items()]
    script = (
        f"{told}\n"
        f"const answer = told(Response.json({{}}), {json.dumps(reads)}, {json.dumps(stages)});\n"
        "const env = { DB: { prepare: () => ({ bind: () => ({ first: async () => ({}) }) }) } };\n"
        f"const used = await (async (id, SQL) => {{ {usage} }})(1, '');\n"
        "console.log(JSON.stringify([[...answer.headers], [...used.headers]]));\n"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", script],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer, used = json.loads(done.stdout)
    assert_told(check_headers([(n, v) for n, v in answer], default_caches()))
    status, timing = check_headers([(n, v) for n, v in used], default_caches())
    assert status.read == ("cache read journey: miss",)
    assert timing.read[0].startswith("l3 ")
