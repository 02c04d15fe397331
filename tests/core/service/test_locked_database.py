"""Claims about a service whose database another program keeps locked, over real sockets."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.core.service.serving import POLLS, problem, serving, small_scenario

LIMIT = {"timeout": "1s"}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let another program be about to write to the database in *folder*."""
    with closing(sqlite3.connect(folder / "cdp.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("emulate", [True, False])
@pytest.mark.parametrize("readers", [0, 2])
def test_wait_for_a_lock_ends_at_the_limit_of_the_database(
    tmp_path: Path, emulate: bool, readers: int
) -> None:
    l3 = {**LIMIT, "readers": readers}
    scenario = small_scenario("locked", tiers={"l3": l3})
    with serving(scenario, tmp_path, emulate=emulate) as (visitor,):
        with locked(tmp_path):
            for user in ("u1", "u2"):
                message = problem(visitor.track(user_id=user), 504)
                assert "within 1 s" in message
                # No lock keeps a reader out, and the connection is free for it.
                assert visitor.get(f"/journey/{user}").status_code == 200
        assert visitor.track(user_id="u1").status_code == 202
        slow = [query for query in visitor.monitoring("query-stats")["slow"] if query["reason"]]
        assert [query["names"] for query in slow] == [["insert_event"]] * 2
        assert all("within 1 s" in query["reason"] for query in slow)
        if emulate:
            assert visitor.counters()["l3_errors"] == 2


def test_consumers_wait_for_a_lock_ends_at_the_limit_and_it_tries_again(tmp_path: Path) -> None:
    scenario = small_scenario(
        "locked-consumer",
        topology={"processes": 2, "isolates": 1},
        tiers={"l3": {"timeout": "300ms"}},
        queue={"wait": "1s", "max_attempts": 100, "retry_delay": "10ms"},
    )
    with serving(scenario, tmp_path) as (visitor, _):
        sold = visitor.track(user_id="u1", conversion_id="sold", value=1.0)
        assert sold.status_code == 202
        for _attempt in range(POLLS):  # until the consumer has it in hand
            if visitor.rows("SELECT leased_by FROM conversion_queue") != [(None,)]:
                break
        with locked(tmp_path):
            for _attempt in range(POLLS):
                slow = visitor.monitoring("query-stats")["slow"]
                late = [query for query in slow if "mark_processed" in query["names"]]
                if late:
                    break
            assert "within 0.3 s" in late[0]["reason"]
            assert visitor.counters()["conversions_processed"] == 0
        visitor.await_processed(1)
