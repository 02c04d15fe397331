"""Claims about invalidation over HTTP: what goes, and who may still answer with an old value."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import httpx
import pytest
import redis

from tests.core.service.serving import (
    POLLS,
    Tree,
    Visitor,
    neighbours,
    rename_source,
    serving,
    small_scenario,
    sources_of,
)

ISOLATES = range(4)
TARGETS: list[Tree] = [{"keys": ["journey:u1"]}, {"prefix": "journey:u2"}, {"tag": "user:u3"}]
OLD, NEW = "before-the-change", "after-the-change"


@pytest.fixture(scope="module", params=["embedded", "redis-server"])
def tagged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visitor]:
    """Return a client of a service whose entries have tags."""
    url = request.getfixturevalue("redis_server") if request.param == "redis-server" else None
    scenario = small_scenario(f"tagged-on-{request.param}", tiers={"tags": True})
    with serving(scenario, tmp_path_factory.mktemp("tagged"), redis=url) as (visitor,):
        yield visitor


def is_l1_hit(answer: httpx.Response) -> bool:
    return answer.headers["Cache-Status"].startswith("L1; hit")


# --- what goes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "l1", "l2"),
    [
        ({"keys": ["journey:u5"]}, 3, 1),
        ({"keys": ["journey:u5", "lookup:u5", "journey:u5", "lookup:none"]}, 4, 2),
        ({"prefix": "journey:u5"}, 3, 1),
        ({"prefix": "lookup:u"}, 2, 2),
        ({"tag": "user:u5"}, 4, 2),  # of two types
        ({"tag": "user:u"}, 0, 0),  # a tag is no prefix
        ({"tag": "conversion:c5"}, 2, 2),  # of two models
        ({"tag": "model:linear"}, 1, 1),
        ({"tag": "site:s1"}, 2, 1),
    ],
)
def test_every_entry_that_is_named_goes_and_is_counted_over_all_isolates(
    tagged: Visitor, target: Tree, l1: int, l2: int
) -> None:
    for prefix in ("journey:", "lookup:", "config:", "attribution:", "channels:"):
        tagged.invalidate(prefix=prefix)
    for isolate in (0, 1, 3):
        tagged.get("/journey/u5", isolate=isolate)
    tagged.track(user_id="u5", site_id="s1", isolate=0)
    tagged.track(user_id="u6", site_id="s1", isolate=2)
    tagged.attribution("c5", "linear")
    tagged.attribution("c5", "u_shape")
    tagged.get("/channels?model=linear")
    before, counted = tagged.cache()["l1"]["entries"], tagged.counters()
    assert tagged.invalidate(**target) == {"l1": l1, "l2": l2}
    assert tagged.cache()["l1"]["entries"] == before - l1
    used = {name: tagged.counters()[name] - counted[name] for name in ("l2_deletes", "l2_lists")}
    named = {*target.get("keys", ())}
    assert used == {"l2_deletes": len(named) or l2, "l2_lists": 0 if named else 1}
    assert tagged.invalidate(**target) == {"l1": 0, "l2": 0}


@pytest.mark.parametrize("target", [{"prefix": "journey:"}, {"tag": "user:u7"}], ids=str)
def test_count_of_l2_is_by_how_many_keys_redis_shrank(
    tmp_path: Path, redis_server: str, target: Tree
) -> None:
    name = f"shrinking-{next(iter(target))}"
    scenario = small_scenario(name, tiers={"tags": True})
    with (
        serving(scenario, tmp_path, redis=redis_server) as (visitor,),
        redis.Redis.from_url(redis_server) as client,
    ):

        def keys() -> set[bytes]:
            return set(client.scan_iter(f"edgeproof:{name}:*"))

        for user in range(6, 9):
            visitor.get(f"/journey/u{user}")
            visitor.track(user_id=f"u{user}")
        held = keys()
        gone = visitor.invalidate(**target)["l2"]
        assert len(held) - len(keys()) == gone == (3 if "prefix" in target else 2)


# --- who may still answer with an old value ----------------------------------------------------


@pytest.mark.parametrize("l2", ["embedded", "redis-server"])
def test_no_isolate_answers_with_the_old_value_even_if_it_was_being_loaded(
    tmp_path: Path, request: pytest.FixtureRequest, l2: str
) -> None:
    # Rows are read after half a round trip: there is time to change them while the rest lasts.
    tiers = {"tags": True, "l3": {"round_trip": "3s"}}
    scenario = small_scenario(f"overtaken-on-{l2}", tiers=tiers)
    url = request.getfixturevalue("redis_server") if l2 == "redis-server" else None
    users = ("u1", "u2", "u3")
    with (
        serving(scenario, tmp_path, redis=url) as (visitor,),
        ThreadPoolExecutor(16) as pool,
    ):
        for user in users:
            rename_source(tmp_path, user, OLD)
        loading = [
            pool.submit(visitor.get, f"/journey/{user}", isolate=isolate)
            for isolate, user in enumerate(users)
        ]
        visitor.await_counters(lambda now: now["l3_operations"] == len(users))
        visitor.stats()  # the statements run beside the loop: let them end
        for user in users:
            rename_source(tmp_path, user, NEW)
        for target in TARGETS:
            assert visitor.invalidate(**target) == {"l1": 0, "l2": 0}
        assert not any(load.done() for load in loading), "nothing was being loaded any more"
        reads = [
            pool.submit(visitor.get, f"/journey/{user}", isolate=isolate)
            for user in users
            for isolate in ISOLATES
        ]
        # Who asked before the invalidation may be answered with the old value: it was true then.
        assert [sources_of(load.result()) for load in loading] == [{OLD}] * len(users)
        assert [sources_of(read.result()) for read in reads] == [{NEW}] * len(reads)
        assert visitor.cache()["loads"]["overtaken"] == len(users)
        for user in users:  # nor does either tier keep it
            for isolate in ISOLATES:
                answer = visitor.get(f"/journey/{user}", isolate=isolate)
                assert sources_of(answer) == {NEW}
                assert is_l1_hit(answer)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_after_invalidation_every_isolate_sees_the_change(tagged: Visitor, target: Tree) -> None:
    user = {"keys": "u1", "prefix": "u2", "tag": "u3"}[next(iter(target))]
    rename_source(tagged.folder, user, OLD)
    tagged.invalidate(prefix="journey:")
    for isolate in ISOLATES:
        assert sources_of(tagged.get(f"/journey/{user}", isolate=isolate)) == {OLD}
    rename_source(tagged.folder, user, NEW)
    assert sources_of(tagged.get(f"/journey/{user}")) == {OLD}
    assert tagged.invalidate(**target)["l1"] >= 4
    for isolate in ISOLATES:
        assert sources_of(tagged.get(f"/journey/{user}", isolate=isolate)) == {NEW}


# --- two services on one Redis, which know of one another by its pub/sub alone ----------------


def rename_for(pair: tuple[Visitor, Visitor], user: str, source: str) -> None:
    for visitor in pair:
        rename_source(visitor.folder, user, source)


@pytest.fixture
def heard(tmp_path: Path, redis_server: str) -> Iterator[tuple[Visitor, Visitor]]:
    """Return clients of two services that tell one another of invalidations."""
    scenario = small_scenario(tmp_path.name, topology={"isolates": 2}, tiers={"tags": True})
    with neighbours(scenario, tmp_path, redis=redis_server) as pair:
        yield pair


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_invalidation_at_one_service_reaches_l1_of_the_other(
    heard: tuple[Visitor, Visitor], target: Tree
) -> None:
    first, second = heard
    user = {"keys": "u1", "prefix": "u2", "tag": "u3"}[next(iter(target))]
    rename_for(heard, user, OLD)
    for visitor in heard:
        for isolate in (0, 1):
            assert sources_of(visitor.get(f"/journey/{user}", isolate=isolate)) == {OLD}
            visitor.get("/journey/u9", isolate=isolate)
    rename_for(heard, user, NEW)
    assert first.invalidate(**target) == {"l1": 2, "l2": 1}
    cache = second.await_cache(lambda now: now["invalidation"]["received"] == 1)
    assert cache["l1"]["invalidated"] == 2
    for isolate in (0, 1):
        assert sources_of(second.get(f"/journey/{user}", isolate=isolate)) == {NEW}
        assert is_l1_hit(second.get("/journey/u9", isolate=isolate))
    ours = first.cache()["invalidation"]
    assert (ours["received"], ours["not_sent"]) == (0, 0)  # one's own message is none


def test_lost_pubsub_connection_empties_l1_and_is_replaced(
    heard: tuple[Visitor, Visitor], redis_server: str
) -> None:
    first, second = heard
    for visitor in heard:
        visitor.get("/journey/u1")
    with redis.Redis.from_url(redis_server) as client:
        client.client_kill_filter(_type="pubsub")
    for visitor in heard:
        cache = visitor.await_cache(lambda now: now["invalidation"]["gaps"] == 1)
        assert cache["l1"]["entries"] == 0
        answer = visitor.get("/journey/u1")
        assert answer.headers["Cache-Status"].startswith("L2; hit")
    first.invalidate(keys=["journey:u1"])
    second.await_cache(lambda now: now["invalidation"]["received"] == 1)
    assert not is_l1_hit(second.get("/journey/u1"))


L1_TTL = 3.0


def test_without_pubsub_the_other_service_serves_the_old_value_for_the_ttl_of_l1_at_most(
    tmp_path: Path, redis_server: str
) -> None:
    scenario = small_scenario(
        "unheard",
        topology={"isolates": 1},
        tiers={"l1": {"ttl": f"{L1_TTL}s"}, "l2": {"pubsub": False}},
    )
    with neighbours(scenario, tmp_path, redis=redis_server) as pair:
        first, second = pair
        rename_for(pair, "u1", OLD)
        second.get("/journey/u1")
        kept_at = monotonic()
        rename_for(pair, "u1", NEW)
        assert first.invalidate(keys=["journey:u1"]) == {"l1": 0, "l2": 1}
        assert sources_of(first.get("/journey/u1")) == {NEW}
        oldest = None
        for _ in range(POLLS):
            asked_at = monotonic()
            answer = second.get("/journey/u1")
            if sources_of(answer) == {NEW}:
                break
            assert is_l1_hit(answer)
            oldest = asked_at - kept_at
        else:
            pytest.fail("the old value is served for ever")
        assert oldest is not None, "the old value went without having been invalidated"
        assert oldest < L1_TTL
        invalidation = second.cache()["invalidation"]
        assert (invalidation["received"], invalidation["gaps"]) == (0, 0)
