"""Claims about the stages of requests that took long, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from core.wire import ISOLATE_HEADER
from tests.core.service.serving import Tree, Visitor, event_of, serving, small_scenario

SLOW = {"tiers": {"l3": {"round_trip": "150ms"}}}


def slow_requests(visitor: Visitor) -> list[Tree]:
    found: list[Tree] = visitor.monitoring("latency-summary")["latency"]["slow_requests"]
    return found


def test_slow_requests_are_kept_with_the_stages_that_they_spent_it_on(tmp_path: Path) -> None:
    with serving(small_scenario("slow-database", **SLOW), tmp_path) as (visitor,):
        for _ in range(2):
            assert visitor.get("/journey/u1").status_code == 200
        assert visitor.track(user_id="u1").status_code == 202
        journey, track = slow_requests(visitor)
    assert [stage["name"] for stage in journey["stages"]] == [
        "l1", "l2", "l3", "l3wait", "user_journey",
    ]  # fmt: skip
    assert journey["name"] == "journey"
    query = journey["stages"][-1]
    assert (query["kind"], query["depth"], query["failed"]) == ("query", 1, False)
    assert 150 <= query["duration"] <= journey["duration"]
    assert query["began"] + query["duration"] <= journey["duration"]
    names = [stage["name"] for stage in track["stages"] if stage["kind"] == "query"]
    assert names == ["site", "user", "insert_event"]
    assert track["name"] == "track"


def test_stages_of_concurrent_requests_stay_with_their_own(tmp_path: Path) -> None:
    async def ask(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:
            headers = {ISOLATE_HEADER: "0"}
            answers = await asyncio.gather(
                *(client.get(f"/journey/u{number}", headers=headers) for number in range(6)),
                *(client.post("/track", json=event_of(f"e{number}", user_id=f"u{number}"))
                  for number in range(6)),
                client.get("/channels?model=linear", headers=headers),
            )  # fmt: skip
        assert {answer.status_code for answer in answers} <= {200, 202}

    with serving(small_scenario("slow-and-many", **SLOW), tmp_path) as (visitor,):
        asyncio.run(ask(str(visitor.http.base_url)))
        kept = slow_requests(visitor)
    assert len(kept) == 13
    for request in kept:
        queries = [stage["name"] for stage in request["stages"] if stage["kind"] == "query"]
        if request["name"] == "journey":
            assert queries == ["user_journey"]
        elif request["name"] == "channels":
            assert queries == ["channel_performance"]
        else:
            # One of them loads the site for all: the others wait for it.
            assert queries[-2:] == ["user", "insert_event"]
    sites = [stage for request in kept for stage in request["stages"] if stage["name"] == "site"]
    assert len(sites) == 1


def test_fast_errors_make_no_figure_better(tmp_path: Path) -> None:
    with serving(small_scenario("broken"), tmp_path, emulate=False) as (visitor,):
        assert visitor.get("/journey/u1").status_code == 200
        assert visitor.get(f"/journey/{visitor.fresh('user')}").status_code == 404
        before = visitor.counters()
        visitor.rows("ALTER TABLE user_journeys RENAME TO elsewhere")
        for _ in range(30):
            assert visitor.get(f"/journey/{visitor.fresh('user')}").status_code == 503
        latency = visitor.monitoring("latency-summary")["latency"]
        counters = visitor.counters()
    journey = latency["requests_by_endpoint"]["journey"]
    assert (journey["total"], journey["failed"], journey["p50"]) == (32, 30, None)
    assert latency["requests"]["errors"] == 30
    assert [(slow["name"], slow["failed"]) for slow in latency["slow_requests"]] == [
        ("journey", True)
    ] * 20
    assert [before[f"responses_{digit}xx"] for digit in (2, 4, 5)] == [1, 1, 0]
    assert [counters[f"responses_{digit}xx"] for digit in (2, 4, 5)] == [1, 1, 30]
    assert counters["requests_journey"] == 32


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_answer_to_head_is_that_to_get_without_its_body(visitor: Visitor, method: str) -> None:
    answer = visitor.http.request(method, "/journey/u1")
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) > 0
    assert answer.headers["Content-Type"] == "application/json"
    assert bool(answer.content) is (method == "GET")
