"""The targets of the scenario: how the request of each endpoint is written."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from core.scenario.headers import HeaderFields
from core.scenario.statuses import Statuses
from core.scenario.table import Table

_METHOD = re.compile(r"[A-Z][A-Z0-9-]{0,31}")
_UNSENT = {"CONNECT": "a proxy", "TRACE": "a diagnosis"}


def _method(text: str) -> str:
    if not _METHOD.fullmatch(text):
        raise ValueError(f"{text!r:.60} is no HTTP method; write it in capitals, such as PUT")
    if text in _UNSENT:
        raise ValueError(f"{text} asks for {_UNSENT[text]}, not for an answer; use another method")
    return text


Method = Annotated[str, AfterValidator(_method)]


class Target(Table):
    """How an endpoint's request is written; {placeholders} are filled per request.

    Of a header's value, ${NAME} is the environment variable NAME.
    """

    method: Method = "GET"
    path: Annotated[str, Field(pattern="^/")]
    body: str | None = None
    headers: HeaderFields = Field(default_factory=dict)
    status: Statuses = (200, 202)


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


_TARGETS: dict[str, dict[str, str]] = {
    "track": {"method": "POST", "path": "/track", "body": TRACK_BODY},
    "attribution": {"path": "/attribution/{conversion_id}?model={model}"},
    "journey": {"path": "/journey/{user_id}"},
    "channels": {"path": "/channels?model={model}"},
}


class Targets(Table):
    """The requests of each endpoint, for a service with routes of its own."""

    track: Target = Target.model_validate(_TARGETS["track"])
    attribution: Target = Target.model_validate(_TARGETS["attribution"])
    journey: Target = Target.model_validate(_TARGETS["journey"])
    channels: Target = Target.model_validate(_TARGETS["channels"])

    @model_validator(mode="before")
    @classmethod
    def _what_is_left_out_is_the_endpoints_default(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            name: {**_TARGETS[name], **given}
            if name in _TARGETS and isinstance(given, dict)
            else given
            for name, given in data.items()
        }
