"""Claims about the monitoring endpoints: their figures agree with what was sent."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.attribution.parameters import Parameters
from core.scenario.replay import prepare
from core.scenario.warm_start import WarmL1, WarmL2, warm_state
from core.wire import ISOLATE_HEADER
from tests.core.service.serving import (
    MODELS,
    Visitor,
    event_of,
    problem,
    rename_source,
    serving,
    small_scenario,
    sources_of,
)

MONITORING = ("stats", "cache-stats", "query-stats", "latency-summary")


def requests_of(visitor: Visitor) -> dict[str, int]:
    return {
        name.removeprefix("requests_"): number
        for name, number in visitor.counters().items()
        if name.startswith("requests_")
    }


def reads_of(visitor: Visitor) -> dict[str, Counter[str]]:
    by_type = visitor.monitoring("cache-stats")["cache"]["by_type"]
    return {name: Counter(counts) for name, counts in by_type.items()}


def grown(before: dict[str, Counter[str]], after: dict[str, Counter[str]]) -> dict[str, Any]:
    """Return by how much each count grew, less what did not."""
    changes = {name: dict(after[name] - before.get(name, Counter())) for name in after}
    return {name: change for name, change in changes.items() if change}


@pytest.mark.parametrize("name", MONITORING)
def test_monitoring_answers_stand_in_the_envelope(visitor: Visitor, name: str) -> None:
    answer = visitor.http.get(f"/api/performance/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    body = json.loads(answer.text, parse_constant=pytest.fail)
    assert set(body) == {"success", "data"}
    assert body["success"] is True
    assert datetime.fromisoformat(body["data"]["timestamp"]).tzinfo is not None


def test_invalidation_answers_in_the_envelope(visitor: Visitor) -> None:
    body = visitor.command("cache-invalidate", {"keys": ["nothing"]}).json()
    assert body["success"] is True
    assert body["data"]["invalidated"] == {"l1": 0, "l2": 0}


def test_monitoring_is_no_traffic(visitor: Visitor) -> None:
    before = requests_of(visitor), reads_of(visitor)
    for name in MONITORING:
        visitor.monitoring(name)
    assert (requests_of(visitor), reads_of(visitor)) == before


def test_requests_are_counted_by_endpoint_whatever_their_answer(visitor: Visitor) -> None:
    before = requests_of(visitor)
    latencies = visitor.monitoring("latency-summary")["latency"]
    visitor.get("/journey/u1")
    visitor.get("/journey/nobody-at-all")
    visitor.get("/channels?model=none")
    for _ in range(3):
        visitor.attribution("c2")
    visitor.http.post("/track", content=b"{")
    visitor.track()
    visitor.http.get("/track")  # a wrong method reaches no endpoint
    visitor.get("/nowhere")
    sent = {"track": 2, "attribution": 3, "journey": 2, "channels": 1}
    after = requests_of(visitor)
    assert {name: after[name] - before[name] for name in after} == sent
    now = visitor.monitoring("latency-summary")["latency"]
    assert now["requests"]["total"] == sum(after.values())
    by_endpoint = {name: figures["total"] for name, figures in now["requests_by_endpoint"].items()}
    assert by_endpoint == after
    assert latencies["requests"]["total"] == sum(before.values())
    histogram = visitor.stats()["histograms"]["request"]
    assert sum(histogram["counts"]) == sum(after.values())


def test_reads_are_counted_by_type_and_by_who_answered(visitor: Visitor) -> None:
    user = visitor.fresh("user")
    before = reads_of(visitor)
    visitor.get(f"/journey/{user}", isolate=0)  # misses: there is none
    visitor.get(f"/journey/{user}", isolate=0)  # L1 knows that
    visitor.get(f"/journey/{user}", isolate=1)  # L2 knows that
    for _ in range(4):
        visitor.track(user_id=user, site_id="s0", isolate=2)
    visitor.attribution("c9", "time_decay", isolate=3)
    visitor.attribution("c9", "time_decay", isolate=3)
    change = grown(before, reads_of(visitor))
    site = change.pop("security_config")
    assert sum(site.values()) == 4
    assert site["l1"] >= 3
    assert change == {
        "user_journeys": {"miss": 1, "l1": 1, "l2": 1, "negative": 2},
        "lookup_data": {"miss": 1, "l1": 3, "negative": 3},
        "attribution": {"miss": 1, "l1": 1},
    }


def test_shares_of_reads_are_those_of_the_counts(visitor: Visitor) -> None:
    visitor.get("/journey/u8")
    visitor.get("/journey/u8")
    visitor.get("/journey/u8", isolate=1)
    cache = visitor.monitoring("cache-stats")["cache"]
    outcomes: Counter[str] = Counter()
    for counts in cache["by_type"].values():
        outcomes.update(counts)
    del outcomes["negative"], outcomes["stale"]
    assert set(outcomes) == {"l1", "l2", "miss", "collapsed", "bypass"}
    assert cache["reads"] == outcomes.total()
    assert cache["l1_ratio"] == outcomes["l1"] / outcomes.total()
    assert cache["l2_ratio"] == outcomes["l2"] / outcomes.total()
    assert cache["hit_ratio"] == pytest.approx(cache["l1_ratio"] + cache["l2_ratio"])
    assert cache["l1"]["hits"] == outcomes["l1"]
    absent = cache["l1"]["misses"] + cache["l1"]["expired"]
    assert absent == outcomes.total() - outcomes["l1"]


def test_fresh_service_reports_nothing_rather_than_zero(tmp_path: Path) -> None:
    with serving(small_scenario("fresh"), tmp_path) as (visitor,):
        cache = visitor.monitoring("cache-stats")["cache"]
        assert cache["reads"] == 0
        assert cache["hit_ratio"] is cache["l1_ratio"] is cache["l2_ratio"] is None
        latency = visitor.monitoring("latency-summary")["latency"]
        for kind in ("requests", "queries", "queue", "externalAPIs"):
            assert latency[kind]["total"] == 0
            assert latency[kind]["p95"] is None


def test_queries_are_counted_by_name(visitor: Visitor) -> None:
    def totals() -> Counter[str]:
        by_name = visitor.monitoring("query-stats")["by_name"]
        return Counter({name: figures["total"] for name, figures in by_name.items()})

    before = totals()
    user = visitor.fresh("user")
    visitor.track(user_id=user)
    visitor.track(user_id=user)
    visitor.get(f"/journey/{user}", isolate=1)
    after = totals()
    change = after - before
    change.pop("site", None)  # whether its configuration was cached is another test's doing
    assert change == {"user": 1, "insert_event": 2, "user_journey": 1}
    figures = visitor.monitoring("query-stats")
    assert figures["queries"]["total"] == after.total()
    assert sum(visitor.stats()["histograms"]["query"]["counts"]) == after.total()


def test_latencies_of_queries_hold_the_emulated_ones(visitor: Visitor) -> None:
    visitor.get(f"/journey/{visitor.fresh('user')}")
    figures = visitor.monitoring("query-stats")["by_name"]["user_journey"]
    # 0.4 ms round trip and 0.1 ms execution, less half a millisecond that timers may be early.
    assert figures["p50"] <= figures["p95"] <= figures["p99"] <= figures["max"] * 1.004
    assert figures["max"] >= 0.25
    assert visitor.stats()["process"]["delay_count"] > 0


def test_queue_is_counted_in_batches(visitor: Visitor) -> None:
    before = visitor.counters()
    visitor.track(conversion_id=visitor.fresh("c"), value=1)
    visitor.track(conversion_id=visitor.fresh("c"), value=1)
    after = visitor.await_processed(before["conversions_processed"] + 2)
    batches = after["queue_batches"] - before["queue_batches"]
    assert batches in (1, 2)
    counters = visitor.await_counters(lambda now: now["queue_pending"] == 0)
    summary = visitor.monitoring("latency-summary")["latency"]
    assert summary["queue"]["total"] == counters["queue_batches"]


def test_process_tells_its_memory_and_cpu(visitor: Visitor) -> None:
    before = visitor.stats()["process"]
    for _ in range(50):
        visitor.get("/journey/u1")
    after = visitor.stats()["process"]
    assert after["cpu_seconds"] > before["cpu_seconds"]
    assert after["own_cpu_seconds"] > before["own_cpu_seconds"]
    assert 10e6 < after["rss_bytes"] <= after["peak_rss_bytes"] < 4e9


def test_hundred_reads_of_a_cold_key_load_it_once(visitor: Visitor) -> None:
    user = visitor.fresh("user")
    visitor.track(user_id=user)

    async def stampede() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(
            base_url=visitor.http.base_url, timeout=30.0, limits=limits
        ) as client:
            headers = {ISOLATE_HEADER: "3"}
            reads = [client.get(f"/journey/{user}", headers=headers) for _ in range(100)]
            return await asyncio.gather(*reads)

    def loads() -> int:
        by_name: dict[str, Any] = visitor.monitoring("query-stats")["by_name"]
        return int(by_name["user_journey"]["total"]) if "user_journey" in by_name else 0

    before = loads()
    answers = asyncio.run(stampede())
    assert loads() == before + 1
    states = Counter(answer.headers["Cache-Status"] for answer in answers)
    assert states.pop("L2; fwd=uri-miss; read=journey, L1; fwd=uri-miss; read=journey") == 1
    assert set(states) <= {
        "L1; fwd=uri-miss; collapsed; read=journey", "L1; hit; read=journey",
    }  # fmt: skip
    assert len({answer.content for answer in answers}) == 1


# --- invalidation ------------------------------------------------------------------------------


def outcomes(visitor: Visitor, path: str, isolates: tuple[int, ...]) -> list[str]:
    """Return which tier answered *path* on each isolate."""
    found = []
    for isolate in isolates:
        status = visitor.get(path, isolate=isolate).headers["Cache-Status"]
        found.append("l1" if status.startswith("L1; hit") else status[:7])
    return found


MISS, L2_HIT = "L2; fwd", "L2; hit"


def test_invalidated_key_is_gone_from_both_tiers_and_all_isolates(on_each_l2: Visitor) -> None:
    path = "/attribution/c5?model=linear"
    other = "/attribution/c5?model=u_shape"
    assert outcomes(on_each_l2, path, (0, 1, 2)) == [MISS, L2_HIT, L2_HIT]
    assert outcomes(on_each_l2, other, (0,)) == [MISS]
    key = f"attribution:c5:linear:{Parameters().key()}"
    assert on_each_l2.invalidate(keys=[key, "attribution:c5:"]) == {"l1": 3, "l2": 1}
    assert outcomes(on_each_l2, path, (0, 1)) == [MISS, L2_HIT]
    assert outcomes(on_each_l2, other, (0,)) == ["l1"]
    assert on_each_l2.invalidate(keys=["attribution:c5"]) == {"l1": 0, "l2": 0}


def test_invalidated_prefix_is_gone_and_nothing_else(on_each_l2: Visitor) -> None:
    paths = [f"/journey/u{user}" for user in (10, 11, 12, 1)]
    for path in paths:
        outcomes(on_each_l2, path, (0, 1))
    on_each_l2.invalidate(keys=["journey:u1"])
    outcomes(on_each_l2, "/journey/u1", (0, 1))
    assert on_each_l2.invalidate(prefix="journey:u1") == {"l1": 8, "l2": 4}
    for path in paths:
        assert outcomes(on_each_l2, path, (0, 0)) == [MISS, "l1"]
    assert on_each_l2.invalidate(prefix="journey:u11") == {"l1": 1, "l2": 1}
    assert outcomes(on_each_l2, "/journey/u10", (0,)) == ["l1"]


@pytest.mark.parametrize(
    "pattern", ["journey:u*", "journey:u?", "journey:u[0-9]", "*", "journey.", "("]
)
def test_wildcards_in_a_prefix_mean_themselves(on_each_l2: Visitor, pattern: str) -> None:
    outcomes(on_each_l2, "/journey/u20", (0,))
    assert on_each_l2.invalidate(prefix=pattern) == {"l1": 0, "l2": 0}
    assert outcomes(on_each_l2, "/journey/u20", (0,)) == ["l1"]


def test_invalidation_lets_a_change_be_seen(on_each_l2: Visitor) -> None:
    user = on_each_l2.fresh("user")
    path = f"/journey/{user}"
    on_each_l2.track(user_id=user)
    assert len(on_each_l2.get(path).json()["events"]) == 1
    on_each_l2.track(user_id=user)
    assert len(on_each_l2.get(path).json()["events"]) == 1
    on_each_l2.invalidate(keys=[f"journey:{user}"])
    for isolate in (0, 1):
        assert len(on_each_l2.get(path, isolate=isolate).json()["events"]) == 2


@pytest.mark.parametrize("name", ["cache-invalidate", "run"])
@pytest.mark.parametrize("token", [None, "", "wrong", "a-token-for-test", "A-TOKEN-FOR-TESTS", "ü"])
def test_command_without_the_token_is_refused(
    visitor: Visitor, name: str, token: str | None
) -> None:
    outcomes(visitor, "/journey/u1", (0,))
    headers = [(b"Authorization", f"Bearer {token}".strip().encode())] if token is not None else []
    path = f"/api/performance/{name}"
    body = {"prefix": "journey:"} if name == "cache-invalidate" else {}
    answer = visitor.http.post(path, json=body, headers=headers)
    assert "Authorization: Bearer" in problem(answer, 401)
    assert outcomes(visitor, "/journey/u1", (0,)) == ["l1"]


@pytest.mark.parametrize("scheme", ["Basic", "", "Token"])
def test_token_under_another_scheme_is_refused(visitor: Visitor, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} a-token-for-tests".strip()}
    path = "/api/performance/cache-invalidate"
    problem(visitor.http.post(path, json={"keys": ["a"]}, headers=headers), 401)


def test_service_without_a_token_takes_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEPROOF_TOKEN", raising=False)
    with serving(small_scenario("tokenless"), tmp_path, token=None) as (visitor,):
        for name in ("cache-invalidate", "run"):
            for token in (None, "anything"):
                message = problem(visitor.command(name, {"keys": ["a"]}, token=token), 403)
                assert "EDGEPROOF_TOKEN" in message


BAD_INVALIDATIONS: list[tuple[str, Any]] = [
    ("give one of keys, prefix and tag", {}),
    ("give one of keys, prefix and tag", {"keys": None}),
    ("give one of keys, prefix and tag", {"keys": ["a"], "prefix": "a"}),
    ("give one of keys, prefix and tag", {"keys": ["a"], "tag": "a"}),
    ("give one of keys, prefix and tag", {"prefix": "a", "tag": "a"}),
    ("give one of keys, prefix and tag", {"keys": ["a"], "prefix": "a", "tag": "a"}),
    ("1 to 1000", {"keys": []}),
    ("1 to 1000", {"keys": "journey:u1"}),
    ("1 to 1000", {"keys": {"a": 1}}),
    ("1 to 1000", {"keys": ["a"] * 1001}),
    ("keys holds 1", {"keys": ["a", 1]}),
    ('keys holds ""', {"keys": ["a", ""]}),
    ("keys holds null", {"keys": [None]}),
    ("prefix is", {"prefix": ""}),
    ("prefix is 7", {"prefix": 7}),
    ("prefix is true", {"prefix": True}),
    ('prefix is ["a"]', {"prefix": ["a"]}),
    ("tag is", {"tag": ""}),
    ("tag is 7", {"tag": 7}),
    ("tag is {}", {"tag": {}}),
    ('tag is "user:u1"; nothing here has tags: set tiers.tags = true', {"tag": "user:u1"}),
    ("printable characters of ASCII", {"keys": ["a", "\ud800"]}),
    ("prefix is not valid Unicode", {"prefix": "journey:\udfff"}),
    ("tag is not valid Unicode", {"tag": "\ud800user"}),
    ('"key" is not known', {"key": "a"}),
    ('"pattern" is not known', {"keys": ["a"], "pattern": ".*"}),
    ("not a JSON object", ["a"]),
    ("larger than 65,536", {"keys": ["x" * 70_000]}),
]


@pytest.mark.parametrize(("what", "body"), BAD_INVALIDATIONS)
def test_bad_invalidation_is_refused_by_name(visitor: Visitor, what: str, body: Any) -> None:
    content = json.dumps(body).encode()  # httpx itself refuses lone surrogates
    status = 413 if "larger" in what else 400
    assert what in problem(visitor.command("cache-invalidate", content=content), status)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("token", [True, False])
def test_invalidation_by_another_method_is_refused_and_invalidates_nothing(
    visitor: Visitor, method: str, token: bool
) -> None:
    outcomes(visitor, "/journey/u1", (0,))
    headers = {"Authorization": "Bearer a-token-for-tests"} if token else {}
    path = "/api/performance/cache-invalidate"
    answer = visitor.http.request(method, path, json={"prefix": "journey:"}, headers=headers)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    if method != "HEAD":
        assert "Allow header" in problem(answer, 405)
    assert outcomes(visitor, "/journey/u1", (0,)) == ["l1"]


@pytest.mark.parametrize("name", ["cache-invalidate", "run"])
def test_command_with_an_empty_body_is_refused(visitor: Visitor, name: str) -> None:
    headers = {"Authorization": "Bearer a-token-for-tests"}
    answer = visitor.http.post(f"/api/performance/{name}", headers=headers)
    assert "not JSON" in problem(answer, 400)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"keys=a"])
@pytest.mark.parametrize("name", ["cache-invalidate", "run"])
def test_command_that_is_not_json_is_refused(visitor: Visitor, name: str, content: bytes) -> None:
    assert "not JSON" in problem(visitor.command(name, content=content), 400)


def test_thousand_keys_are_taken_at_once(on_each_l2: Visitor) -> None:
    outcomes(on_each_l2, "/journey/u33", (0, 1))
    keys = [f"journey:u{user}" for user in range(33, 1_033)]
    assert on_each_l2.invalidate(keys=keys)["l2"] >= 1
    assert outcomes(on_each_l2, "/journey/u33", (0,)) == [MISS]


# --- the start of a run ------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["now", True, 1.5, -1, 10**400, [], {}])
def test_start_of_a_run_that_is_no_time_is_refused(visitor: Visitor, start: Any) -> None:
    message = problem(visitor.command("run", {"starts_at_ms": start}), 400)
    assert "starts_at_ms" in message


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """Return a client of a service that a run has just begun on."""
    # Few accesses a key, so that both tiers hold some keys and lack others.
    scenario = small_scenario(
        "warm",
        traffic={"stages": [{"rate": 2.0}]},
        tiers={"l1": {"ttl": "600s"}, "l2": {"ttl": {"user_journeys": "300s"}}},
    )
    with serving(scenario, tmp_path_factory.mktemp("warm")) as (visitor,):
        for user in range(50):  # a cache full of what is not part of the warm state
            visitor.get(f"/journey/u{user}", isolate=user % 4)
        begun = visitor.command("run").json()["data"]
        assert 0 < begun["starts_in"] < 60
        assert begun["starts_at_ms"] > 0
        yield visitor


def test_run_begins_with_exactly_the_l1_of_the_warm_state(warm: Visitor) -> None:
    state = warm_state(warm.scenario, prepare(warm.scenario))
    assert len(state.l1) > 20
    ended = sum(len(ids) for _, by_isolate in state.expired for ids in by_isolate)
    assert ended > 20
    assert warm.monitoring("cache-stats")["cache"]["l1"]["entries"] == len(state.l1) + ended


def test_run_begins_with_the_journeys_of_the_warm_state_where_it_says(warm: Visitor) -> None:
    state = warm_state(warm.scenario, prepare(warm.scenario))
    # What ends soon may have ended by the time that it is asked for.
    in_l2 = {held.subject: held for held in state.l2 if held.cache_type == "user_journeys"}
    in_l1 = [kept for kept in state.l1 if kept.cache_type == "user_journeys"]
    lasting = [kept for kept in in_l1 if kept.residual > 120][:5]
    assert lasting
    for kept in lasting:
        assert isinstance(kept, WarmL1)
        assert outcomes(warm, f"/journey/u{kept.subject}", (kept.isolate,)) == ["l1"]
    held_elsewhere = [
        held for held in in_l2.values()
        if held.residual > 120
        and not any(k.subject == held.subject and k.isolate == 0 for k in in_l1)
    ][:5]  # fmt: skip
    assert held_elsewhere
    for held in held_elsewhere:
        assert isinstance(held, WarmL2)
        assert outcomes(warm, f"/journey/u{held.subject}", (0,)) == [L2_HIT]
    absent = [user for user in range(50) if user not in in_l2][:5]
    assert absent
    for user in absent:
        assert outcomes(warm, f"/journey/u{user}", (0,)) == [MISS]


def test_warm_values_are_those_of_the_database(warm: Visitor) -> None:
    state = warm_state(warm.scenario, prepare(warm.scenario))
    kept = next(k for k in state.l1 if k.cache_type == "user_journeys" and k.residual > 120)
    path = f"/journey/u{kept.subject}"
    from_l1 = warm.get(path, isolate=kept.isolate)
    warm.invalidate(prefix="journey:")
    loaded = warm.get(path, isolate=kept.isolate)
    assert from_l1.headers["Cache-Status"].startswith("L1; hit")
    assert loaded.headers["Cache-Status"].startswith("L2; fwd=uri-miss")
    assert loaded.content == from_l1.content


@pytest.mark.parametrize("consistency", ["strong", "eventual"])
def test_nothing_that_came_before_a_run_makes_its_warm_state_cold(
    tmp_path: Path, consistency: str
) -> None:
    # The warm values were loaded, so their stamps say, long before the run.
    scenario = small_scenario(
        consistency,
        traffic={"stages": [{"rate": 2.0}]},
        tiers={"l2": {"consistency": consistency}},
    )
    with serving(scenario, tmp_path) as (visitor,):
        for user in range(50):  # a point of presence that knows of every key
            visitor.get(f"/journey/u{user}")
        for prefix in ("journey:", "lookup:", "config:", "channels:", "attribution:"):
            visitor.invalidate(prefix=prefix)
        for user in range(50):
            rename_source(tmp_path, f"u{user}", "renamed-before-the-run")
            visitor.get(f"/journey/u{user}")
        assert visitor.command("run").status_code == 200
        state = warm_state(scenario, prepare(scenario))
        in_l2 = [held for held in state.l2 if held.cache_type == "user_journeys"]
        in_l1 = {kept.subject for kept in state.l1 if kept.isolate == 0}
        lasting = [h for h in in_l2 if h.residual > 120 and h.subject not in in_l1][:5]
        assert lasting
        for held in lasting:
            answer = visitor.get(f"/journey/u{held.subject}")
            assert answer.headers["Cache-Status"].startswith(L2_HIT)
            assert "renamed-before-the-run" not in sources_of(answer)  # as at the start
        cache = visitor.cache()
        assert (cache["l2"]["refused"], cache["l2"]["corrupt"]) == (0, 0)
        assert cache["invalidation"]["remembered"] == 0


def test_cold_run_begins_with_nothing(tmp_path: Path) -> None:
    with serving(small_scenario("cold", start="cold"), tmp_path) as (visitor,):
        for isolate in range(4):
            visitor.attribution("c1", isolate=isolate)
        assert visitor.monitoring("cache-stats")["cache"]["l1"]["entries"] == 4
        assert visitor.command("run").status_code == 200
        assert visitor.monitoring("cache-stats")["cache"]["l1"]["entries"] == 0
        path = "/attribution/c1?model=linear"
        assert outcomes(visitor, path, (0, 0, 1)) == [MISS, "l1", L2_HIT]


def test_every_model_is_a_key_of_its_own(visitor: Visitor) -> None:
    visitor.invalidate(prefix="attribution:c7:")
    for model in MODELS:
        assert outcomes(visitor, f"/attribution/c7?model={model}", (0, 0)) == [MISS, "l1"]


def test_event_is_stored_once_however_often_the_caches_are_emptied(visitor: Visitor) -> None:
    event = event_of(visitor.fresh("event"))
    for expected in (False, True, True):
        assert visitor.http.post("/track", json=event).json()["duplicate"] is expected
        visitor.invalidate(prefix="lookup:")
