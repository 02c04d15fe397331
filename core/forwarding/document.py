"""What a destination is told of a finished conversion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _text

from core.attribution.journeys import Journey
from core.attribution.models import MODELS

# json.dumps takes twice as long, and this is half of what forwarding costs a conversion.
_DOCUMENT = (
    '{"idempotency_key":%s,"conversion_id":%s,"user_id":%s,"conversion_timestamp":%d,'
    '"value":%r,"touchpoints":[%s]}'
)
_TOUCH = (
    '{"touchpoint_index":%d,"utm_source":%s,"credits":{'
    + ",".join(f'"{model}":%s' for model in MODELS)
    + "}}"
)
# Most credits are one of few: 0, 1, 1/n and the like. Writing one out takes five times as long.
_number = lru_cache(maxsize=4096)(float.__repr__)


def delivery_document(journey: Journey, shares: Iterable[Sequence[float]]) -> str:
    """Return *journey* with its credits as a JSON text: the same one each time it is sent.

    shares: the credits of its touches under each of MODELS. The journey is one without a fault, so
    that every number is finite. Its idempotency key is the conversion's id, by which a destination
    tells what it has taken before.
    """
    touches = [
        _TOUCH % (position, _text(channel), *map(_number, credits))
        for position, (channel, *credits) in enumerate(zip(journey.channels, *shares, strict=True))
    ]
    name = _text(journey.conversion_id)
    return _DOCUMENT % (
        name, name, _text(journey.user_id), journey.converted_ms, journey.value, ",".join(touches),
    )  # fmt: skip
