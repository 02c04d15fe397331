"""What requests say: bodies, identifiers and queries, read within limits."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import ClientDisconnect, Request

from core.caching.invalidation_log import Selector
from core.caching.keys import MAX_KEY_BYTES
from core.errors import InputError
from core.event import MAX_ID_LENGTH, Campaign, Event
from core.texts import GivenTwice, parse_request, shown
from core.units import EARLIEST_MS, LATEST_MS, slip

MAX_BODY_BYTES = 65_536
MAX_KEYS = 1_000
LARGEST_VALUE = 1e15
"""Of a conversion; it is less than this."""
LARGEST_EPOCH_MS = 2**53 - 1
"""The largest integer that every reader of JSON has exactly."""
_FARTHEST = 1e20  # beyond nanoseconds of any year
_KEY = re.compile(f"[!-~]{{1,{MAX_KEY_BYTES}}}")


class BadRequest(InputError):
    """A request that cannot be served as it stands (status 400)."""


class BodyTooLarge(InputError):
    """A request whose body is larger than MAX_BODY_BYTES (status 413)."""


def parse_event(body: bytes) -> Event:
    """Return the event of a tracking request's body; BadRequest says what is wrong with it."""
    data = json_object(body)

    def text(name: str) -> str:
        return identifier(data.get(name), name)

    def maybe(name: str) -> str | None:
        value = data.get(name)
        return None if value is None or value == "" else identifier(value, name)

    timestamp = event_time_of(data.get("timestamp"), "timestamp")
    conversion, value = data.get("conversion_id"), None
    if conversion is not None:
        conversion = identifier(conversion, "conversion_id")
        value = amount_of(data.get("value"))
    campaign = Campaign(*map(maybe, Campaign._fields))
    return Event(
        event_id=text("event_id"),
        user_id=text("user_id"),
        site_id=text("site_id"),
        event_name=text("event_name"),
        timestamp_ms=timestamp,
        utm_source=maybe("utm_source") or "(direct)",
        conversion_id=conversion,
        value=value,
        campaign=campaign if any(campaign) else None,
    )


def event_time_of(value: object, name: str) -> int:
    """Return *value* as epoch milliseconds of an event, from 1973 to 2100; BadRequest if not so.

    Seconds, microseconds and nanoseconds are named: an event of the wrong year counts nowhere.
    """
    if type(value) is int and EARLIEST_MS <= value <= LATEST_MS:
        return value
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < _FARTHEST
        and (fault := slip(int(value)))
    ):
        raise BadRequest(f"{name} is {shown(value)}: {fault}")
    return epoch_ms_of(value, name)


def epoch_ms_of(value: object, name: str) -> int:
    """Return *value* as epoch milliseconds; BadRequest if it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: 1.0 is 1
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_EPOCH_MS:
        raise BadRequest(f"{name} is {shown(value)}; it is epoch milliseconds")
    return value


def amount_of(value: object) -> float:
    """Return a conversion's value; BadRequest if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        amount = float(value) if abs(value) < LARGEST_VALUE else math.inf
        if 0 <= amount < LARGEST_VALUE:
            return amount
    raise BadRequest(f"value is {shown(value)}; a conversion's value is a number from 0 on")


def parse_invalidation(body: bytes) -> Selector:
    """Return the keys, the prefix or the tag that a body names; BadRequest if it names none.

    {"keys": [...]}, {"prefix": "lookup:"} or {"tag": "user:u1"}; every character means itself.
    """
    data = json_object(body)
    if unknown := sorted(set(data) - {"keys", "prefix", "tag"}):
        raise BadRequest(f"{shown(unknown[0])} is not known; give keys, prefix or tag")
    given = {name: value for name, value in data.items() if value is not None}
    if len(given) != 1:
        raise BadRequest("give one of keys, prefix and tag")
    ((name, value),) = given.items()
    if name != "keys":
        if not isinstance(value, str) or not value:
            raise BadRequest(f"{name} is {shown(value)}; it is a text that is not empty")
        _check_unicode(value, name)
        return Selector(prefix=value) if name == "prefix" else Selector(tag=value)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_KEYS:
        raise BadRequest(f"keys is a list of 1 to {MAX_KEYS} keys")
    for key in value:
        if not isinstance(key, str) or not key:
            raise BadRequest(f"keys holds {shown(key)}; a key is a text that is not empty")
        if not _KEY.fullmatch(key):
            raise BadRequest(
                f"keys holds {shown(key)}; a key is 1 to {MAX_KEY_BYTES} printable characters of "
                "ASCII: percent-encode its parts"
            )
    return Selector(keys=tuple(dict.fromkeys(value)))


def _check_unicode(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name} is not valid Unicode") from None


async def read_body(request: Request) -> bytes:
    """Return the body; BodyTooLarge beyond MAX_BODY_BYTES, BadRequest if it ends too early."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES:,} bytes; send less")
    except ClientDisconnect:
        raise BadRequest("the body ended before its Content-Length; send it whole") from None
    return bytes(body)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that *body* is; BadRequest if it is none."""
    try:
        data = parse_request(body)
    except GivenTwice as error:
        raise BadRequest(f"the body: {error}") from None
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadRequest("the body is not a JSON object")
    return data


def identifier(value: object, name: str) -> str:
    """Return *value* as an identifier; BadRequest, with its *name*, if it is none."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_LENGTH or "\0" in value:
        raise BadRequest(
            f"{name} is {shown(value)}; it is a text of 1 to {MAX_ID_LENGTH} characters"
        )
    if value.isascii():
        return value
    _check_unicode(value, name)
    if "\ufffd" in value:
        raise BadRequest(f"{name} is {shown(value)}; it was damaged: send it as UTF-8")
    return value


def model_of_query(request: Request) -> str:
    """Return the attribution model that the query names; BadRequest if it names none."""
    models = request.query_params.getlist("model")
    if len(models) != 1:
        raise BadRequest("give one ?model=, such as ?model=linear")
    return models[0]


def parameter_of_query(request: Request, name: str) -> str:
    """Return the identifier that the query's *name* is; BadRequest if it is none."""
    given = request.query_params.getlist(name)
    if len(given) != 1:
        raise BadRequest(f"give one ?{name}=")
    return identifier(given[0], name)


def choice_of_query(request: Request, name: str, choices: Sequence[str]) -> str:
    """Return which of *choices* the query's *name* takes, the first where there is no query.

    Raise BadRequest for every other query.
    """
    given = request.query_params.multi_items()
    if not given:
        return choices[0]
    if len(given) == 1 and given[0][0] == name and given[0][1] in choices:
        return given[0][1]
    ways = " or ".join(f"?{name}={choice}" for choice in choices)
    raise BadRequest(f"the query is {shown(request.url.query)}; use {ways}, or none")


def no_query(request: Request) -> None:
    """Raise BadRequest if there is a query."""
    if request.url.query:
        raise BadRequest(f"the query is {shown(request.url.query)}; this path takes none")
