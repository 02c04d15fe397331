"""Claims about one endpoint: what it counts where its handler fails or is cancelled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from core.context import Span
from core.errors import StoreError, StoreTimeout
from core.query import statements
from core.query.database import SqliteDatabase
from core.service.endpoint import HttpEndpoint
from core.service.plan import WorkerPlan
from core.service.process import ServedApplication
from core.service.requests import BadRequest
from core.service.responses import Answer
from core.wire import L1_HIT
from tests.core.service.serving import small_scenario

Ask = Callable[[HttpEndpoint], Coroutine[Any, Any, None]]
SCOPE = {"type": "http", "method": "GET", "path": "/journey/u1", "headers": []}


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def run(folder: Path, handle: Any, ask: Ask) -> ServedApplication:
    """Return the state of a service after *ask* has used an endpoint that *handle* answers."""

    async def main() -> ServedApplication:
        scenario = small_scenario("endpoint")
        plan = WorkerPlan(scenario=scenario, position=0, folder=folder, redis=None, emulate=False)
        reference = ServedApplication(plan)
        await ask(HttpEndpoint("journey", handle, lambda: reference, 1))
        await reference.close()
        return reference

    return asyncio.run(main())


async def answered(endpoint: HttpEndpoint) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await endpoint(SCOPE, receive, send)
    return sent


def test_unexpected_error_passes_and_is_a_failed_request(tmp_path: Path) -> None:
    async def handle(_: Request, span: Span, __: int) -> Answer:
        span.stages.append(("l1", 0.001))
        raise RuntimeError("a fault")

    async def ask(endpoint: HttpEndpoint) -> None:
        with pytest.raises(RuntimeError, match="a fault"):
            await answered(endpoint)

    reference = run(tmp_path, handle, ask)
    assert reference.requests["journey"] == 1
    assert reference.counters()["responses_5xx"] == 1
    assert reference.profiler.summary("request")["failed"] == 1
    (slow,) = reference.profiler.slow_requests()
    assert (slow.name, slow.is_failed) == ("journey", True)
    assert [stage.name for stage in slow.stages] == ["l1"]


def test_cancelled_request_cancels_its_handler_and_is_a_failed_request(tmp_path: Path) -> None:
    ended = []

    async def handle(_: Request, __: Span, ___: int) -> Answer:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append("cancelled")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            ended.append("cleaned up")
            raise
        raise AssertionError("nothing ends the future")

    async def ask(endpoint: HttpEndpoint) -> None:
        task = asyncio.create_task(answered(endpoint))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    reference = run(tmp_path, handle, ask)
    assert ended == ["cancelled", "cleaned up"]
    assert reference.profiler.summary("request")["failed"] == 1


@pytest.mark.parametrize(
    ("error", "status"), [(StoreError("broken"), 503), (StoreTimeout("late"), 504)]
)
def test_error_of_a_store_is_answered_and_is_a_failed_request(
    tmp_path: Path, error: StoreError, status: int
) -> None:
    async def handle(_: Request, span: Span, __: int) -> Answer:
        span.reads.append(("journey", L1_HIT))
        await asyncio.sleep(0)
        raise error

    async def ask(endpoint: HttpEndpoint) -> None:
        start, body = await answered(endpoint)
        assert start["status"] == status
        headers = dict(start["headers"])
        assert headers[b"cache-status"] == b"L1; hit; read=journey"
        assert headers[b"server-timing"].startswith(b"cpu;dur=")
        assert headers[b"content-length"] == b"%d" % len(body["body"])

    reference = run(tmp_path, handle, ask)
    summary = reference.profiler.summary("request")
    assert (summary["total"], summary["failed"], summary["p50"]) == (1, 1, None)
    (slow,) = reference.profiler.slow_requests()
    assert (slow.name, slow.is_failed) == ("journey", True)
    assert answers_by_class(reference) == (0, 0, 1)


def test_overloaded_database_has_a_code_of_its_own_and_one_remedy(tmp_path: Path) -> None:
    async def handle(_: Request, __: Span, ___: int) -> Answer:
        database = SqliteDatabase(tmp_path / "full.sqlite", max_waiting=1)
        reads = (database.read(statements.SITE, ("s1",)) for _ in range(8))
        try:
            await asyncio.gather(*reads)
        finally:
            await database.close()
        raise AssertionError("it was not overloaded")

    async def ask(endpoint: HttpEndpoint) -> None:
        start, body = await answered(endpoint)
        assert start["status"] == 503
        error = json.loads(body["body"])["error"]
        assert error["code"] == "overloaded"
        assert error["message"].count("try again later") == 1

    run(tmp_path, handle, ask)


def answers_by_class(reference: ServedApplication) -> tuple[int, int, int]:
    """Return how many requests were answered 2xx, 4xx and 5xx."""
    counters = reference.counters()
    return counters["responses_2xx"], counters["responses_4xx"], counters["responses_5xx"]


def test_answers_are_counted_by_class_and_only_5xx_are_failed_requests(tmp_path: Path) -> None:
    statuses = [200, 404, 202, 500, 413, 200, 400, 503, 599]
    ahead = iter(statuses)

    async def handle(_: Request, __: Span, ___: int) -> Answer:
        status = next(ahead)
        if status == 400:
            raise BadRequest("what was sent cannot be used")
        return status, b"{}"

    async def ask(endpoint: HttpEndpoint) -> None:
        for status in statuses:
            start, _ = await answered(endpoint)
            assert start["status"] == status

    reference = run(tmp_path, handle, ask)
    assert answers_by_class(reference) == (3, 3, 3)
    summary = reference.profiler.summary("request")
    assert (summary["total"], summary["failed"], summary["errors"]) == (9, 3, 3)
    assert [slow.is_failed for slow in reference.profiler.slow_requests()] == [True] * 3


def test_cpu_of_a_request_is_that_of_its_own_steps(tmp_path: Path) -> None:
    async def busy(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            pass

    async def handle(_: Request, __: Span, ___: int) -> Answer:
        # Another task works while this one waits.
        await asyncio.create_task(busy(0.2))
        return 200, b"{}"

    async def ask(endpoint: HttpEndpoint) -> None:
        start, _ = await answered(endpoint)
        assert start["status"] == 200

    reference = run(tmp_path, handle, ask)
    assert 0 < reference.own_cpu < 0.1
