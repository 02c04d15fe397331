"""Claims about the service's cache of rows: counted, and within reach of invalidation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.service.serving import (
    POLLS,
    Visitor,
    rename_source,
    serving,
    small_scenario,
    sources_of,
)

JOURNEY = "journey:u1"


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """Yield a visitor of a service with a cache of rows, whose other tiers forget at once."""
    scenario = small_scenario(
        "rows",
        tiers={
            "query_cache": {"ttl": "3600s"},
            "tags": True,
            "l1": {"scope": "request"},
            "l2": {"ttl": {"user_journeys": "1ms"}},
        },
    )
    with serving(scenario, tmp_path_factory.mktemp("rows")) as (visitor,):
        yield visitor


def hits_of(visitor: Visitor) -> int:
    data = visitor.http.get("/api/performance/query-stats").json()["data"]
    hits: int = data["statements"]["user_journey"]["cache_hits"]
    return hits


@pytest.mark.parametrize(
    "body", [{"keys": [JOURNEY]}, {"prefix": "journey:"}, {"tag": "user:u1"}], ids=str
)
def test_rows_are_served_and_counted_until_they_are_invalidated(
    visitor: Visitor, body: dict[str, object]
) -> None:
    source = f"source-{next(iter(body))}"
    before = sources_of(visitor.http.get("/journey/u1"))
    hits, operations = hits_of(visitor), visitor.counters()["l3_operations"]
    rename_source(visitor.folder, "u1", source)
    assert sources_of(visitor.http.get("/journey/u1")) == before
    assert hits_of(visitor) == hits + 1 == visitor.counters()["query_cache_hits"]
    assert visitor.counters()["l3_operations"] == operations
    visitor.invalidate(**body)
    assert sources_of(visitor.http.get("/journey/u1")) == {source}


def test_invalidation_heard_over_pubsub_reaches_the_rows_of_another_process(
    tmp_path: Path, redis_server: str
) -> None:
    scenario = small_scenario(
        "heard-rows",
        topology={"processes": 2},
        tiers={
            "query_cache": {"ttl": "3600s"},
            "l1": {"scope": "request"},
            "l2": {"ttl": {"user_journeys": "1ms"}},
        },
    )
    with serving(scenario, tmp_path, redis=redis_server) as (here, there):
        before = sources_of(there.http.get("/journey/u1"))
        rename_source(tmp_path, "u1", "renamed")
        assert sources_of(there.http.get("/journey/u1")) == before
        here.invalidate(keys=[JOURNEY])
        for _ in range(POLLS):  # as long as the message takes
            if sources_of(there.http.get("/journey/u1")) == {"renamed"}:
                break
        assert sources_of(there.http.get("/journey/u1")) == {"renamed"}
        assert sources_of(here.http.get("/journey/u1")) == {"renamed"}
