"""The OpenAPI document of the service, as it is for one scenario: `GET /openapi.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.application.behaviour import Behaviour, behaviours_of
from core.endpoint import Endpoint
from core.endpoints import EndpointTable
from core.metrics.stage import in_header
from core.scenario.scenario import Scenario
from core.service.requests import MAX_BODY_BYTES
from core.service.schemas import (
    CONVERSION,
    IDENTIFIER,
    KEYS,
    MODEL,
    PAGE_VIEW,
    RUN,
    SCHEMAS,
    TEXT,
    Schema,
    named,
    part,
)
from core.service.statistics import PARTS
from core.wire import ISOLATE_HEADER, TOKEN_VARIABLE

PATH = "/openapi.json"
METRICS_PATH = "/metrics"
METRICS_TYPES = ("application/openmetrics-text", "text/plain")

_FAULTS = {
    400: "Something in the request is not as it must be; the message names it.",
    401: "The token is missing or another one.",
    403: "Not allowed: the event's site takes no such event, or the service has no token.",
    404: "Nothing is known under this id.",
    408: "The request did not arrive in time (serve --receive-timeout); the connection ends.",
    413: f"The body is larger than {MAX_BODY_BYTES:,} bytes.",
    414: "The request line is too long.",
    422: "The conversion's data cannot be used; the message says why.",
    431: "The header fields are too long.",
    500: "A fault of the service; its traceback is in the output of edgeproof serve.",
    503: "A store failed or has too much to do, there are too many connections, or the service is "
    "ending; try again later.",
    504: "A store did not answer in time; try again later.",
}
_ANY = (400, 408, 414, 431, 500, 503)


def document(
    scenario: Scenario,
    behaviours: Mapping[str, Behaviour] | None = None,
    *,
    is_public: bool = False,
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a service for *scenario*.

    behaviours: of its endpoints, where they are known already. is_public: whether others than its
    machine reach it, so that monitoring wants the token.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgeproof reference service",
            "version": "1",
            "description": "A customer data platform at the edge: tracking, attribution, journeys "
            "and channels behind a tiered cache, and what it says of itself. HEAD is answered "
            "wherever GET is, with the same header fields. Every other method is answered 405 "
            "with Allow, every other path 404.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            **_data_paths(scenario.endpoints, behaviours or behaviours_of(scenario.endpoints)),
            **_monitoring_paths(has_tags=scenario.tiers.tags, is_public=is_public),
            **_metrics_path(is_public=is_public),
            **_own_path(),
        },
        "components": {
            "schemas": SCHEMAS,
            "parameters": _parameters(scenario.topology.isolates),
            "headers": _HEADERS,
            "responses": {f"E{status}": _fault(status) for status in _FAULTS},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"The value of {TOKEN_VARIABLE} at the start of the service.",
                }
            },
        },
    }


_HEADERS: dict[str, Any] = {
    "Server-Timing": {
        "description": "How long each stage took, in milliseconds (W3C Server Timing). Names may "
        f"repeat. {'; '.join(f'{stage.told_as}: {stage.title}' for stage in in_header())}.",
        "required": True,
        "schema": {"type": "string", "pattern": "total;dur="},
    },
    "Cache-Status": {
        "description": "Who answered each cache read (RFC 9211), named by its parameter read.",
        "schema": {"type": "string", "pattern": "^L[12]; "},
    },
}


def _parameters(isolates: int) -> dict[str, Any]:
    return {
        "isolate": {
            "name": ISOLATE_HEADER,
            "in": "header",
            "description": "The isolate of this process that answers; 0 without it.",
            "schema": {"type": "integer", "minimum": 0, "maximum": isolates - 1},
        },
        "model": {"name": "model", "in": "query", "required": True, "schema": MODEL},
        "scope": {
            "name": "scope",
            "in": "query",
            "description": "The whole service, which is the default, or the process that answers.",
            "schema": part("Scope"),
        },
    }


def _fault(status: int) -> dict[str, Any]:
    fault: dict[str, Any] = {"description": _FAULTS[status], "content": _json(part("Error"))}
    if status == 401:
        fault["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}
    return fault


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _answers(
    status: int, description: str, schema: Schema, *faults: int, is_timed: bool = False
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": description, "content": _json(schema)}
    if is_timed:
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}
    refused = {str(code): {"$ref": f"#/components/responses/E{code}"} for code in (*_ANY, *faults)}
    return {str(status): answer, **refused}


def _with(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _reading(operation: str, summary: str, parameters: list[Any], answers: Any) -> dict[str, Any]:
    get = {
        "operationId": operation, "summary": summary, "parameters": parameters,
        "responses": answers,
    }  # fmt: skip
    head = {
        code: {name: what for name, what in answer.items() if name != "content"}
        if "$ref" not in answer
        else {"description": _FAULTS[int(code)]}
        for code, answer in answers.items()
    }
    return {
        "get": get,
        "head": {**get, "operationId": f"{operation}_head", "responses": head},
    }


def _body(schema: Schema) -> dict[str, Any]:
    return {
        "required": True,
        "description": f"JSON, whatever the Content-Type says; at most {MAX_BODY_BYTES:,} bytes.",
        "content": _json(schema),
    }


def _data_paths(
    endpoints: EndpointTable, behaviours: Mapping[str, Behaviour]
) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = endpoint.path.partition("?")[0]
        what = _writing if endpoint.writes == "event" else _asking
        operations = what(endpoint, behaviours[endpoint.name], endpoints)
        paths.setdefault(path, {}).update(operations)
    return paths


def _writing(endpoint: Endpoint, behaviour: Behaviour, endpoints: EndpointTable) -> dict[str, Any]:
    answers = _answers(
        endpoint.status, behaviour.answers, dict(behaviour.schema), *behaviour.faults, is_timed=True
    )
    return {
        "post": {
            "operationId": endpoint.name,
            "summary": endpoint.summary or endpoint.title,
            "parameters": _with("isolate"),
            "requestBody": _body({"anyOf": [PAGE_VIEW, CONVERSION], "examples": _EVENTS}),
            "responses": _linked(answers, endpoint.status, endpoints),
        }
    }


def _asking(endpoint: Endpoint, behaviour: Behaviour, _: EndpointTable) -> dict[str, Any]:
    parameters: list[Any] = []
    if endpoint.identifier is not None:
        parameters.append(
            {
                "name": endpoint.identifier, "in": "path", "required": True, "schema": IDENTIFIER,
                "description": "Percent-encoded UTF-8.",
            }
        )  # fmt: skip
    for name in endpoint.parameters:
        if name == "model":
            parameters += _with(name)
        else:
            parameters.append({"name": name, "in": "query", "required": True, "schema": IDENTIFIER})
    summary = endpoint.summary or endpoint.title
    answers = _answers(
        endpoint.status, behaviour.answers, dict(behaviour.schema), *behaviour.faults, is_timed=True
    )
    operations = _reading(endpoint.name, summary, [*parameters, *_with("isolate")], answers)
    return operations if endpoint.method == "GET" else {endpoint.method.lower(): operations["get"]}


_EVENTS = [
    {
        "event_id": "e1", "user_id": "u1", "site_id": "s1", "event_name": "page_view",
        "timestamp": 1767225600000, "utm_source": "google", "utm_medium": "cpc",
    },
    {
        "event_id": "e2", "user_id": "u1", "site_id": "s1", "event_name": "purchase",
        "timestamp": 1767225660000, "conversion_id": "order-1", "value": 49.9,
    },
]  # fmt: skip


_SHOWN: dict[str, Any] = {
    "journey": {
        "parameters": {"user_id": "$request.body#/user_id"},
        "description": "As soon as the caches that hold it let go of it.",
    },
    "attribution": {"parameters": {"conversion_id": "$request.body#/conversion_id"}},
}


def _linked(answers: dict[str, Any], status: int, endpoints: EndpointTable) -> dict[str, Any]:
    """Return *answers* of an endpoint that writes events, with where an event shows."""
    links = {
        name: {"operationId": name, **link} for name, link in _SHOWN.items() if name in endpoints
    }
    if links:
        answers[str(status)]["links"] = links
    return answers


def _monitoring_paths(*, has_tags: bool, is_public: bool) -> dict[str, Any]:
    locked = (401, 403) if is_public else ()

    def figures(name: str, schema: str, summary: str) -> dict[str, Any]:
        answers = _answers(200, "The figures.", part(schema), *locked)
        operations = _reading(name.replace("-", "_"), summary, _with("scope"), answers)
        return _secured(operations, is_public)

    def command(name: str, schema: Schema, answer: str, parameters: list[Any]) -> dict[str, Any]:
        return {
            "post": {
                "operationId": name,
                "summary": answer,
                "security": [{"token": []}],
                "parameters": parameters,
                "requestBody": _body(schema),
                "responses": _answers(200, answer, part(_ANSWERS[name]), 401, 403, 413),
            }
        }

    prefix = "/api/performance"
    of = {
        "name": "of", "in": "query", "schema": {"type": "string", "enum": list(PARTS)},
        "description": f"What is told; {PARTS[0]} without it.",
    }  # fmt: skip
    ways = [KEYS, named("prefix"), *([named("tag")] if has_tags else [])]
    return {
        f"{prefix}/stats": figures(
            "stats", "Stats", "Latencies of all kinds, and cumulative histograms and counters."
        ),
        f"{prefix}/cache-stats": figures("cache-stats", "CacheStats", "What the caches did."),
        f"{prefix}/query-stats": figures(
            "query-stats", "QueryStats", "Query times by statement, and the slow queries."
        ),
        f"{prefix}/latency-summary": figures(
            "latency-summary", "LatencySummary", "Latencies by kind and endpoint."
        ),
        f"{prefix}/figures": _secured(_reading(
            "figures",
            "What this process has counted, in a form that adds up over processes.",
            [of],
            _answers(200, "The figures.", part("Figures"), *locked),
        ), is_public),
        f"{prefix}/cache-invalidate": command(
            "cache_invalidate", {"oneOf": ways}, "How many entries went from each tier.",
            _with("scope"),
        ),
        f"{prefix}/run": command("run", RUN, "When the run starts that was prepared.", []),
    }  # fmt: skip


_ANSWERS = {"cache_invalidate": "Invalidated", "run": "RunStart"}


def _metrics_path(*, is_public: bool) -> dict[str, Any]:
    answers = _answers(200, "The metrics.", TEXT, *((401, 403) if is_public else ()))
    answers["200"]["content"] = {kind: {"schema": TEXT} for kind in METRICS_TYPES}
    summary = "Counters, gauges and histograms as Prometheus reads them (OpenMetrics)."
    return {
        METRICS_PATH: _secured(_reading("metrics", summary, _with("scope"), answers), is_public)
    }


def _secured(path: dict[str, Any], is_public: bool) -> dict[str, Any]:
    if is_public:
        path = {method: {**what, "security": [{"token": []}]} for method, what in path.items()}
    return path


def _own_path() -> dict[str, Any]:
    answers = _answers(200, "This document.", {"type": "object"})
    return {PATH: _reading("openapi", "This document.", [], answers)}
