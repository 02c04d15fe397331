"""Services to test: small scenarios, a client, and what their seeded databases hold."""

from __future__ import annotations

import os
import select
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from bench.forked import forked
from core.scenario.file import parse_scenario
from core.scenario.population import populate
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.service.crew import RunningService
from core.service.launcher import running_service
from core.service.limits import DEFAULT_LIMITS, ConnectionLimits
from core.wire import ISOLATE_HEADER
from tests.core.ledger.worlds import World

TOKEN = "a-token-for-tests"
MODELS = ("last_click", "first_click", "linear", "time_decay", "u_shape", "w_shape", "data_driven")
NOW_MS = 1_767_225_600_000
POLLS = 20_000
END_LIMIT_MS = 60_000

Tree = dict[str, Any]


def small_scenario(name: str, **tables: object) -> Scenario:
    """Return a scenario of short latencies whose L2 holds a value before it is answered."""
    data: Tree = {
        "name": name,
        "duration": "2s",
        "warm_up": "0s",
        "traffic": {"users": 50, "conversions": 30, "sites": 3, "stages": [{"rate": 20}]},
        "tiers": {
            "l2": {
                "read": "0.2ms", "cold_read": "0.4ms", "write": "0.2ms", "put": "await",
                "timeout": "5s",
            },
            "l3": {
                "round_trip": "0.4ms", "read_execution": "0.1ms", "write_execution": "0.1ms",
            },
        },
        "queue": {"wait": "20ms"},
    }  # fmt: skip
    return parse_scenario(_merged(data, tables), source=name)


def _merged(base: Tree, changes: Tree) -> Tree:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        is_table = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merged(old, value) if is_table and isinstance(old, dict) else value
    return merged


def seeded_world(scenario: Scenario) -> World:
    """Return what is true of the population that a service for *scenario* starts with."""
    population = populate(scenario, prepare(scenario).workload)
    touches: dict[str, list[tuple[int, str]]] = {}
    for _, user, _, channel, time in population.touches:
        touches.setdefault(user, []).append((time, channel))
    return World(
        touches=touches,
        conversions={name: (user, time, value) for name, _, user, time, value
                     in population.conversions},
    )  # fmt: skip


@dataclass(slots=True)
class Visitor:
    """A client of one service process."""

    http: httpx.Client
    folder: Path
    scenario: Scenario
    service: RunningService
    _numbers: Iterator[int] = field(default_factory=count)

    def fresh(self, kind: str) -> str:
        """Return an id that no other test uses."""
        return f"fresh-{kind}-{next(self._numbers)}"

    def get(self, path: str, *, isolate: int | str = 0) -> httpx.Response:
        """Ask for *path* on an isolate."""
        return self.http.get(path, headers={ISOLATE_HEADER: str(isolate)})

    def attribution(
        self, conversion: str, model: str = "linear", *, isolate: int = 0
    ) -> httpx.Response:
        """Ask for the credits of a conversion."""
        return self.get(f"/attribution/{conversion}?model={model}", isolate=isolate)

    def track(self, *, isolate: int = 0, **fields: object) -> httpx.Response:
        """Send an event; what is not given is that of a page view of its own."""
        event = event_of(self.fresh("event"), **fields)
        return self.http.post("/track", json=event, headers={ISOLATE_HEADER: str(isolate)})

    def stats(self) -> Tree:
        """Return the cumulative figures of the process."""
        data: Tree = self.monitoring("stats")["cumulative"]
        return data

    def counters(self) -> dict[str, int]:
        """Return the cumulative counters of the process."""
        counters: dict[str, int] = self.stats()["counters"]
        return counters

    def cache(self) -> Tree:
        """Return what the caches of the process tell."""
        data: Tree = self.monitoring("cache-stats")["cache"]
        return data

    def await_cache(self, hold: Callable[[Tree], bool]) -> Tree:
        """Return what the caches tell once it *holds*; AssertionError after POLLS answers."""
        for _ in range(POLLS):
            cache = self.cache()
            if hold(cache):
                return cache
        raise AssertionError(f"still {cache}")

    def monitoring(self, name: str, scope: str = "process") -> Tree:
        """Return what a monitoring endpoint tells, out of its envelope."""
        answer = self.http.get(f"/api/performance/{name}?scope={scope}")
        assert answer.status_code == 200
        body = answer.json()
        assert body["success"] is True
        data: Tree = body["data"]
        return data

    def command(
        self, name: str, body: object = None, *, token: str | None = TOKEN, content: bytes = b""
    ) -> httpx.Response:
        """Send *body* (or *content* as it is) to an endpoint that changes the service."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        path = f"/api/performance/{name}"
        if content:
            return self.http.post(path, content=content, headers=headers)
        return self.http.post(path, json={} if body is None else body, headers=headers)

    def invalidate(self, **body: object) -> Tree:
        """Invalidate keys, a prefix or a tag; return how many went from each tier."""
        answer = self.command("cache-invalidate", body)
        assert answer.status_code == 200, answer.text
        counts: Tree = answer.json()["data"]["invalidated"]
        return counts

    def await_processed(self, number: int) -> dict[str, int]:
        """Return the counters once *number* conversions have been processed in all."""
        return self.await_counters(lambda counters: counters["conversions_processed"] >= number)

    def await_counters(self, hold: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Return the counters once they *hold*; AssertionError after POLLS answers."""
        for _ in range(POLLS):
            counters = self.counters()
            if hold(counters):
                return counters
        raise AssertionError(f"still {counters}")

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        """Return rows of the service's database, from outside."""
        return rows_of(self.folder, sql, *parameters)


