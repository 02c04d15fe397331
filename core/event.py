"""An event: what a tracking request says."""

from __future__ import annotations

from typing import NamedTuple

MAX_ID_LENGTH = 200


class Campaign(NamedTuple):
    """What an event says of its campaign beside its source; None: nothing."""

    utm_medium: str | None
    utm_campaign: str | None
    utm_term: str | None
    utm_content: str | None


class Event(NamedTuple):
    """What a tracking request says: an event of a user, with a conversion where it is one."""

    event_id: str
    user_id: str
    site_id: str
    event_name: str
    timestamp_ms: int
    utm_source: str
    conversion_id: str | None
    value: float | None
    campaign: Campaign | None = None
