"""Claims about what a destination is told: plain JSON, the same each time."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from core.attribution.journeys import Journey
from core.attribution.models import MODELS
from core.delivery.document import delivery_document

CREDIT = st.floats(0, 1)
TOUCH = st.tuples(st.text(max_size=20), st.lists(CREDIT, min_size=7, max_size=7))


@given(
    st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.integers(0, 2**53),
    st.floats(0, 1e15) | st.integers(0, 10**15), st.lists(TOUCH, max_size=6),
)  # fmt: skip
def test_document_is_what_json_would_write(
    name: str, user: str, at_ms: int, value: float, touches: list[tuple[str, list[float]]]
) -> None:
    journey = Journey(
        conversion_id=name, user_id=user, converted_ms=at_ms, value=value,
        times_ms=(at_ms,) * len(touches), channels=tuple(channel for channel, _ in touches),
    )  # fmt: skip
    shares = [[credits[model] for _, credits in touches] for model in range(len(MODELS))]
    expected = {
        "idempotency_key": name,
        "conversion_id": name,
        "user_id": user,
        "conversion_timestamp": at_ms,
        "value": value,
        "touchpoints": [
            {
                "touchpoint_index": position,
                "utm_source": channel,
                "credits": dict(zip(MODELS, credits, strict=True)),
            }
            for position, (channel, credits) in enumerate(touches)
        ],
    }
    assert delivery_document(journey, shares) == json.dumps(expected, separators=(",", ":"))
