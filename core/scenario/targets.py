"""The targets of the scenario: how the request of each endpoint is written."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from core.endpoint import Endpoint
from core.endpoints import EndpointTable
from core.scenario.by_endpoint import KNOWN, ByEndpoint
from core.scenario.checks import Check
from core.scenario.headers import HeaderFields
from core.scenario.statuses import Statuses
from core.scenario.table import Table
from core.units import Duration

_STATUSES = (200, 202)
_METHOD = re.compile(r"[A-Z][A-Z0-9-]{0,31}")
_UNSENT = {"CONNECT": "a proxy", "TRACE": "a diagnosis"}


def _method(text: str) -> str:
    if not _METHOD.fullmatch(text):
        raise ValueError(f"{text!r:.60} is no HTTP method; write it in capitals, such as PUT")
    if text in _UNSENT:
        raise ValueError(f"{text} asks for {_UNSENT[text]}, not for an answer; use another method")
    return text


Method = Annotated[str, AfterValidator(_method)]


def _path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"{path!r:.100} is no path; begin it with /, behind what --host gives")
    if any(c.isspace() or not c.isprintable() for c in path):
        raise ValueError(f"{path!r:.100} holds a character that no address may; write it as %20")
    return path


Path = Annotated[str, AfterValidator(_path), Field(json_schema_extra={"pattern": "^/"})]


BodyType = Literal["json", "form", "raw"]
"""How values stand in a body: escaped in JSON, percent-encoded in a form, as they are in raw."""


class Target(Table):
    """How an endpoint's request is written; {placeholders} are filled per request.

    Of a header's value, ${NAME} is the environment variable NAME. body_type: by default JSON where
    the body begins as JSON does, a form otherwise. timeout: the scenario's by default.
    """

    method: Method = "GET"
    path: Path
    body: str | None = None
    headers: HeaderFields = Field(default_factory=dict)
    status: Statuses = _STATUSES
    body_type: BodyType | None = None
    timeout: Annotated[Duration, Field(gt=0)] | None = None
    checks: Annotated[tuple[Check, ...], Field(max_length=50)] = ()


TRACK_BODY = (
    '{"event_id": "{event_id}", "user_id": "{user_id}", "site_id": "{site_id}", '
    '"event_name": "{event_name}", "timestamp": {timestamp}, "utm_source": "{utm_source}", '
    '"conversion_id": {conversion_id_or_null}, "value": {value_or_null}}'
)
PLACEHOLDERS = (
    "event_id", "user_id", "site_id", "event_name", "timestamp", "utm_source",
    "conversion_id_or_null", "value_or_null", "conversion_id", "model", "isolate", "index",
    "run_id",
)  # fmt: skip


def _stated(endpoint: Endpoint) -> dict[str, Any]:
    """Return how the service takes the request of *endpoint*, as data of a `Target`."""
    data: dict[str, Any] = {"path": endpoint.path}
    if endpoint.method != "GET":
        data["method"] = endpoint.method
    if endpoint.writes == "event":
        data["body"] = TRACK_BODY
    if endpoint.status not in _STATUSES:
        data["status"] = (endpoint.status,)
    return data


class Targets(ByEndpoint):
    """The requests of each endpoint, for a service with routes of its own."""

    VALUES: ClassVar[TypeAdapter[Any]] = TypeAdapter(Target)

    __pydantic_extra__: dict[str, Annotated[Target, KNOWN]] = Field(init=False)

    @classmethod
    def stated(cls, endpoints: EndpointTable) -> dict[str, Any]:
        """Return the request of each endpoint's description."""
        return {endpoint.name: _stated(endpoint) for endpoint in endpoints}

    @classmethod
    def merged(cls, stated: Any, given: Any) -> Any:
        """Return *given* with what it leaves out as *stated*."""
        return {**stated, **given} if isinstance(given, dict) else given

    @property
    def checks(self) -> list[tuple[str, ...]]:
        """The names of the checks of each endpoint, in their order."""
        return [tuple(check.name for check in each.checks) for each in self.by_name.values()]

    @property
    def timeouts(self) -> dict[str, float]:
        """The time limits of the endpoints that have one of their own, in seconds."""
        limits = {name: each.timeout for name, each in self.by_name.items()}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def of(self, endpoint: str) -> Target:
        """Return the request of *endpoint*; KeyError if there is no such one."""
        target: Target = self.by_name[endpoint]
        return target
