"""Commands on a D1 database: they ask the platform's own engine, and say what needs a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.platform.operations import of_service
from bench.platform.runtime import TOKEN, Runtime, running
from core.errors import InputError
from core.query import statements
from core.query.d1_schema import apply_schema
from core.query.database import Database, SqliteDatabase
from core.service.launcher import running_service
from edgeproof.main import main
from scenarios.node import Node
from tests.core.service.serving import small_scenario


@pytest.fixture(scope="module")
def runtime(node: Node) -> Iterator[Runtime]:
    """Return a running workerd."""
    with running(node) as found:
        yield found


@pytest.fixture(scope="module")
def filled(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return the id of a D1 database, and a file, after the same operations."""
    name, file = runtime.next_id(), tmp_path_factory.mktemp("d1") / "cdp.sqlite"

    async def fill() -> None:
        database = runtime.open(name)
        await apply_schema(database)
        for each in (database, SqliteDatabase(file, inline=True)):
            await of_service(each)
            await each.close()

    asyncio.run(fill())
    return name, file


@pytest.fixture
def named(
    runtime: Runtime, filled: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    """Let the environment name the filled database."""
    for variable, value in runtime.environment(filled[0]).items():
        monkeypatch.setenv(variable, value)
    return filled


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """Return what a command prints: its output, or the line with which it refuses."""
    assert main([str(each) for each in arguments]) == code
    shown = capsys.readouterr()
    assert TOKEN not in shown.out + shown.err
    return shown.err if code else shown.out


@pytest.mark.parametrize(
    "command", [("queue", "status"), ("queue", "dead"), ("outbox", "status"), ("outbox", "dead")]
)
def test_status_and_dead_letters_are_those_of_a_file(
    named: tuple[str, Path], capsys: pytest.CaptureFixture[str], command: tuple[str, str]
) -> None:
    of_d1 = said(capsys, *command, "--database", "d1", "--json")
    assert json.loads(of_d1) == json.loads(said(capsys, *command, "--db", named[1], "--json"))
    plain = said(capsys, *command, "--database", "d1", "--plain")
    assert plain == said(capsys, *command, "--db", named[1], "--plain").replace(
        f"--db {named[1]}", "--database d1"
    )


def test_account_is_that_of_a_file(
    named: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    name, file = named
    of_d1 = json.loads(said(capsys, "attribute", "--database", "d1", "--json"))
    of_file = json.loads(said(capsys, "attribute", "--db", file, "--json"))
    assert of_d1["source"] == f"D1 database {name}"
    copied = of_d1["notices"].pop(0)
    assert copied.startswith(f"D1 database {name}: ")
    assert copied.endswith("rows were copied to be read")
    assert of_d1 | {"source": ""} == of_file | {"source": ""}


def test_retry_queues_dead_letters_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = runtime.next_id()

    async def fill() -> None:
        database: Database = runtime.open(name)
        await apply_schema(database)
        await of_service(database)
        await database.close()

    asyncio.run(fill())
    for variable, value in runtime.environment(name).items():
        monkeypatch.setenv(variable, value)
    assert said(capsys, "outbox", "retry", "--database", "d1") == "Queued 1 delivery again.\n"
    assert json.loads(said(capsys, "outbox", "dead", "--database", "d1", "--json")) == {"dead": []}
    refused = said(capsys, "outbox", "retry", "--database", "d1", "--id", "c99", code=2)
    assert f"not among the 0 dead conversions of D1 database {name}; " in refused


def test_database_without_the_schema_is_refused_with_the_remedy(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = runtime.next_id()
    for variable, value in runtime.environment(name).items():
        monkeypatch.setenv(variable, value)
    refused = said(capsys, "queue", "status", "--database", "d1", code=2)
    assert f"D1 database {name}: it has no tables of edgeproof's service; apply" in refused
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "wrong")
    refused = said(capsys, "queue", "status", "--database", "d1", code=2)
    assert "Authentication error (code 10000); check CLOUDFLARE_API_TOKEN" in refused
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN")
    refused = said(capsys, "attribute", "--database", "d1", code=2)
    assert "set CLOUDFLARE_API_TOKEN (an API token" in refused


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("queue status", "give the database: --db FILE or --database d1, one of them"),
        ("queue status --db x --database d1", "--db FILE or --database d1, one of them"),
        ("outbox dead --database postgres", "--database postgres: use d1, or --db FILE"),
        ("attribute --database d2", "--database d2: use d1, or --db FILE"),
        ("attribute --database d1 --paths x.csv", "--db FILE, --database d1 or --paths"),
        ("attribute fit --database d1", "fit needs a local file, which it reads and writes"),
        ("attribute store --database d1", "store needs a local file"),
        ("attribute recount --database d1", "recount needs a local file"),
        ("attribute --database d1 --bootstrap 50", "--bootstrap needs --paths"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    command: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = said(capsys, *command.split(), code=2)
    assert says in refused
    assert refused.count("\n") == 1


def test_a_service_on_d1_attributes_what_it_is_told(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = runtime.next_id()
    for variable, value in runtime.environment(name).items():
        monkeypatch.setenv(variable, value)
    scenario = small_scenario("on-d1", topology={"processes": 1})
    with (
        running_service(scenario, token="t", database="d1") as service,
        httpx.Client(base_url=service.urls[0], timeout=60.0) as client,
    ):
        for number, event in enumerate(({}, {"conversion_id": "c1", "value": 60.0})):
            body = {
                "event_id": f"e{number}", "user_id": "u1", "site_id": "s0",
                "event_name": "page_view", "utm_source": "email",
                "timestamp": 1_767_225_600_000 + number,
            } | event  # fmt: skip
            assert client.post("/track", json=body).status_code == 202
        again = client.post("/track", json=body).json()
        assert again == {"accepted": True, "duplicate": True}
        credits = client.get("/attribution/c1", params={"model": "linear"}).json()
        assert [touch["utm_source"] for touch in credits["touchpoints"]] == ["email"]
        bearer = {"Authorization": "Bearer t"}
        stats = client.get("/api/performance/query-stats", headers=bearer).json()
        assert stats["data"]["statements"]["insert_event"]["rows_written"] == 2 * 3  # as D1 counts
    assert service.faults == []  # the queue was finished before the service ended

    async def stored() -> list[object]:
        database = runtime.open(name)
        rows: list[object] = [*await database.read(statements.CHANNEL_PERFORMANCE, ("linear", 9))]
        await database.close()
        return rows

    assert asyncio.run(stored()) == [("email", 1, 1, 60)]
    counts = json.loads(said(capsys, "queue", "status", "--database", "d1", "--json"))
    assert counts["due"] == counts["dead"] == 0
    # Another scenario's parameters would need the stored credits anew.
    other = small_scenario("other", topology={"processes": 1}, attribution={"half_life": "1d"})
    with (
        pytest.raises(InputError, match="computing them anew needs a local file"),
        running_service(other, token="t", database="d1"),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--database d2", "--database d2: use d1, or --data DIR for a local file"),
        ("--database d1 --data somewhere", "--data somewhere: it keeps a local file"),
        ("--database d1 --population", "--population needs a local file"),
        ("--database d1 --synchronous full", "--synchronous has no effect on --database d1"),
        ("--database d1 --workers 2", "has 2 processes, which share a local file"),
    ],
)
def test_what_a_service_on_d1_cannot_do_is_one_line(
    options: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = said(capsys, "serve", "baseline", *options.split(), code=2)
    assert says in refused
    assert refused.count("\n") == 1
