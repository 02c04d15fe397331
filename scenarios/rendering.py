"""The HTTP request of a workload row, written as the scenario's targets say."""

# Not called requests.py: a locustfile's folder leads sys.path while it is imported, and that
# name would hide the requests package from Locust.

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from json.encoder import encode_basestring_ascii
from typing import NamedTuple
from urllib.parse import quote

from core.endpoint import Endpoint
from core.errors import InputError
from core.event import Event
from core.scenario.population import Events, conversion_id, model_name, user_id
from core.scenario.scenario import Scenario
from core.scenario.targets import PLACEHOLDERS, Target
from core.scenario.workload import Workload
from core.secrets import references, secret, split
from core.wire import ISOLATE_HEADER
from scenarios.routing import Routing

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WITHOUT_EVENT = {"user_id", "conversion_id", "model", "index", "isolate", "run_id"}
_IN_HEADERS = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_AS_JSON = frozenset(("conversion_id_or_null", "value_or_null"))
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"


class Template:
    """A text with {placeholders}, split once; other braces stay as they are."""

    __slots__ = ("_parts", "names")

    def __init__(
        self, text: str, escape: Callable[[str], str], *, known: Collection[str], where: str
    ) -> None:
        self._parts: list[tuple[str, str | None, Callable[[str], str]]] = []
        parts = _PLACEHOLDER.split(text)
        for literal, name in zip(parts[::2], [*parts[1::2], None], strict=True):
            if name is not None and name not in known:
                raise InputError(
                    f"{where}: {{{name}}} is not a placeholder; use {', '.join(sorted(known))}"
                )
            special = _LITERALS[escape] if name in _AS_JSON and escape in _LITERALS else escape
            self._parts.append((literal, name, special))
        self.names = frozenset(parts[1::2])

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
        "body", "headers", "is_conversion", "is_track", "method", "needs_event", "path", "varying",
    )  # fmt: skip

    def __init__(
        self, endpoint: Endpoint, target: Target, secrets: Mapping[str, str] | None
    ) -> None:
        name = endpoint.name

        def template(part: str, text: str, escape: Callable[[str], str]) -> Template:
            return Template(text, escape, known=PLACEHOLDERS, where=f"targets.{name}.{part}")

        def header(part: str, text: str) -> Template:
            first, *rest = split(text)
            whole = template(part, first, escape_header)
            for variable, literal in zip(rest[::2], rest[1::2], strict=True):
                value = "" if secrets is None else secret(variable, secrets, where=where(part))
                whole.follow(value, template(part, literal, escape_header))
            return whole

        def where(part: str) -> str:
            return f"targets.{name}.{part}"

        self.method = target.method
        self.path = template("path", target.path, escape_url)
        self.body: Template | None = None
        given = {n: header(f"headers.{n}", text) for n, text in target.headers.items()}
        self.varying = [(n, one) for n, one in given.items() if one.names]
        self.headers = {n: one.render({}) for n, one in given.items() if not one.names}
        if target.body is not None:
            is_json = target.body.lstrip()[:1] in ("{", "[", '"')
            if "content-type" not in map(str.lower, given):
                self.headers["Content-Type"] = JSON_TYPE if is_json else FORM_TYPE
            self.body = template("body", target.body, escape_json if is_json else escape_url)
        names = self.path.names | (self.body.names if self.body else frozenset())
        for _, one in self.varying:
            names |= one.names
        self.is_track = endpoint.writes == "event"
        self.is_conversion = endpoint.subject == "conversion"
        self.needs_event = self.is_track or bool(names - _WITHOUT_EVENT)


class Renderer:
    """Writes the requests of one workload.

    A body that starts as JSON does is sent as JSON, any other as a form. In a path, a query or a
    form values are percent-encoded; in JSON they are escaped, and `conversion_id_or_null` and
    `value_or_null` bring their own quotes. Of attribution requests, user_id is the conversion's
    owner; `conversion_id` of a tracking request is empty where the event is no conversion.
    """

    __slots__ = (
        "_endpoint", "_endpoints", "_events", "_intended", "_isolate", "_routes", "_run_id",
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
    targets = scenario.targets
    return [_Endpoint(each, targets.of(each.name), secrets) for each in scenario.endpoints]


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