def event_of(event_id: str, **fields: object) -> Tree:
    """Return the body of a page view with *fields* in place of its own."""
    event: Tree = {
        "event_id": event_id,
        "user_id": "u1",
        "site_id": "s1",
        "event_name": "page_view",
        "timestamp": NOW_MS,
        "utm_source": "email",
    }
    return event | fields


def rows_of(folder: Path, sql: str, *parameters: object) -> list[Any]:
    """Return rows of the database in *folder*."""
    connection = sqlite3.connect(folder / "cdp.sqlite")
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()


def rename_source(folder: Path, user: str, source: str) -> None:
    """Let the events of *user* have come from *source*, behind the back of the service."""
    with closing(sqlite3.connect(folder / "cdp.sqlite", timeout=30.0)) as connection, connection:
        sql = "UPDATE user_journeys SET utm_source = ? WHERE user_id = ?"
        assert connection.execute(sql, (source, user)).rowcount > 0


def sources_of(answer: httpx.Response) -> set[str]:
    """Return where the events of a journey came from."""
    assert answer.status_code == 200, answer.text
    return {event["utm_source"] for event in answer.json()["events"]}


@contextmanager
def serving(
    scenario: Scenario,
    folder: Path,
    *,
    redis: str | None = None,
    token: str | None = TOKEN,
    emulate: bool = True,
    host: str = "127.0.0.1",
    limits: ConnectionLimits = DEFAULT_LIMITS,
    otlp: str | None = None,
) -> Iterator[list[Visitor]]:
    """Run the service for *scenario* with its database in *folder*; a visitor per process.

    Its processes begin as copies, which saves a second each; others see to new interpreters.
    """
    with running_service(
        scenario, token=token, folder=folder, redis=redis, emulate=emulate, host=host,
        limits=limits, otlp=otlp, begin=forked,
    ) as service:  # fmt: skip
        visitors = [
            Visitor(httpx.Client(base_url=url, timeout=30.0), folder, scenario, service)
            for url in service.urls
        ]
        try:
            yield visitors
        finally:
            for visitor in visitors:
                visitor.http.close()


@contextmanager
def neighbours(
    scenario: Scenario, folder: Path, *, redis: str
) -> Iterator[tuple[Visitor, Visitor]]:
    """Run two services on one Redis, each with a database of its own that has the same rows."""
    for name in ("one", "other"):
        (folder / name).mkdir()
    with (
        serving(scenario, folder / "one", redis=redis) as (one,),
        serving(scenario, folder / "other", redis=redis) as (other,),
    ):
        yield one, other


def await_end(pid: int) -> None:
    """Return once process *pid* has ended; AssertionError if it does not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(END_LIMIT_MS):
            told = [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "wchan")]
            raise AssertionError(f"process {pid} runs on: {told!r}")
    finally:
        os.close(descriptor)


def problem(answer: httpx.Response, status: int) -> str:
    """Return the message of an error, which is JSON of one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert set(body) == {"success", "error"}
    assert body["success"] is False
    assert set(body["error"]) == {"code", "message"}
    message: str = body["error"]["message"]
    return message
