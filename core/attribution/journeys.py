"""Journeys: the touches that led to one conversion, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import isfinite
from operator import itemgetter
from typing import Any

LOOKBACK_MS = 30 * 24 * 3_600_000
"""Touches older than this before the conversion do not count: 30 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """One conversion with its touches: times in epoch milliseconds, ascending, and channels.

    lead, opportunity: the touches that an event marks, by position, None for none.
    """

    conversion_id: str
    user_id: str
    converted_ms: int
    value: float
    times_ms: tuple[int, ...]
    channels: tuple[str, ...]
    lead: int | None = None
    opportunity: int | None = None

    def fault(self) -> str:
        """Return why no credit can be computed from the stored data, "" if it can."""
        if type(self.converted_ms) is not int:
            return _not_a_time("conversion_timestamp", self.converted_ms)
        if not isinstance(self.value, int | float) or not isfinite(self.value):
            return f"value is {_short(self.value)}; a finite number is needed"
        for time in self.times_ms:
            if type(time) is not int:
                return _not_a_time("event_timestamp of a touch", time)
        if any(later < earlier for earlier, later in pairwise((*self.times_ms, self.converted_ms))):
            return "its touches are not in order of time, or lie after it"
        for channel in self.channels:
            if type(channel) is not str:
                return f"utm_source of a touch is {_short(channel)}; a text is needed"
        return ""


def _not_a_time(name: str, value: object) -> str:
    return f"{name} is {_short(value)}; whole epoch milliseconds are needed"


def _short(value: object) -> str:
    return repr(value)[:60]


def journeys_of(
    rows: Iterable[Sequence[Any]], milestones: tuple[str, str] = ("", "")
) -> list[Journey]:
    """Return the journeys of *rows*, one row per touch and the rows of a conversion together.

    A row is (conversion_id, user_id, converted_ms, value, touch time or None, channel), and the
    touch's event name if *milestones* are given: the first event of each name marks its
    touch. A conversion without touches has one row whose touch time is None.
    """
    journeys = []
    named = any(milestones)
    for (conversion, user, converted, value), touches in groupby(rows, key=itemgetter(0, 1, 2, 3)):
        seen = [touch for touch in touches if touch[4] is not None]
        lead = opportunity = None
        if named:
            names = [touch[6] for touch in seen]
            lead, opportunity = (
                names.index(name) if name and name in names else None for name in milestones
            )
        journeys.append(
            Journey(
                conversion_id=conversion,
                user_id=user,
                converted_ms=converted,
                value=float(value) if type(value) is int else value,  # D1 answers 60.0 as 60
                times_ms=tuple([touch[4] for touch in seen]),
                channels=tuple([touch[5] for touch in seen]),
                lead=lead,
                opportunity=opportunity,
            )
        )
    return journeys
