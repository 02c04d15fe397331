"""Claims about the service: finished conversions reach the destination, from whichever process."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from core.errors import InputError
from tests.core.delivery.destinations import local_destination
from tests.core.service.serving import Visitor, event_of, rows_of, serving, small_scenario

CONVERSIONS = 12


def buy(visitors: list[Visitor], prefix: str) -> list[str]:
    """Track conversions on every worker in turn; return their ids."""
    names = [f"{prefix}{number}" for number in range(CONVERSIONS)]
    for number, name in enumerate(names):
        event = event_of(f"e-{name}", event_name="purchase", conversion_id=name, value=2.5)
        answer = visitors[number % len(visitors)].http.post("/track", json=event)
        assert answer.status_code == 202, answer.text
    return names


@pytest.mark.parametrize("processes", [1, 2])
def test_local_destination_takes_what_is_finished(processes: int, tmp_path: Path) -> None:
    scenario = small_scenario(
        "forwards", topology={"processes": processes}, destination={"url": "local"}
    )
    with serving(scenario, tmp_path) as visitors:
        buy(visitors, "x")
        counters = visitors[0].await_counters(lambda c: c["forwarded"] >= CONVERSIONS)
        assert counters["forwarded"] == CONVERSIONS
        assert counters["forward_given_up"] == 0
        stats = visitors[0].http.get("/api/performance/stats").json()["data"]
        external = stats["cumulative"]["histograms"]["external"]
        assert sum(external["counts"]) == counters["forward_requests"]
    assert rows_of(tmp_path, "SELECT count(*) FROM outbox") == [(0,)]


@pytest.mark.parametrize("processes", [1, 2])
def test_outbox_waits_for_a_destination_that_is_away_and_for_the_next_service(
    processes: int, tmp_path: Path
) -> None:
    with local_destination() as server:
        url = server.url
    fields = {"retry_delay": "3600s", "timeout": "2s"}
    scenario = small_scenario(
        "away", topology={"processes": processes}, destination={"url": url, **fields}
    )
    with serving(scenario, tmp_path) as visitors:
        names = buy(visitors, "y")
        counters = visitors[0].await_counters(lambda c: c["forward_retries"] >= CONVERSIONS)
        assert counters["forwarded"] == 0
        assert counters["conversions_processed"] == CONVERSIONS
    failed = rows_of(tmp_path, "SELECT conversion_id, last_error FROM outbox")
    assert {name for name, _ in failed} == {*names}
    assert {error.split(":")[0] for _, error in failed} == {"ConnectError"}
    with local_destination() as back:
        scenario = small_scenario(
            "back", topology={"processes": processes}, destination={"url": back.url, **fields}
        )
        make_due(tmp_path)
        with serving(scenario, tmp_path) as visitors:
            visitors[0].await_counters(lambda c: c["forwarded"] >= CONVERSIONS)
        assert {*back.counts.keys()} == {*names}
        assert back.counts.duplicates == 0


def make_due(folder: Path) -> None:
    """Let the time of the next attempt have come."""
    connection = sqlite3.connect(folder / "cdp.sqlite")
    with connection:
        connection.execute("UPDATE outbox SET available_at_ms = 0")
    connection.close()


def test_without_a_destination_nothing_is_kept_for_one(tmp_path: Path) -> None:
    with serving(small_scenario("silent"), tmp_path) as (visitor,):
        buy([visitor], "z")
        counters = visitor.await_processed(CONVERSIONS)
        assert not any(name.startswith("forward") for name in counters)
        assert visitor.rows("SELECT count(*) FROM outbox") == [(0,)]


@pytest.mark.parametrize("processes", [1, 2])
def test_token_that_is_not_set_is_one_clear_line(
    processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    scenario = small_scenario(
        "token",
        topology={"processes": processes},
        destination={"url": "https://127.0.0.1:1/", "token_variable": "NO_SUCH_TOKEN"},
    )
    with pytest.raises(InputError) as caught, serving(scenario, tmp_path):
        pass
    assert str(caught.value).startswith("destination.token_variable: NO_SUCH_TOKEN is not set")
    assert "\n" not in str(caught.value)
