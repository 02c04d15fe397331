"""Requests are written as the targets say, whatever the ids are."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.models import MODELS
from core.endpoints import CDP
from core.errors import InputError
from core.scenario.file import parse_scenario
from core.scenario.scenario import Scenario
from core.scenario.targets import PLACEHOLDERS, TRACK_BODY
from core.scenario.workload import generate_workload
from core.wire import ISOLATE_HEADER
from scenarios.literal_secrets import literal_secrets
from scenarios.rendering import (
    Renderer,
    Request,
    Template,
    compiled,
    escape_header,
    escape_json,
    escape_url,
)
from scenarios.routing import Routing
from tests.scenarios.loads import small_scenario

ids = st.text(st.characters(codec="utf-8"), max_size=40)


def every_request(scenario: Scenario) -> list[Request]:
    workload = generate_workload(scenario)
    routing = Routing.of(scenario.topology, ["http://127.0.0.1:1"])
    renderer = Renderer(scenario, workload, routing, run_id="run")
    return [renderer.request(index) for index in range(len(workload))]


@given(user=ids, conversion=st.none() | ids, value=st.none() | st.floats(0, 1e6))
def test_body_stays_valid_json_for_any_ids(
    user: str, conversion: str | None, value: float | None
) -> None:
    template = Template(TRACK_BODY, escape_json, known=PLACEHOLDERS, where="endpoints.track.body")
    values = dict.fromkeys(PLACEHOLDERS, user) | {
        "timestamp": "1767225600000",
        "conversion_id_or_null": json.dumps(conversion),
        "value_or_null": json.dumps(value),
    }
    event = json.loads(template.render(values))
    assert event["user_id"] == user
    assert event["conversion_id"] == conversion
    assert event["value"] == value


@given(conversion=ids, model=ids)
def test_path_stays_one_path_for_any_ids(conversion: str, model: str) -> None:
    text = "/attribution/{conversion_id}?model={model}"
    template = Template(text, escape_url, known=PLACEHOLDERS, where="endpoints.attribution.path")
    rendered = template.render({"conversion_id": conversion, "model": model})
    assert rendered.isascii()
    parts = urlsplit(rendered)
    assert parts.fragment == ""
    assert [unquote(step) for step in parts.path.split("/")] == ["", "attribution", conversion]
    assert parse_qs(parts.query, keep_blank_values=True) == {"model": [model]}


def test_json_braces_in_a_body_stay() -> None:
    text = '{"a": {}, "b": {"user": "{user_id}"}, "c": [{ }]}'
    template = Template(text, escape_json, known=PLACEHOLDERS, where="endpoints.track.body")
    assert json.loads(template.render({"user_id": "u1"})) == {
        "a": {},
        "b": {"user": "u1"},
        "c": [{}],
    }


def test_quoted_values_lose_their_quotes_outside_json() -> None:
    text = "/x?c={conversion_id_or_null}&v={value_or_null}"
    template = Template(text, escape_url, known=PLACEHOLDERS, where="endpoints.track.path")
    values = {"conversion_id_or_null": '"a b"', "value_or_null": "null"}
    assert template.render(values) == "/x?c=a%20b&v=null"


def test_unknown_placeholder_names_the_target_and_the_list() -> None:
    scenario = small_scenario(targets={"journey": {"path": "/journey/{usr}"}})
    with pytest.raises(InputError, match=r"endpoints\.journey\.path: \{usr\} .*user_id"):
        every_request(scenario)


def test_requests_carry_the_rows_of_the_workload() -> None:
    scenario = small_scenario(rate=400)
    workload = generate_workload(scenario)
    for index, request in enumerate(every_request(scenario)):
        subject = int(workload.subject[index])
        assert request.intended_ns == workload.intended_ns[index]
        path = request.url.removeprefix("http://127.0.0.1:1")
        match CDP.names[request.endpoint]:
            case "track":
                assert request.body is not None
                event = json.loads(request.body)
                assert (request.method, path) == ("POST", "/track")
                assert event["event_id"] == f"run-{index}"
                assert event["user_id"] == f"u{subject}"
                assert request.headers["Content-Type"] == "application/json"
            case "attribution":
                assert path == f"/attribution/c{subject}?model={MODELS[subject % len(MODELS)]}"
            case "journey":
                assert path == f"/journey/u{subject}"
            case "channels":
                assert path == f"/channels?model={MODELS[subject]}"


def test_conversions_among_the_events_bring_id_and_value() -> None:
    bodies = [json.loads(r.body) for r in every_request(small_scenario(rate=900)) if r.body]
    conversions = [body for body in bodies if body["conversion_id"] is not None]
    assert 0 < len(conversions) < len(bodies)
    assert all(body["value"] > 0 for body in conversions)
    assert len({body["event_id"] for body in bodies}) == len(bodies)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ('["{user_id}"]', "application/json", '["u0"]'),
        ("user={user_id}&site={site_id}", "application/x-www-form-urlencoded", "user=u0&site=s0"),
    ],
)
def test_body_is_json_where_it_looks_like_it(body: str, content_type: str, expected: str) -> None:
    target: dict[str, Any] = {"method": "POST", "path": "/track", "body": body}
    scenario = small_scenario(targets={"track": target})
    first = next(r for r in every_request(scenario) if r.endpoint == 0 and r.subject == 0)
    assert first.body == expected.encode()
    assert first.headers["Content-Type"] == content_type


def test_isolate_within_its_process_goes_into_the_header() -> None:
    scenario = small_scenario(topology={"processes": 2, "isolates": 3}, rate=300)
    workload = generate_workload(scenario)
    routing = Routing.of(scenario.topology, ["http://127.0.0.1:1", "http://127.0.0.1:2"])
    renderer = Renderer(scenario, workload, routing, run_id="run")
    for index, isolate in enumerate(workload.isolate.tolist()):
        request = renderer.request(index)
        assert request.host == isolate // 3
        assert request.url.startswith(routing.hosts[isolate // 3])
        assert request.headers[ISOLATE_HEADER] == str(isolate % 3)


def with_headers(**headers: str) -> Scenario:
    return small_scenario(targets={"track": {"headers": headers}})


def sent_headers(scenario: Scenario, secrets: dict[str, str]) -> list[dict[str, str]]:
    workload = generate_workload(scenario)
    routing = Routing.of(scenario.topology, ["http://127.0.0.1:1"])
    renderer = Renderer(scenario, workload, routing, run_id="run", secrets=secrets)
    return [renderer.request(index).headers for index in range(len(workload))]


def test_headers_take_secrets_and_placeholders() -> None:
    scenario = with_headers(
        Authorization="Bearer ${TOKEN}", Accept="a/b", **{"Idempotency-Key": "k-${TOKEN}-{index}"}
    )
    requests = sent_headers(scenario, {"TOKEN": "a{index}b"})
    tracked = [(n, headers) for n, headers in enumerate(requests) if "Accept" in headers]
    assert tracked
    assert all("Authorization" not in headers for headers in requests if "Accept" not in headers)
    for index, headers in tracked:
        assert headers["Authorization"] == "Bearer a{index}b"  # a secret is no template
        assert headers["Idempotency-Key"] == f"k-a{{index}}b-{index}"
        assert headers["Content-Type"] == "application/json"
        assert headers[ISOLATE_HEADER]


def test_content_type_of_the_scenario_stands_alone() -> None:
    requests = sent_headers(with_headers(**{"content-type": "application/x-ndjson"}), {})
    types = {v for headers in requests for n, v in headers.items() if n.lower() == "content-type"}
    assert types == {"application/x-ndjson"}


def test_variable_that_is_not_set_is_named_with_its_place() -> None:
    scenario = with_headers(Authorization="Bearer ${TOKEN}")
    compiled(scenario)  # a check of the file needs no secret
    with pytest.raises(
        InputError, match=r"^endpoints\.track\.headers\.Authorization: .* TOKEN is "
    ):
        compiled(scenario, {})


def test_renewed_secret_is_sent_from_then_on() -> None:
    scenario = with_headers(Authorization="Bearer ${TOKEN}")
    workload = generate_workload(scenario)
    routing = Routing.of(scenario.topology, ["http://127.0.0.1:1"])
    renderer = Renderer(scenario, workload, routing, run_id="run", secrets={"TOKEN": "old"})
    index = int((workload.endpoint == 0).argmax())
    assert renderer.request(index).headers["Authorization"] == "Bearer old"
    renderer.renew({"TOKEN": "new"})
    assert renderer.request(index).headers["Authorization"] == "Bearer new"


@given(value=st.text(max_size=40))
def test_header_holds_no_line_break_for_any_ids(value: str) -> None:
    encoded = escape_header(value)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert unquote(encoded) == value


@pytest.mark.parametrize(
    ("fields", "place", "remedy"),
    [
        ({"path": "/items/{itme}"}, "path: {itme}", "use item, event_id,"),
        ({"path": "/items", "query": {"near": "{nope}"}}, "query: {nope}", "use item, event_id,"),
        ({"path": "/a", "query": {"k": "${TOKEN}"}}, "query: ${TOKEN}", "headers alone take"),
        ({"path": "/a", "body": {"k": "${TOKEN}"}}, "body: ${TOKEN}", "headers alone take"),
    ],
)
def test_unknown_placeholder_is_named_with_its_place_and_those_of_the_scenario(
    fields: dict[str, Any], place: str, remedy: str
) -> None:
    endpoints = {"items": {"path": "/items/{item}"}, "other": fields}
    data = {"name": "shop", "subjects": {"item": {"count": 9}}, "endpoints": endpoints}
    scenario = parse_scenario(data, source="test")
    with pytest.raises(InputError, match=re.escape(f"endpoints.other.{place}")) as caught:
        compiled(scenario)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("path", ["items", "http://host/items", "/a b", "/a\n"])
def test_path_that_cannot_be_sent_is_refused(path: str) -> None:
    data = {"name": "shop", "endpoints": {"items": {"path": path}}}
    with pytest.raises(InputError, match=r"endpoints\.items\.path: .*(begin it with /|as %20)"):
        parse_scenario(data, source="test")


def test_literal_secrets_of_queries_and_bodies_are_found() -> None:
    fields = {
        "path": "/items/{item}",
        "query": {"api_key": "abcdef", "token": "{item}", "near": "x"},
        "body": {"sku": "a", "users": [{"password": "hunter2", "name": "b"}]},
    }
    data = {
        "name": "shop", "subjects": {"item": {"count": 9}}, "endpoints": {"items": fields},
    }  # fmt: skip
    assert literal_secrets(parse_scenario(data, source="test")) == [
        "endpoints.items.query.api_key", "endpoints.items.body.users.password",
    ]  # fmt: skip
    assert literal_secrets(small_scenario()) == []
