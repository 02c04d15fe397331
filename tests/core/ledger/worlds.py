"""Small worlds of users, touches and conversions, and what is true of them by plain Python."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from core.attribution.fitted import FittedModel
from core.attribution.journeys import LOOKBACK_MS
from core.attribution.models import touch_credits
from core.attribution.parameters import HALF_LIFE_MS, Parameters
from core.event import Event
from core.ledger.fitted_models import newest_row

DAY_MS = 24 * 3_600_000

Touch = tuple[int, str]
"""When and through which channel."""

# Few users and a coarse grid, so that times tie and lie on both sides of every window's end.
USERS = ("u0", "u1")
CHANNELS = ("google", "email", "(direct)")
TIMES = sorted(
    base + offset
    for base in (10, 10 + DAY_MS, 10 + LOOKBACK_MS, 10 + 2 * LOOKBACK_MS)
    for offset in (-10, -1, 0, 1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is true after some events, in the words of the definitions.

    touches: of each user in order of arrival; conversions: (user, time, value) by id.
    """

    touches: dict[str, list[Touch]]
    conversions: dict[str, tuple[str, int, float]]

    def journey(self, conversion_id: str) -> list[Touch]:
        """Return the touches of a conversion, oldest first, those of one instant as they came."""
        user, converted, _ = self.conversions[conversion_id]
        before = [
            time for owner, time, _ in self.conversions.values()
            if owner == user and time < converted
        ]  # fmt: skip
        touches = [
            (time, channel)
            for time, channel in self.touches.get(user, [])
            if converted - LOOKBACK_MS <= time <= converted and all(time > end for end in before)
        ]
        return sorted(touches, key=lambda touch: touch[0])  # stable

    def unconverted(self, user: str) -> list[Touch]:
        """Return the touches of *user* that led to no conversion, oldest first."""
        newest = max((time for owner, time, _ in self.conversions.values() if owner == user),
                     default=-1)  # fmt: skip
        touches = sorted(self.touches.get(user, []), key=lambda touch: touch[0])
        if not touches or touches[-1][0] <= newest:
            return []
        begins = touches[-1][0] - LOOKBACK_MS
        return [touch for touch in touches if touch[0] > newest and touch[0] >= begins]


def world_of(events: Sequence[Event]) -> World:
    """Return the world after *events*: an event id counts once, and so does a conversion id."""
    seen: set[str] = set()
    touches: dict[str, list[Touch]] = {}
    conversions: dict[str, tuple[str, int, float]] = {}
    for event in events:
        is_new = event.event_id not in seen
        seen.add(event.event_id)
        if event.conversion_id is not None:
            conversions.setdefault(
                event.conversion_id, (event.user_id, event.timestamp_ms, event.value or 0.0)
            )
        elif is_new:
            touches.setdefault(event.user_id, []).append((event.timestamp_ms, event.utm_source))
    return World(touches=touches, conversions=conversions)


@st.composite
def event_lists(draw: st.DrawFn) -> list[Event]:
    """Draw events in order of arrival, some of them delivered twice."""
    count = draw(st.integers(1, 14))
    events: list[Event] = []
    for position in range(count):
        converts = draw(st.integers(0, 2)) == 0
        events.append(
            Event(
                event_id=f"e{position}",
                user_id=draw(st.sampled_from(USERS)),
                site_id="s0",
                event_name="purchase" if converts else "page_view",
                timestamp_ms=draw(st.sampled_from(TIMES)),
                utm_source=draw(st.sampled_from(CHANNELS)),
                conversion_id=f"c{position}" if converts else None,
                value=draw(st.integers(0, 10_000)) / 100 if converts else None,
            )
        )
    for event in draw(st.lists(st.sampled_from(events), max_size=4)):
        events.insert(draw(st.integers(events.index(event) + 1, len(events))), event)
    return events


def credits_of(
    model: str, times_ms: Sequence[int], converted_ms: int, *, half_life_ms: int = HALF_LIFE_MS
) -> tuple[float, ...]:
    """Return the credits of touches of one channel, under no parameter but the half-life."""
    channels, parameters = ["email"] * len(times_ms), Parameters(half_life_ms=half_life_ms)
    return tuple(touch_credits(model, times_ms, channels, converted_ms, parameters))


def newest_model(connection: sqlite3.Connection) -> FittedModel | None:
    """Return the model stored last, None if there is none."""
    row = newest_row(connection)
    return None if row is None else FittedModel.from_json(json.loads(row[1]))
