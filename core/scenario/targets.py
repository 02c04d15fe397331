"""The targets of the scenario: how the request of each endpoint is written."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, TypeAdapter

from core.endpoint import Endpoint, Method
from core.endpoints import EndpointTable
from core.scenario.by_endpoint import KNOWN, ByEndpoint
from core.scenario.table import Table

_STATUSES = (200, 202)


class Target(Table):
    """How an endpoint's request is written; {placeholders} are filled per request."""

    method: Method = "GET"
    path: Annotated[str, Field(pattern="^/")]
    body: str | None = None
    status: tuple[int, ...] = _STATUSES


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

    def of(self, endpoint: str) -> Target:
        """Return the request of *endpoint*; KeyError if there is no such one."""
        target: Target = self.by_name[endpoint]
        return target
