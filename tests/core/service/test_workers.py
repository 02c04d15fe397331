"""Claims about several workers: any of them tells the figures of all, and who did not answer."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.metrics.histogram import LatencyHistogram
from core.scenario.scenario import Scenario
from core.service.statistics import add_counts
from tests.core.service.serving import (
    NOW_MS,
    TOKEN,
    Tree,
    Visitor,
    await_end,
    problem,
    serving,
    small_scenario,
)

MONITORING = ("stats", "cache-stats", "query-stats", "latency-summary")


def of_workers(name: str, count: int, **tables: Any) -> Scenario:
    return small_scenario(name, topology={"processes": count, "isolates": 2}, **tables)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Visitor]]:
    """Return clients of three workers, each of which has answered other requests."""
    # Every query is slow enough for the log of slow ones.
    l3 = {"round_trip": "60ms"}
    with serving(
        of_workers("three", 3, tiers={"l3": l3}), tmp_path_factory.mktemp("three")
    ) as visitors:
        for number, visitor in enumerate(visitors):
            for user in range(number + 1):
                for isolate in (0, 0, 1):
                    visitor.get(f"/journey/u{user}", isolate=isolate)
            visitor.attribution("c1")
        visitors[2].track(user_id="buyer", timestamp=NOW_MS - 1)
        visitors[2].track(user_id="buyer", conversion_id="bought", value=2.0)
        visitors[0].await_processed(1)
        yield visitors


def told(visitor: Visitor, name: str, scope: str = "service") -> Tree:
    """Return what a worker tells, without the time."""
    data = visitor.monitoring(name, scope)
    del data["timestamp"]
    return data


@pytest.mark.parametrize("name", MONITORING)
def test_every_worker_tells_the_same_of_the_service(three: list[Visitor], name: str) -> None:
    answers = [told(visitor, name) for visitor in three]
    for answer in answers:
        assert answer["scope"] == "service"
        assert answer["workers"] == {"answered": [0, 1, 2], "silent": []}
        if name == "stats":  # memory and CPU move by themselves
            del answer["cumulative"]["processes"]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("name", MONITORING)
def test_scope_is_the_service_unless_the_process_is_asked_for(
    three: list[Visitor], name: str
) -> None:
    path = f"/api/performance/{name}"
    unasked = three[1].http.get(path).json()["data"]
    assert unasked["scope"] == "service"
    alone = told(three[1], name, "process")
    assert (alone["scope"], alone["workers"]) == ("process", {"answered": [1], "silent": []})
    for query in ("scope=", "scope=all", "scope=process&scope=process", "scop=process", "x"):
        assert "?scope=service or ?scope=process" in problem(three[1].http.get(f"{path}?{query}"),
                                                             400)  # fmt: skip


def test_cache_counts_of_the_service_are_the_sums_of_its_processes(three: list[Visitor]) -> None:
    total: Tree = {}
    for visitor in three:
        cache = told(visitor, "cache-stats", "process")["cache"]
        del cache["l2"]["breaker"]
        add_counts(total, {n: counts for n, counts in cache.items() if isinstance(counts, dict)})
    whole = told(three[0], "cache-stats")["cache"]
    assert whole["l2"].pop("breaker") == "closed"
    for name, counts in total.items():
        assert whole[name] == counts
    journeys = whole["by_type"]["user_journeys"]
    # Of each worker: the users' first reads from L2 or the database, then L1, then L2 again.
    assert (journeys["l1"], journeys["miss"], journeys["l2"]) == (6, 3, 9)
    outcomes: Counter[str] = Counter()
    for row in whole["by_type"].values():
        outcomes.update(row)
    del outcomes["negative"], outcomes["stale"]
    assert whole["reads"] == outcomes.total()
    assert whole["l1_ratio"] == outcomes["l1"] / outcomes.total()
    assert whole["l2_ratio"] == outcomes["l2"] / outcomes.total()


def test_counters_and_histograms_of_the_service_are_those_of_its_processes_together(
    three: list[Visitor],
) -> None:
    each = [visitor.stats() for visitor in three]
    stats = told(three[1], "stats")
    whole = stats["cumulative"]
    for name, value in whole["counters"].items():
        assert value == sum(one["counters"].get(name, 0) for one in each), name
    assert whole["counters"]["requests_journey"] == 18
    for kind in ("request", "query", "queue"):
        together = LatencyHistogram()
        for one in each:
            together.add(LatencyHistogram.from_json(one["histograms"][kind]))
        assert whole["histograms"][kind] == together.to_json()
    requests = stats["performance"]["requests"]
    assert requests["total"] == 18 + 3 + 2
    together = LatencyHistogram.from_json(whole["histograms"]["request"])
    assert requests["p95"] == pytest.approx(1e3 * together.quantile(0.95))
    assert [one["worker"] for one in whole["processes"]] == [0, 1, 2]
    assert all(one["rss_bytes"] > 10e6 for one in whole["processes"])


def test_queue_that_a_process_of_its_own_consumes_is_in_the_figures(three: list[Visitor]) -> None:
    for visitor in three:
        assert told(visitor, "stats")["performance"]["queue"]["total"] >= 1
        assert told(visitor, "latency-summary")["latency"]["queue"]["total"] >= 1
        assert "waiting_journeys" in told(visitor, "query-stats")["by_name"]


def test_endpoints_and_queries_of_all_workers_are_told_by_name(three: list[Visitor]) -> None:
    by_endpoint = told(three[0], "latency-summary")["latency"]["requests_by_endpoint"]
    assert {name: found["total"] for name, found in by_endpoint.items()} == {
        "journey": 18, "attribution": 3, "track": 2,
    }  # fmt: skip
    queries = told(three[0], "query-stats")
    assert queries["statements"]["user_journey"]["total"] == 3
    assert queries["statements"]["insert_event"]["total"] == 2
    names = [name for slow in queries["slow"] for name in slow["names"]]
    assert names.count("user_journey") == 3
    assert [slow["ended_ms"] for slow in queries["slow"]] == sorted(
        slow["ended_ms"] for slow in queries["slow"]
    )
    assert all("user_journeys" in slow["plan"] for slow in queries["slow"]
               if slow["names"] == ["user_journey"])  # fmt: skip


def test_statements_and_slow_queries_of_the_consumer_are_among_those_of_all_workers(
    three: list[Visitor],
) -> None:
    queries = told(three[1], "query-stats")
    for name in ("waiting_journeys", "mark_processed", "insert_credits"):
        assert queries["statements"][name]["total"] == 1, name
    reads = [slow for slow in queries["slow"] if slow["names"] == ["waiting_journeys"]]
    assert len(reads) == 1
    assert "user_journeys" in reads[0]["plan"]
    (write,) = (slow for slow in queries["slow"] if "mark_processed" in slow["names"])
    assert "mark_processed: SEARCH conversions" in write["plan"]


def test_asking_the_others_is_no_traffic(three: list[Visitor]) -> None:
    before = [visitor.counters() for visitor in three]
    for name in MONITORING:
        told(three[0], name)
    assert [visitor.counters() for visitor in three] == before


@pytest.mark.parametrize("pubsub", [True, False])
def test_invalidation_tells_what_went_from_the_l1_of_all_workers(
    tmp_path: Path, pubsub: bool
) -> None:
    scenario = of_workers(f"forgetful-{pubsub}", 3, tiers={"l2": {"pubsub": pubsub}})
    with serving(scenario, tmp_path) as visitors:
        for number, visitor in enumerate(visitors):
            for user in range(number + 1):
                visitor.get(f"/journey/u{user}", isolate=0)
            visitor.get("/journey/u0", isolate=1)
        answer = visitors[1].command("cache-invalidate", {"prefix": "journey:"}).json()["data"]
        assert answer["invalidated"] == {"l1": 1 + 2 + 3 + 3, "l2": 3}
        assert answer["workers"] == {"answered": [0, 1, 2], "silent": []}
        for visitor in visitors:
            assert visitor.cache()["l1"]["entries"] == 0
        assert visitors[0].get("/journey/u0").headers["Cache-Status"].startswith("L2; fwd")


def test_invalidation_reaches_every_l1_though_l2_cannot_be_reached(tmp_path: Path) -> None:
    with serving(of_workers("cut-off", 2), tmp_path) as (first, second):
        for visitor in (first, second):
            visitor.get("/journey/u1")
        store = first.service.processes[0]
        os.kill(store.pid, signal.SIGKILL)
        await_end(store.pid)
        answer = first.command("cache-invalidate", {"keys": ["journey:u1"]})
        assert "refuse the old values, L2 may hold them" in problem(answer, 503)
        for visitor in (first, second):
            status = visitor.get("/journey/u1").headers["Cache-Status"]
            assert status.startswith("L2; fwd=bypass")


def test_invalidation_of_one_process_leaves_l2_and_the_others_alone(tmp_path: Path) -> None:
    with serving(of_workers("alone", 2), tmp_path) as (first, second):
        for visitor in (first, second):
            visitor.get("/journey/u1")
        body = {"prefix": "journey:"}
        path = "/api/performance/cache-invalidate?scope=process"
        assert problem(first.http.post(path, json=body), 401)
        answer = first.http.post(path, json=body, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.json()["data"]["invalidated"] == {"l1": 1}
        assert second.get("/journey/u1").headers["Cache-Status"] == "L1; hit; read=journey"


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, "cannot be reached ("), (signal.SIGSTOP, "no answer within 1 s")],
)
def test_worker_that_does_not_answer_is_named_and_the_others_are_told_of(
    tmp_path: Path, number: signal.Signals, reason: str
) -> None:
    with serving(of_workers(f"lost-{number.name}", 3), tmp_path) as visitors:
        for visitor in visitors:
            visitor.get("/journey/u1")
            visitor.get("/journey/u1")
        lost = visitors[1].service.processes[3]  # after the L2, the consumer and the first worker
        os.kill(lost.pid, number)
        try:
            if number == signal.SIGKILL:
                await_end(lost.pid)
            told_now = told(visitors[2], "cache-stats")
            assert told_now["cache"]["l1"]["hits"] == 2
            (silent,) = told_now["workers"]["silent"]
            assert told_now["workers"]["answered"] == [0, 2]
            assert silent["worker"] == 1
            assert silent["reason"].startswith(reason)
            metrics = visitors[2].http.get("/metrics").text
            ups = dict(re.findall(r'edgeproof_worker_up{worker="(\w+)"} ([\d.]+)', metrics))
            assert ups == {"0": "1.0", "1": "0.0", "2": "1.0", "consumer": "1.0"}
            assert 'process_resident_memory_bytes{worker="1"}' not in metrics
            answer = visitors[2].command("cache-invalidate", {"keys": ["journey:u1"]})
            data = answer.json()["data"]
            assert data["invalidated"] == {"l1": 2, "l2": 1}
            assert data["workers"]["answered"] == [0, 2]
            assert data["workers"]["silent"] == [silent]
        finally:
            if number == signal.SIGSTOP:
                os.kill(lost.pid, signal.SIGCONT)


def test_consumer_is_named_where_the_worker_that_tells_its_figures_is_silent(
    tmp_path: Path,
) -> None:
    with serving(of_workers("speechless", 2), tmp_path) as visitors:
        (first,) = (p for p in visitors[0].service.processes if p.name == "worker 0")
        os.kill(first.pid, signal.SIGSTOP)
        try:
            silent = told(visitors[1], "stats")["workers"]["silent"]
        finally:
            os.kill(first.pid, signal.SIGCONT)
        assert [one["worker"] for one in silent] == [0, "consumer"]
        assert silent[1]["reason"] == "worker 0, which tells its figures, does not answer"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_consumer_that_gives_no_sign_of_life_is_named(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(of_workers(f"consumer-{number.name}", 2), tmp_path) as visitors:
        (consumer,) = (p for p in visitors[0].service.processes if p.name == "the consumer")
        assert told(visitors[1], "stats")["workers"]["silent"] == []
        os.kill(consumer.pid, number)
        try:
            deadline = time.monotonic() + 60
            while not (silent := told(visitors[1], "stats")["workers"]["silent"]):
                assert time.monotonic() < deadline
            assert silent[0]["worker"] == "consumer"
            assert re.fullmatch(r"no sign of life for \d+ s", silent[0]["reason"])
            assert told(visitors[1], "stats", "process")["workers"]["silent"] == []
        finally:
            if number == signal.SIGSTOP:
                os.kill(consumer.pid, signal.SIGCONT)
