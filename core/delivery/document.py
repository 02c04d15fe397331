"""The JSON document of a finished conversion, as a destination receives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _text

from core.attribution.journeys import Journey
from core.attribution.models import MODELS

# json.dumps takes twice as long, and this is half the cost of forwarding a conversion.
_DOCUMENT = (
    '{"idempotency_key":%s,"conversion_id":%s,"user_id":%s,"conversion_timestamp":%d,'
    '"value":%r,"touchpoints":[%s]}'
)
_AGED = MODELS.index("time_decay")  # its credits hardly ever repeat; the other models' mostly do


def _writer(models: Sequence[str]) -> Callable[[tuple[float, ...]], str]:
    """Return a function that formats the credits of *models*, and keeps the texts for reuse."""
    form = ",".join(f'"{model}":%r' for model in models)
    return lru_cache(maxsize=4096)(form.__mod__)


_before, _after = _writer(MODELS[:_AGED]), _writer(MODELS[_AGED + 1 :])
_TOUCH = '{"touchpoint_index":%d,"utm_source":%s,"credits":{%s,"time_decay":%r,%s}}'


def delivery_document(journey: Journey, shares: Iterable[Sequence[float]]) -> str:
    """Return *journey* with its credits as a JSON text, which is the same for every delivery.

    shares: the credits of its touches under each of MODELS. The journey has no fault, so every
    number is finite. The idempotency key is the conversion's id: a destination recognises by it a
    conversion that it has taken before.
    """
    columns = tuple(shares)
    touches = [
        _TOUCH % (position, _text(channel), _before(first), aged, _after(last))
        for position, (channel, first, aged, last) in enumerate(
            zip(
                journey.channels, zip(*columns[:_AGED], strict=True), columns[_AGED],
                zip(*columns[_AGED + 1 :], strict=True), strict=True,
            )
        )
    ]  # fmt: skip
    name = _text(journey.conversion_id)
    return _DOCUMENT % (
        name, name, _text(journey.user_id), journey.converted_ms, journey.value, ",".join(touches),
    )  # fmt: skip
