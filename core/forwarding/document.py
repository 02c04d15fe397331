"""What a destination is told of a finished conversion."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from core.attribution.journeys import Journey
from core.attribution.models import MODELS

# Made once: json.dumps with separators makes an encoder for each call.
_encode = json.JSONEncoder(separators=(",", ":")).encode


def delivery_document(journey: Journey, shares: Iterable[Sequence[float]]) -> str:
    """Return *journey* with its credits as a JSON text: the same one each time it is sent.

    shares: the credits of its touches under each of MODELS. Its idempotency key is the
    conversion's id, by which a destination tells what it has taken before.
    """
    return _encode(
        {
            "idempotency_key": journey.conversion_id,
            "conversion_id": journey.conversion_id,
            "user_id": journey.user_id,
            "conversion_timestamp": journey.converted_ms,
            "value": journey.value,
            "touchpoints": [
                {
                    "touchpoint_index": position,
                    "utm_source": channel,
                    "credits": dict(zip(MODELS, credits, strict=True)),
                }
                for position, (channel, *credits) in enumerate(
                    zip(journey.channels, *shares, strict=True)
                )
            ],
        }
    )
