"""The application's answers as JSON documents: credits, channels, journeys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from core.attribution.journeys import Journey
from core.attribution.models import DATA_DRIVEN, role_of
from core.attribution.scheme import Scheme
from core.event import Campaign
from core.query.database import Row

# Shared: json.dumps with separators makes an encoder for each call.
_encode = json.JSONEncoder(separators=(",", ":")).encode

_EVENT = ("event_id", "event_name", "utm_source", "event_timestamp", "conversion_id")
_NO_CAMPAIGN = [None] * len(Campaign._fields)


def credits_document(journey: Journey, model: str, scheme: Scheme) -> bytes:
    """Return the credit of each touch of *journey* under *model*."""
    (shares,) = scheme.credits(journey, (model,))
    count = len(shares)
    return _document(
        {
            "conversion_id": journey.conversion_id,
            "user_id": journey.user_id,
            "model": model,
            **_origin(model, scheme, scheme.fallback_of(journey)),
            "conversion_timestamp": journey.converted_ms,
            "value": journey.value,
            "touchpoints": [
                {
                    "touchpoint_index": position,
                    "utm_source": channel,
                    "event_timestamp": time,
                    "credit": credit,
                    "credit_percentage": 100 * credit,
                    "role": role_of(position, count),
                }
                for position, (channel, time, credit) in enumerate(
                    zip(journey.channels, journey.times_ms, shares, strict=True)
                )
            ],
        }
    )


def channels_document(rows: Iterable[Row], model: str, scheme: Scheme) -> bytes:
    """Return the channels' credit: *rows* as `Queries.channel_performance` returns them."""
    return _document(
        {
            "model": model,
            **_origin(model, scheme, scheme.fallback),
            "channels": [
                {
                    "utm_source": channel,
                    "total_attribution": credit,
                    "total_conversions": count,
                    "total_value": value,
                    "avg_attribution_per_conversion": credit / count if count else 0.0,
                }
                for channel, credit, count, value in rows
            ],
        }
    )


def journey_document(user_id: str, rows: Sequence[Row]) -> bytes:
    """Return a user's events: *rows* as `Queries.user_journey` returns them."""
    try:
        # Takes a seventh of the encoder's time, which is most of a miss's computation.
        text = f'{{"user_id":{_quoted(user_id)},"events":[{",".join(map(_event_text, rows))}]}}'
    except TypeError:  # a value whose type is not its column's
        return _document({"user_id": user_id, "events": [_event(row) for row in rows]})
    return text.encode()


def _event_text(row: Row) -> str:
    """Return `_event` of *row* as JSON; TypeError if a value is of another type than usual."""
    event_id, name, source, at_ms, conversion, *campaign = row
    if type(at_ms) is not int:
        raise TypeError(at_ms)
    text = (
        f'{{"event_id":{_quoted(event_id)},"event_name":{_quoted(name)},'
        f'"utm_source":{_quoted(source)},"event_timestamp":{at_ms},'
        f'"conversion_id":{"null" if conversion is None else _quoted(conversion)}'
    )
    if campaign != _NO_CAMPAIGN:
        for field, value in zip(Campaign._fields, campaign, strict=True):
            if value is not None:
                text += f',"{field}":{_quoted(value)}'
    return text + "}"


def _event(row: Row) -> dict[str, Any]:
    event = dict(zip(_EVENT, row, strict=False))
    campaign = [*row[len(_EVENT) :]]
    if campaign != _NO_CAMPAIGN:
        named = zip(Campaign._fields, campaign, strict=True)
        event |= {name: value for name, value in named if value is not None}
    return event


def _origin(model: str, scheme: Scheme, fallback: str) -> dict[str, Any]:
    """Return the fields of an answer that name the source of its figures."""
    origin: dict[str, Any] = {"parameters_key": scheme.parameters_key}
    if model == DATA_DRIVEN:
        origin |= {"model_version": scheme.version, "fallback": fallback or None}
    return origin


def _document(data: dict[str, Any]) -> bytes:
    return _encode(data).encode()
