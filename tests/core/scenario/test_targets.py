"""Claims about how requests are written: methods, headers, expected statuses."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InputError
from core.scenario.file import load_scenario, parse_scenario
from core.scenario.statuses import expected_statuses
from core.scenario.targets import Target
from scenarios.catalogue import find_scenario


def target(**fields: Any) -> Target:
    scenario = parse_scenario({"name": "t", "endpoints": {"track": fields}}, source="t.toml")
    return scenario.targets.of("track")


@pytest.mark.parametrize(
    ("statuses", "expected", "unexpected"),
    [
        ("2xx", {200, 204, 299}, {199, 300}),
        ("200-204", {200, 204}, {205}),
        (204, {204}, {200}),
        ([201, "4XX"], {201, 404, 499}, {200, 500}),
    ],
)
def test_expected_statuses(statuses: Any, expected: set[int], unexpected: set[int]) -> None:
    found = expected_statuses(target(status=statuses).status)
    assert expected <= found
    assert not unexpected & found


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": [99]}, "99 is no status of an answer"),
        ({"status": "299-200"}, "no status"),
        ({"status": []}, "no status is expected"),
        ({"status": [True]}, "True is no status"),
        ({"method": "put"}, "write it in capitals"),
        ({"method": "CONNECT"}, "asks for a proxy"),
        ({"headers": {"a b": "x"}}, "'a b' is no name of a header"),
        ({"headers": {"X": "a\r\nY: b"}}, "a line break"),
        ({"headers": {"Content-Length": "3"}}, "leave it out"),
        ({"headers": {"Host": "a", "host": "b"}}, "stands twice"),
        ({"headers": {"X": "${a b}"}}, "names no environment variable"),
    ],
)
def test_faulty_target_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=r"t\.toml: endpoints\.track") as caught:
        target(**fields)
    assert reason in str(caught.value)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PURGE"])
def test_any_method_is_taken(method: str) -> None:
    assert target(method=method).method == method


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer hunter2hunter2"}, {"X-Api-Key": "hunter2hunter2"},
     {"Cookie": 'a="hunter2hunter2"'}, {"Authorization": ["hunter2hunter2"]},
     "Bearer hunter2hunter2", {"X-Auth": "hunter2hunter2"}, {"X-Any": "bearer  hunter2hunter2"},
     {"X-Any": "Basic hunter2hunter2="}, {"Forwarded-By": " Token hunter2hunter2"}],
)  # fmt: skip
def test_secret_in_the_file_is_refused_and_not_shown(headers: Any) -> None:
    with pytest.raises(InputError) as caught:
        target(headers=headers)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Any", "Bearer ${T}"), ("X-Any", "Bearer {user_id}"), ("X-Any", "token of my thanks"),
        ("X-Author", "hunter2"), ("X-Auth", ""), ("X-Any", "Basic"),
    ],
)  # fmt: skip
def test_header_that_is_no_secret_is_taken(name: str, value: str) -> None:
    assert target(headers={name: value}).headers == {name: value}


def test_secret_of_an_option_is_refused_and_not_shown() -> None:
    text = "endpoints.track.headers.Authorization=Bearer hunter2hunter2"
    with pytest.raises(InputError, match=r'"Bearer \$\{NAME\}" and set') as caught:
        load_scenario(find_scenario("baseline"), overrides=[text])
    assert "hunter2" not in str(caught.value)


def test_variable_of_the_environment_stays_a_name_in_the_file() -> None:
    headers = {"Authorization": "Bearer ${STAGING_TOKEN}"}
    assert target(headers=headers).headers == headers
