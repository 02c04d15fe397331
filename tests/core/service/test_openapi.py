"""Claims about the OpenAPI document: it is true of the live service, and complete."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from starlette.routing import Route

from core.service.app import create_app
from core.service.openapi import document
from core.service.plan import WorkerPlan
from tests.core.service.serving import (
    MODELS,
    NOW_MS,
    TOKEN,
    Tree,
    Visitor,
    event_of,
    serving,
    small_scenario,
)

SCHEMATHESIS = ("-m", "schemathesis.cli", "run", "--checks", "all", "--max-examples", "20",
                "--seed", "1", "--generation-database", "none", "--warnings", "off",
                "--no-color")  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Visitor]]:
    """Return clients of the two workers of one service, on which slow queries were seen."""
    scenario = small_scenario(
        "documented",
        topology={"processes": 2, "isolates": 3},
        tiers={"tags": True, "l3": {"round_trip": "60ms"}},
    )
    with serving(scenario, tmp_path_factory.mktemp("documented")) as visitors:
        for visitor in visitors:
            visitor.get("/journey/u1")
        yield visitors


@pytest.fixture(scope="module")
def described(pair: list[Visitor]) -> Tree:
    """Return the document as the service gives it."""
    answer = pair[0].http.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    found: Tree = answer.json()
    return found


def test_schemathesis_finds_nothing(visitor: Visitor, tmp_path: Path) -> None:
    url = f"{visitor.service.urls[0]}/openapi.json"
    done = subprocess.run(
        [sys.executable, *SCHEMATHESIS, "--header", f"Authorization: Bearer {TOKEN}", url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,  # a guard: it takes about 15 s
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
    (tested,) = re.findall(r"Tested: (\d+)", done.stdout)
    # It leaves out the path that it read the document from.
    assert int(tested) == len([*operations(document(visitor.scenario))]) - 1
    (passed,) = re.findall(r"(\d+) passed, \d+ skipped\n\nSeed", done.stdout)
    assert int(passed) > 500
    assert visitor.service.logged() == ""


def operations(described: Tree) -> Iterator[tuple[str, str, Tree]]:
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_document_is_the_one_of_the_scenario(pair: list[Visitor], described: Tree) -> None:
    assert described == document(pair[0].scenario)
    isolate = described["components"]["parameters"]["isolate"]["schema"]
    assert isolate["maximum"] == 2
    invalidation = described["paths"]["/api/performance/cache-invalidate"]["post"]
    ways = invalidation["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert [way["required"] for way in ways] == [["keys"], ["prefix"], ["tag"]]
    assert described["components"]["parameters"]["model"]["schema"]["enum"] == [*MODELS]


def test_document_has_every_path_and_method_and_no_other(described: Tree, tmp_path: Path) -> None:
    plan = WorkerPlan(
        scenario=small_scenario("x"), position=0, folder=tmp_path, redis=None, emulate=False
    )
    routes: dict[str, set[str]] = {}
    for route in create_app(plan).routes:
        assert isinstance(route, Route)
        path = re.sub(r"\{.*?\}", "{}", route.path)
        routes[path] = {method.lower() for method in route.methods or ()}
    told: dict[str, set[str]] = {}
    for path, method, _ in operations(described):
        told.setdefault(re.sub(r"\{.*?\}", "{}", path), set()).add(method)
    assert told == routes


def test_schemas_are_schemas(described: Tree) -> None:
    for schema in described["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


# --- real answers ------------------------------------------------------------------------------


def check(described: Tree, answer: httpx.Response) -> None:
    """Fail unless the document allows this answer to its request."""
    path = re.sub(r"^/(journey|attribution)/.*", r"/\1/{}", answer.request.url.path)
    path = next(known for known in described["paths"] if re.sub(r"\{.*?\}", "{}", known) == path)
    operation = described["paths"][path][answer.request.method.lower()]
    told = operation["responses"][str(answer.status_code)]
    if "$ref" in told:
        told = described["components"]["responses"][told["$ref"].rpartition("/")[2]]
    assert answer.headers["Content-Type"] in told["content"]
    for name, header in told.get("headers", {}).items():
        if "$ref" in header:
            header = described["components"]["headers"][name]
        assert not header.get("required") or name in answer.headers
        if name in answer.headers:
            jsonschema_rs.validate(header["schema"], answer.headers[name])
    schema = {**told["content"]["application/json"]["schema"],
              "components": described["components"]}  # fmt: skip
    jsonschema_rs.validate(schema, answer.json(), validate_formats=True)


def asked(visitor: Visitor, *paths: str, **headers: str) -> Iterator[httpx.Response]:
    for path in paths:
        yield visitor.http.get(path, headers=headers)


def test_answers_of_the_data_paths_are_as_described(pair: list[Visitor], described: Tree) -> None:
    visitor = pair[1]
    user = visitor.fresh("user")
    sale = {"conversion_id": f"of-{user}", "value": 3}
    events: list[Tree] = [
        {"timestamp": NOW_MS - 3, "utm_term": "boots"},
        {"utm_source": None, "timestamp": NOW_MS - 2.0},
        {"timestamp": NOW_MS, **sale}, {"site_id": "nowhere"}, {"timestamp": "now"},
        {"event_name": "x" * 70_000},
    ]  # fmt: skip
    statuses = []
    for event in events:
        answer = visitor.http.post(
            "/track", json=event_of(visitor.fresh("e"), user_id=user, **event)
        )
        statuses.append(answer.status_code)
        check(described, answer)
    assert statuses == [202, 202, 202, 403, 400, 413]
    paths = [
        *(f"/attribution/of-{user}?model={model}" for model in MODELS),
        *(f"/channels?model={model}" for model in MODELS),
        "/attribution/c1?model=linear", f"/journey/{user}", f"/journey/{user}", "/journey/u1",
        "/journey/none", "/attribution/none?model=linear", "/channels", "/journey/%00",
    ]  # fmt: skip
    counted = {200: 0, 400: 0, 404: 0}
    for answer in asked(visitor, *paths):
        counted[answer.status_code] += 1
        check(described, answer)
    assert counted == {200: 4 + 2 * len(MODELS), 400: 2, 404: 2}


def test_faults_of_the_service_are_as_described(tmp_path: Path) -> None:
    with serving(small_scenario("faulty"), tmp_path, emulate=False) as (visitor,):
        described = document(visitor.scenario)
        visitor.rows("ALTER TABLE user_journeys RENAME TO elsewhere")
        answers = [visitor.get("/journey/u1")]
        with closing(sqlite3.connect(tmp_path / "cdp.sqlite")) as database, database:
            database.execute("UPDATE sites SET max_event_bytes = 'abc'")
        answers.append(visitor.track())
        assert [answer.status_code for answer in answers] == [503, 500]
        for answer in answers:
            check(described, answer)
    for _, _, operation in operations(described):
        assert {"500", "503"} <= set(operation["responses"])


MONITORING = ("stats", "cache-stats", "query-stats", "latency-summary")


def test_answers_of_the_monitoring_paths_are_as_described(
    pair: list[Visitor], described: Tree
) -> None:
    prefix = "/api/performance"
    for visitor in pair:
        for name in MONITORING:
            for query in ("", "?scope=process", "?scope=service"):
                (answer,) = asked(visitor, f"{prefix}/{name}{query}")
                assert answer.status_code == 200
                check(described, answer)
            (answer,) = asked(visitor, f"{prefix}/{name}?scope=x")
            assert answer.status_code == 400
            check(described, answer)
        for query in ("", *(f"?of={part}" for part in ("latencies", "caches", "queries"))):
            (answer,) = asked(visitor, f"{prefix}/figures{query}")
            assert answer.status_code == 200
            check(described, answer)
    slow = pair[0].monitoring("query-stats", "service")["slow"]
    assert len(slow) >= 2  # else the schema of a slow query was not looked at


def test_answers_of_the_commands_are_as_described(pair: list[Visitor], described: Tree) -> None:
    bodies: list[tuple[str, Any, int]] = [
        ("cache-invalidate", {"keys": ["journey:u1"]}, 200),
        ("cache-invalidate", {"prefix": "journey:"}, 200),
        ("cache-invalidate", {"tag": "user:u1"}, 200),
        ("cache-invalidate?scope=process", {"prefix": "journey:"}, 200),
        ("cache-invalidate?scope=x", {"prefix": "journey:"}, 400),
        ("cache-invalidate", {}, 400),
        ("cache-invalidate", {"keys": ["x" * 70_000]}, 413),
        ("run", {}, 200),
        ("run", {"starts_at_ms": NOW_MS}, 200),
        ("run", {"starts_at_ms": -1}, 400),
        ("run?x=1", {}, 400),
    ]
    for name, body, status in bodies:
        answer = pair[0].command(name, body)
        assert answer.status_code == status, answer.text
        check(described, answer)
        refused = pair[0].command(name, body, token="another")
        assert refused.status_code == 401
        check(described, refused)


def test_head_has_the_header_fields_of_get_and_no_body(
    pair: list[Visitor], described: Tree
) -> None:
    moving = {"date", "server-timing", "cache-status", "content-length"}
    seen = 0
    for path, method, _ in operations(described):
        if method != "get":
            continue
        for values in ({"": "c1"}, {"": "none"}):
            target = re.sub(r"\{.*?\}", values[""], path)
            if path.startswith(("/attribution", "/channels")):
                target += "?model=linear"
            get = pair[1].http.get(target)
            again = pair[1].http.get(target)
            head = pair[1].http.head(target)
            assert head.status_code == get.status_code
            assert head.content == b""
            assert set(head.headers) == set(get.headers)
            for name in set(get.headers) - moving:
                assert head.headers[name] == get.headers[name]
            if get.content == again.content:  # else it tells of itself, or of the time
                assert head.headers["content-length"] == str(len(get.content))
            seen += 1
    assert seen == 20
