"""Journeys: the touches that led to one conversion, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

LOOKBACK_MS = 30 * 24 * 3_600_000
"""Touches older than this before the conversion do not count: 30 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """One conversion with its touches: times in epoch milliseconds, ascending, and channels."""

    conversion_id: str
    user_id: str
    converted_ms: int
    value: float
    times_ms: tuple[int, ...]
    channels: tuple[str, ...]


def journeys_of(rows: Iterable[Sequence[Any]]) -> list[Journey]:
    """Return the journeys of *rows*, one row per touch and the rows of a conversion together.

    A row is (conversion_id, user_id, converted_ms, value, touch time or None, channel); a
    conversion without touches has one row whose touch time is None.
    """
    journeys = []
    for (conversion, user, converted, value), touches in groupby(rows, key=itemgetter(0, 1, 2, 3)):
        seen = [(time, channel) for *_, time, channel in touches if time is not None]
        journeys.append(
            Journey(
                conversion_id=conversion,
                user_id=user,
                converted_ms=converted,
                value=value,
                times_ms=tuple(time for time, _ in seen),
                channels=tuple(channel for _, channel in seen),
            )
        )
    return journeys
