"""What the application answers, as JSON documents: credits, channels, journeys."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from core.attribution.journeys import Journey
from core.attribution.models import DATA_DRIVEN, role_of
from core.attribution.scheme import Scheme
from core.population import Campaign
from core.query.database import Row

# Made once: json.dumps with separators makes an encoder for each call.
_encode = json.JSONEncoder(separators=(",", ":")).encode

_EVENT = ("event_id", "event_name", "utm_source", "event_timestamp", "conversion_id")
_NO_CAMPAIGN = (None,) * len(Campaign._fields)


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
    """Return what the channels got: *rows* as `Queries.channel_performance` returns them."""
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


def journey_document(user_id: str, rows: Iterable[Row]) -> bytes:
    """Return a user's events: *rows* as `Queries.user_journey` returns them."""
    return _document({"user_id": user_id, "events": [_event(row) for row in rows]})


def _event(row: Row) -> dict[str, Any]:
    event = dict(zip(_EVENT, row, strict=False))
    campaign = row[len(_EVENT) :]
    if campaign != _NO_CAMPAIGN:
        named = zip(Campaign._fields, campaign, strict=True)
        event |= {name: value for name, value in named if value is not None}
    return event


def _origin(model: str, scheme: Scheme, fallback: str) -> dict[str, Any]:
    """Return what an answer says of where its figures come from."""
    origin: dict[str, Any] = {"parameters_key": scheme.parameters_key}
    if model == DATA_DRIVEN:
        origin |= {"model_version": scheme.version, "fallback": fallback or None}
    return origin


def _document(data: dict[str, Any]) -> bytes:
    return _encode(data).encode()
