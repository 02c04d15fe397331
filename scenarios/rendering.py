"""The HTTP request of a workload row, written as the scenario's targets say."""

# Not called requests.py: a locustfile's folder leads sys.path while it is imported, and that
# name would hide the requests package from Locust.

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from json.encoder import encode_basestring_ascii
from typing import NamedTuple
from urllib.parse import quote

from core.endpoint import Endpoint
from core.errors import InputError
from core.event import Event
from core.scenario.endpoint_tables import PLACEHOLDER
from core.scenario.population import Events, conversion_id, model_name, user_id
from core.scenario.scenario import Scenario
from core.scenario.subjects import Subject
from core.scenario.targets import PLACEHOLDERS, Target
from core.scenario.workload import Workload
from core.secrets import references, secret, split
from core.wire import ISOLATE_HEADER
from scenarios.routing import Routing

_WITHOUT_EVENT = {"user_id", "conversion_id", "model", "index", "isolate", "run_id"}
_IN_HEADERS = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_AS_JSON = frozenset(("conversion_id_or_null", "value_or_null"))
_OF_EVERY_REQUEST = ("event_id", "timestamp", "index", "isolate", "run_id")
RAW_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"


class Template:
    """A text with {placeholders}, split once.

    {{name}} is the literal text {name}; all other braces stay as they are. likely: those of the
    known placeholders that a message offers.
    """

    __slots__ = ("_parts", "names")

    def __init__(
        self,
        text: str,
        escape: Callable[[str], str],
        *,
        known: Collection[str],
        where: str,
        likely: Collection[str] | None = None,
    ) -> None:
        self._parts: list[tuple[str, str | None, Callable[[str], str]]] = []
        parts = PLACEHOLDER.split(text)
        literals, escaped, names = parts[::3], parts[1::3], parts[2::3]
        literal = literals[0]
        for plain, name, after in zip(escaped, names, literals[1:], strict=True):
            if plain is not None:
                literal += f"{{{plain}}}{after}"
                continue
            if name not in known:
                offered = ", ".join(sorted(known) if likely is None else likely)
                is_variable = literal.endswith(("$", "%24"))
                remedy = (
                    "headers alone take variables of the environment; send it in one"
                    if is_variable
                    else f"use {offered}"
                )
                raise InputError(
                    f"{where}: {'$' * is_variable}{{{name}}} is not a placeholder; "
                    f"{remedy}, or write {{{{{name}}}}} to send it as it is"
                )
            special = _LITERALS[escape] if name in _AS_JSON and escape in _LITERALS else escape
            self._parts.append((literal, name, special))
            literal = after
        self._parts.append((literal, None, escape))
        self.names = frozenset(name for name in names if name is not None)

    def follow(self, literal: str, other: Template) -> None:
        """Append *literal*, as it is, and *other*."""
        self._parts += [(literal, None, str), *other._parts]
        self.names |= other.names

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text with each placeholder replaced by its escaped value."""
        pieces = []
        for literal, name, escape in self._parts:
            pieces.append(literal)
            if name is not None:
                pieces.append(escape(values[name]))
        return "".join(pieces)


def escape_json(value: str) -> str:
    """Return *value* as it stands between the quotes of a JSON string."""
    return encode_basestring_ascii(value)[1:-1]


def escape_url(value: str) -> str:
    """Return *value* percent-encoded, so that it stays one segment or one query value."""
    return quote(value, safe="")


def escape_header(value: str) -> str:
    """Return *value* with what no header may hold percent-encoded."""
    return quote(value, safe=_IN_HEADERS)


def _unquoted(value: str) -> str:
    return json.loads(value) if value.startswith('"') else value


def _url_literal(value: str) -> str:
    return escape_url(_unquoted(value))


def _header_literal(value: str) -> str:
    return escape_header(_unquoted(value))


# What carries its own quotes is JSON already; outside JSON it goes without them.
_LITERALS: dict[Callable[[str], str], Callable[[str], str]] = {
    escape_json: str,
    escape_url: _url_literal,
    escape_header: _header_literal,
}


_TYPES = {"json": JSON_TYPE, "form": FORM_TYPE, "raw": RAW_TYPE}
_ESCAPES: dict[str, Callable[[str], str]] = {"json": escape_json, "form": escape_url, "raw": str}


class Request(NamedTuple):
    """What goes over the wire for one row, and what is recorded of it."""

    host: int
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    endpoint: int
    subject: int
    intended_ns: int


class _Endpoint:
    """A target, compiled; headers: those that are the same in every request."""

    __slots__ = (
        "body", "headers", "is_conversion", "is_track", "method", "needs_event", "path", "subject",
        "varying",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        target: Target,
        subjects: Mapping[str, Subject],
        secrets: Mapping[str, str] | None,
    ) -> None:
        name = endpoint.name
        self.subject = endpoint.subject if endpoint.subject in subjects else None
        # A number of one's own subject names no user.
        known = PLACEHOLDERS if self.subject is None else (*_OF_EVERY_REQUEST, self.subject)
        likely = (*subjects, *_OF_EVERY_REQUEST) if endpoint.is_stated and subjects else None

        def template(part: str, text: str, escape: Callable[[str], str]) -> Template:
            return Template(text, escape, known=known, where=where(part), likely=likely)

        def header(part: str, text: str) -> Template:
            first, *rest = split(text)
            whole = template(part, first, escape_header)
            for variable, literal in zip(rest[::2], rest[1::2], strict=True):
                value = "" if secrets is None else secret(variable, secrets, where=where(part))
                whole.follow(value, template(part, literal, escape_header))
            return whole

        def where(part: str) -> str:
            return f"endpoints.{name}.{part}"

        self.method = target.method
        path, mark, query = target.path.partition("?")
        self.path = template("path", path, escape_url)
        if mark:
            self.path.follow(mark, template("query", query, escape_url))
        self.body: Template | None = None
        given = {n: header(f"headers.{n}", text) for n, text in target.headers.items()}
        self.varying = [(n, one) for n, one in given.items() if one.names]
        self.headers = {n: one.render({}) for n, one in given.items() if not one.names}
        if target.body is not None:
            is_json = target.body.lstrip()[:1] in ("{", "[", '"')
            kind = target.body_type or ("json" if is_json else "form")
            if "content-type" not in map(str.lower, given):
                self.headers["Content-Type"] = _TYPES[kind]
            self.body = template("body", target.body, _ESCAPES[kind])
        names = self.path.names | (self.body.names if self.body else frozenset())
        for _, one in self.varying:
            names |= one.names
        self.is_track = endpoint.writes == "event"
        self.is_conversion = endpoint.subject == "conversion"
        self.needs_event = self.is_track or bool(names - _WITHOUT_EVENT - {self.subject})


class Renderer:
    """Writes the requests of one workload.

    A body that starts as JSON does is sent as JSON, any other as a form. In a path, a query or a
    form values are percent-encoded; in JSON they are escaped, and `conversion_id_or_null` and
    `value_or_null` bring their own quotes. Of attribution requests, user_id is the conversion's
    owner; `conversion_id` of a tracking request is empty where the event is no conversion.
    """

    __slots__ = (
        "_endpoint", "_endpoints", "_events", "_ids", "_intended", "_isolate", "_routes", "_run_id",
        "_scenario", "_subject", "_users",
    )  # fmt: skip

    def __init__(
        self,
        scenario: Scenario,
        workload: Workload,
        routing: Routing,
        *,
        run_id: str,
        replication: int = 0,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._scenario = scenario
        self._endpoints = compiled(scenario, secrets or {})
        self._ids: dict[str, Callable[[int], str]] = {
            name: workload.ids[name].__getitem__ if name in workload.ids else subject.id_of
            for name, subject in scenario.subjects.items()
        }
        self._events = Events(scenario, run_id=run_id, replication=replication)
        self._run_id = run_id
        self._users = workload.users
        self._intended, self._endpoint = workload.intended_ns, workload.endpoint
        self._subject, self._isolate = workload.subject, workload.isolate
        self._routes = [
            (host, routing.hosts[host], str(header))
            for host, header in zip(routing.host.tolist(), routing.header.tolist(), strict=True)
        ]

    def renew(self, secrets: Mapping[str, str]) -> None:
        """Write the headers of further requests with *secrets*."""
        self._endpoints = compiled(self._scenario, secrets)

    def request(self, index: int) -> Request:
        """Return the request of row *index*."""
        code, subject = int(self._endpoint[index]), int(self._subject[index])
        intended_ns, isolate = int(self._intended[index]), int(self._isolate[index])
        endpoint = self._endpoints[code]
        values = {
            "index": str(index),
            "isolate": str(isolate),
            "run_id": self._run_id,
            "user_id": user_id(subject % self._users if endpoint.is_conversion else subject),
            "conversion_id": conversion_id(subject),
            "model": model_name(subject),
        }
        if endpoint.subject is not None:
            values[endpoint.subject] = self._ids[endpoint.subject](subject)
        if endpoint.needs_event:
            event = self._events.event(index, subject, intended_ns)
            values.update(_event_values(event, is_track=endpoint.is_track))
        host, address, header = self._routes[isolate]
        headers = endpoint.headers.copy()
        headers[ISOLATE_HEADER] = header
        for name, template in endpoint.varying:
            headers[name] = template.render(values)
        body = None if endpoint.body is None else endpoint.body.render(values).encode()
        url = address + endpoint.path.render(values)
        return Request(host, endpoint.method, url, headers, body, code, subject, intended_ns)


def compiled(scenario: Scenario, secrets: Mapping[str, str] | None = None) -> list[_Endpoint]:
    """Return the compiled targets in the order of the endpoints; InputError names a faulty one.

    secrets: the variables that headers take their values from; None to check the texts alone.
    """
    return [
        _Endpoint(each, scenario.targets.of(each.name), scenario.subjects, secrets)
        for each in scenario.endpoints
    ]


def secret_names(scenario: Scenario) -> tuple[str, ...]:
    """Return the environment variables that the headers of *scenario* take secrets from."""
    texts = (
        text
        for name in scenario.endpoints.names
        for text in scenario.targets.of(name).headers.values()
    )
    return tuple(dict.fromkeys(variable for text in texts for variable in references(text)))


def _event_values(event: Event, *, is_track: bool) -> dict[str, str]:
    conversion, value = event.conversion_id, event.value
    values = {
        "event_id": event.event_id,
        "site_id": event.site_id,
        "event_name": event.event_name,
        "timestamp": str(event.timestamp_ms),
        "utm_source": event.utm_source,
        "conversion_id_or_null": "null" if conversion is None else json.dumps(conversion),
        "value_or_null": "null" if value is None else repr(value),
    }
    if is_track:
        values["conversion_id"] = conversion or ""
    return values
