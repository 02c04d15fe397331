"""Claims about cache-stats: every read is counted once, in its type and under who answered it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.attribution.parameters import Parameters
from core.caching.envelope import HEADER_BYTES
from core.caching.memory import ENTRY_OVERHEAD
from core.wire import ISOLATE_HEADER
from tests.core.service.serving import POLLS, Tree, Visitor, problem, serving, small_scenario

OUTCOMES = ("l1", "l2", "miss", "collapsed", "bypass")
NEVER = "10000s"


def totals(cache: Tree) -> dict[str, int]:
    """Return the counts over all types."""
    return {
        name: sum(counts[name] for counts in cache["by_type"].values())
        for name in (*OUTCOMES, "negative", "stale")
    }


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """Return a client of a service whose endpoints have all been asked, some of them often."""
    folder = tmp_path_factory.mktemp("used")
    with serving(small_scenario("used"), folder) as (visitor,):
        for isolate in (0, 0, 1):
            visitor.get("/journey/u1", isolate=isolate)
            visitor.get("/journey/nobody", isolate=isolate)
            visitor.attribution("c1", isolate=isolate)
            visitor.get("/channels?model=linear", isolate=isolate)
            visitor.track(user_id="u2", isolate=isolate)
        yield visitor


def test_shares_of_the_tiers_and_of_misses_add_up_to_one(used: Visitor) -> None:
    cache = used.cache()
    assert cache["l1_ratio"] + cache["l2_ratio"] + cache["miss_ratio"] == pytest.approx(1.0)
    assert cache["hit_ratio"] + cache["miss_ratio"] == pytest.approx(1.0)
    counted = totals(cache)
    assert cache["reads"] == sum(counted[name] for name in OUTCOMES)
    assert cache["l1_ratio"] == counted["l1"] / cache["reads"]
    assert cache["l2_ratio"] == counted["l2"] / cache["reads"]


def test_each_type_counts_its_own_reads(used: Visitor) -> None:
    by_type = used.cache()["by_type"]
    columns = dict.fromkeys((*OUTCOMES, "negative", "stale"), 0)
    each = columns | {"miss": 1, "l1": 1, "l2": 1}
    assert by_type == {
        "attribution": each,
        "channel_metrics": each,
        "lookup_data": each,
        "security_config": each,
        "user_journeys": {name: 2 * number for name, number in each.items()} | {"negative": 2},
    }


def test_each_tier_counts_what_it_was_asked(used: Visitor) -> None:
    cache = used.cache()
    counted = totals(cache)
    l1, l2 = cache["l1"], cache["l2"]
    assert l1["hits"] == counted["l1"]
    assert l1["misses"] + l1["expired"] == cache["reads"] - counted["l1"]
    assert l2["reads"] == counted["l2"] + counted["miss"]
    assert l2["writes"] == cache["loads"]["started"] == counted["miss"]
    assert (l2["errors"], l2["skipped"], l2["corrupt"], l2["refused"]) == (0, 0, 0, 0)
    assert (l2["breaker"], l2["breaker_openings"]) == ("closed", 0)
    assert cache["loads"]["failed"] == cache["loads"]["coalesced"] == 0


def test_bytes_of_l1_are_those_of_its_entries_by_the_first_part_of_their_key(used: Visitor) -> None:
    l1 = used.cache()["l1"]
    assert set(l1["bytes_by_prefix"]) == {"attribution", "channels", "config", "journey", "lookup"}
    assert sum(l1["bytes_by_prefix"].values()) == l1["bytes"]
    # One key of every type and one absence, each on two isolates.
    assert l1["entries"] == 12
    overhead = HEADER_BYTES + ENTRY_OVERHEAD
    document = len(used.get("/channels?model=linear").content)
    expected = 2 * (document + len(f"channels:linear:{Parameters().key()}") + overhead)
    assert l1["bytes_by_prefix"]["channels"] == expected


def test_bytes_of_l2_are_those_of_the_envelopes_that_went_there_and_came_back(
    on_each_l2: Visitor,
) -> None:
    def moved() -> tuple[int, int]:
        l2 = on_each_l2.cache()["l2"]
        return l2["bytes_written"], l2["bytes_read"]

    start = moved()
    document = len(on_each_l2.get("/journey/u6", isolate=0).content)
    written = moved()
    assert (written[0] - start[0], written[1] - start[1]) == (HEADER_BYTES + document, 0)
    on_each_l2.get("/journey/u6", isolate=1)
    on_each_l2.get("/journey/u6", isolate=1)
    read = moved()
    assert (read[0] - written[0], read[1] - written[1]) == (0, HEADER_BYTES + document)


def test_evicted_entries_are_counted_and_a_value_too_large_for_l1_is_refused(
    tmp_path: Path,
) -> None:
    scenario = small_scenario("cramped", tiers={"l1": {"max_entries": 3}})
    with serving(scenario, tmp_path) as (visitor,):
        for user in range(5):
            visitor.get(f"/journey/u{user}")
        l1 = visitor.cache()["l1"]
        assert (l1["entries"], l1["evicted"], l1["refused"]) == (3, 2, 0)
        before = l1["bytes"]
        assert visitor.get("/journey/u0").headers["Cache-Status"].startswith("L2; hit")
        assert visitor.cache()["l1"]["evicted"] == 3
        assert visitor.cache()["l1"]["bytes"] != before
    small = small_scenario("tiny", tiers={"l1": {"max_bytes": "400B"}})
    folder = tmp_path / "tiny"
    folder.mkdir()
    with serving(small, folder) as (visitor,):
        visitor.get("/journey/u1")
        l1 = visitor.cache()["l1"]
        assert (l1["entries"], l1["bytes"], l1["evicted"], l1["refused"]) == (0, 0, 0, 1)


def test_reads_that_wait_for_anothers_load_are_counted_as_coalesced(tmp_path: Path) -> None:
    scenario = small_scenario("coalesced", tiers={"l3": {"round_trip": "200ms"}})

    async def crowd(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:
            headers = {ISOLATE_HEADER: "0"}
            reads = [client.get("/journey/u1", headers=headers) for _ in range(20)]
            return await asyncio.gather(*reads)

    with serving(scenario, tmp_path) as (visitor,):
        answers = asyncio.run(crowd(str(visitor.http.base_url)))
        waited = sum("collapsed" in answer.headers["Cache-Status"] for answer in answers)
        assert waited > 0
        cache = visitor.cache()
        assert cache["loads"]["started"] == 1
        assert cache["loads"]["coalesced"] == totals(cache)["collapsed"] == waited
        assert cache["reads"] == 20
        assert cache["miss_ratio"] == (waited + 1) / 20  # who waits has not hit


def test_stale_values_are_hits_that_are_counted_and_renewed_in_the_background(
    tmp_path: Path,
) -> None:
    tiers = {"stale_while_revalidate": "1h", "l2": {"ttl": {"user_journeys": "100ms"}}}
    with serving(small_scenario("stale", tiers=tiers), tmp_path) as (visitor,):
        stale = 0
        for _ in range(POLLS):
            answer = visitor.get("/journey/u1")
            stale += "detail=stale" in answer.headers["Cache-Status"]
            if stale:
                break
        cache = visitor.await_cache(lambda now: now["loads"]["in_background"] >= 1)
        counts = cache["by_type"]["user_journeys"]
        assert counts["stale"] == stale == 1
        assert counts["miss"] == 1
        assert counts["l1"] + counts["l2"] == cache["reads"] - 1  # a stale hit is a hit
        assert visitor.counters()["stale_served"] == 1
        assert cache["l1_ratio"] + cache["l2_ratio"] + cache["miss_ratio"] == pytest.approx(1.0)


def failing(name: str, **breaker: Any) -> Any:
    """Return a scenario whose L2 fails from the start of its run on."""
    fault = {"at": "0s", "for": NEVER, "tier": "l2", "kind": "error"}
    return small_scenario(name, faults=[fault], tiers={"l2": {"breaker": breaker}})


def await_fault(visitor: Visitor) -> None:
    """Start a run and return when its fault has struck once."""
    assert visitor.command("run").status_code == 200
    for _ in range(POLLS):
        status = visitor.get(f"/journey/{visitor.fresh('user')}").headers["Cache-Status"]
        if "bypass" in status:
            return
    raise AssertionError("the fault never struck")


def test_errors_of_l2_are_errors_and_bypasses_but_no_misses(tmp_path: Path) -> None:
    with serving(failing("erring", failures=0), tmp_path) as (visitor,):
        await_fault(visitor)
        before = visitor.cache()
        for _ in range(10):
            problem(visitor.get(f"/journey/{visitor.fresh('user')}"), 404)
        after = visitor.cache()
        grown = {name: n - totals(before)[name] for name, n in totals(after).items()}
        assert grown == dict.fromkeys(grown, 0) | {"bypass": 10}
        assert after["l2"]["errors"] - before["l2"]["errors"] == 10
        assert after["l2"]["writes"] == before["l2"]["writes"]  # nothing was sent to a failing L2
        assert (after["l2"]["breaker"], after["l2"]["skipped"]) == ("closed", 0)
        assert after["l1_ratio"] + after["l2_ratio"] + after["miss_ratio"] == pytest.approx(1.0)


def test_open_breaker_keeps_reads_from_l2_and_a_new_run_closes_it(tmp_path: Path) -> None:
    with serving(failing("broken", failures=3, open_for=NEVER), tmp_path) as (visitor,):
        await_fault(visitor)
        for _ in range(10):
            visitor.get(f"/journey/{visitor.fresh('user')}")
        l2 = visitor.cache()["l2"]
        assert (l2["breaker"], l2["breaker_openings"], l2["errors"]) == ("open", 1, 3)
        assert l2["skipped"] == 8  # of 11 afflicted reads
        assert visitor.counters()["breaker_openings"] == 1
        assert visitor.command("run").status_code == 200
        assert visitor.cache()["l2"]["breaker"] == "closed"


def test_statistics_hold_no_figure_for_a_service_that_was_not_asked(tmp_path: Path) -> None:
    with serving(small_scenario("idle"), tmp_path) as (visitor,):
        cache = visitor.cache()
        assert cache["by_type"] == {}
        assert cache["l1"]["bytes_by_prefix"] == {}
        ratios = ("l1_ratio", "l2_ratio", "hit_ratio", "miss_ratio")
        assert [cache[name] for name in ratios] == [None] * 4
