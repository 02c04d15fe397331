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
from core.wire import ISOLATE_HEADER
from scenarios.routing import Routing

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WITHOUT_EVENT = {"user_id", "conversion_id", "model", "index", "isolate", "run_id"}
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


def _url_literal(value: str) -> str:
    return escape_url(json.loads(value) if value.startswith('"') else value)


# What carries its own quotes is JSON already; outside JSON it goes without them.
_LITERALS: dict[Callable[[str], str], Callable[[str], str]] = {
    escape_json: str,
    escape_url: _url_literal,
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
    __slots__ = ("body", "is_conversion", "is_track", "method", "needs_event", "path", "type")

    def __init__(self, endpoint: Endpoint, target: Target) -> None:
        name = endpoint.name

        def template(part: str, text: str, escape: Callable[[str], str]) -> Template:
            return Template(text, escape, known=PLACEHOLDERS, where=f"targets.{name}.{part}")

        self.method = target.method
        self.path = template("path", target.path, escape_url)
        self.body: Template | None = None
        self.type = None
        if target.body is not None:
            is_json = target.body.lstrip()[:1] in ("{", "[", '"')
            self.type = JSON_TYPE if is_json else FORM_TYPE
            self.body = template("body", target.body, escape_json if is_json else escape_url)
        names = self.path.names | (self.body.names if self.body else frozenset())
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
        "_subject", "_users",
    )  # fmt: skip

    def __init__(
        self,
        scenario: Scenario,
        workload: Workload,
        routing: Routing,
        *,
        run_id: str,
        replication: int = 0,
    ) -> None:
        self._endpoints = compiled(scenario)
        self._events = Events(scenario, run_id=run_id, replication=replication)
        self._run_id = run_id
        self._users = workload.users
        self._intended, self._endpoint = workload.intended_ns, workload.endpoint
        self._subject, self._isolate = workload.subject, workload.isolate
        self._routes = [
            (host, routing.hosts[host], str(header))
            for host, header in zip(routing.host.tolist(), routing.header.tolist(), strict=True)
        ]

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
        headers = {ISOLATE_HEADER: header}
        body = None
        if endpoint.body is not None and endpoint.type is not None:
            body = endpoint.body.render(values).encode()
            headers["Content-Type"] = endpoint.type
        url = address + endpoint.path.render(values)
        return Request(host, endpoint.method, url, headers, body, code, subject, intended_ns)


def compiled(scenario: Scenario) -> list[_Endpoint]:
    """Return the compiled targets in the order of the endpoints; InputError names a faulty one."""
    return [_Endpoint(each, scenario.targets.of(each.name)) for each in scenario.endpoints]


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
