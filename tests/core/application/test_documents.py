"""Claims about the documents that the application answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.application.documents import journey_document
from core.event import Campaign

NAMES = ("event_id", "event_name", "utm_source", "event_timestamp", "conversion_id")

words = st.text()
rows = st.tuples(
    words, words, words, st.integers(0, 2**53), st.none() | words,
    *([st.none() | words] * len(Campaign._fields)),
)  # fmt: skip


def written(user: str, found: list[tuple[Any, ...]]) -> bytes:
    """Return what the standard library's encoder writes for the rows *found*."""
    events = []
    for row in found:
        event = dict(zip(NAMES, row, strict=False))
        campaign = zip(Campaign._fields, row[len(NAMES) :], strict=True)
        events.append(event | {name: value for name, value in campaign if value is not None})
    return json.dumps({"user_id": user, "events": events}, separators=(",", ":")).encode()


@given(words, st.lists(rows, max_size=4))
def test_journey_is_written_as_the_encoder_writes_it(
    user: str, found: list[tuple[Any, ...]]
) -> None:
    assert journey_document(user, found) == written(user, found)


@pytest.mark.parametrize("position", range(len(NAMES) + len(Campaign._fields)))
@pytest.mark.parametrize("value", [1.5, True, None, 7, "x", float("nan")])
def test_value_of_another_type_is_written_as_the_encoder_writes_it(
    position: int, value: object
) -> None:
    row: list[Any] = ["e1", "view", "email", 1_767_225_600_000, None, None, "spring", None, None]
    row[position] = value
    assert journey_document("u1", [tuple(row)]) == written("u1", [tuple(row)])
