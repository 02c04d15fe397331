"""Every SQL statement that the code runs, by name."""

from __future__ import annotations

from dataclasses import dataclass

from core.attribution.models import MODELS


@dataclass(frozen=True, slots=True)
class Statement:
    """A named statement with ? parameters."""

    name: str
    sql: str


SITE = Statement("site", "SELECT enabled, max_event_bytes FROM sites WHERE site_id = ?")

USER = Statement("user", "SELECT segment, profile FROM users WHERE user_id = ?")

USER_JOURNEY = Statement(
    "user_journey",
    "SELECT event_id, event_name, utm_source, event_timestamp, conversion_id FROM user_journeys"
    " WHERE user_id = ? ORDER BY event_timestamp DESC, id DESC LIMIT ?",
)

# Touches lie after the user's previous conversion and within the lookback window, whose two ends
# belong to it (times are whole milliseconds, from 0 on); events that are conversions themselves
# are not touches.
_JOURNEY = """
SELECT c.conversion_id, c.user_id, c.conversion_timestamp, c.value,
       j.event_timestamp, j.utm_source
FROM conversions AS c LEFT JOIN user_journeys AS j
  ON j.user_id = c.user_id
 AND j.event_timestamp > max(
       c.conversion_timestamp - ? - 1,
       coalesce((SELECT max(p.conversion_timestamp) FROM conversions AS p
                 WHERE p.user_id = c.user_id
                   AND p.conversion_timestamp < c.conversion_timestamp), -1))
 AND j.event_timestamp <= c.conversion_timestamp
 AND j.conversion_id IS NULL
"""

CONVERSION_JOURNEY = Statement(
    "conversion_journey",
    _JOURNEY + "WHERE c.conversion_id = ? ORDER BY j.event_timestamp, j.id",
)

WAITING_JOURNEYS = Statement(
    "waiting_journeys",
    _JOURNEY + "WHERE c.conversion_id IN (SELECT value FROM json_each(?)) AND c.processed = 0"
    " ORDER BY c.conversion_id, j.event_timestamp, j.id",
)

WAITING_CONVERSIONS = Statement(
    "waiting_conversions",
    "SELECT conversion_id FROM conversions WHERE processed = 0 ORDER BY conversion_id",
)

CHANNEL_PERFORMANCE = Statement(
    "channel_performance",
    "SELECT utm_source, total_attribution, total_conversions, total_value"
    " FROM channel_performance WHERE attribution_model = ?"
    " ORDER BY total_attribution DESC LIMIT ?",
)

INSERT_EVENT = Statement(
    "insert_event",
    "INSERT INTO user_journeys (event_id, user_id, event_name, utm_source, event_timestamp,"
    " segment, conversion_id) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
)

INSERT_CONVERSION = Statement(
    "insert_conversion",
    "INSERT INTO conversions (conversion_id, event_id, user_id, conversion_timestamp, value)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (conversion_id) DO NOTHING",
)

INSERT_CREDITS = Statement(
    "insert_credits",
    "INSERT OR REPLACE INTO touch_credits (conversion_id, touchpoint_index, touchpoints,"
    f" utm_source, {', '.join(MODELS)}) VALUES (?, ?, ?, ?, {', '.join('?' for _ in MODELS)})",
)

ADD_TO_CHANNEL = Statement(
    "add_to_channel",
    "INSERT INTO channel_performance (attribution_model, utm_source, total_attribution,"
    " total_conversions, total_value, last_updated) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (attribution_model, utm_source) DO UPDATE SET"
    " total_attribution = total_attribution + excluded.total_attribution,"
    " total_conversions = total_conversions + excluded.total_conversions,"
    " total_value = total_value + excluded.total_value, last_updated = excluded.last_updated",
)

MARK_PROCESSED = Statement(
    "mark_processed", "UPDATE conversions SET processed = 1 WHERE conversion_id = ?"
)

INSERT_SITE = Statement(
    "insert_site", "INSERT INTO sites (site_id, enabled, max_event_bytes) VALUES (?, ?, ?)"
)

INSERT_USER = Statement(
    "insert_user", "INSERT INTO users (user_id, segment, profile) VALUES (?, ?, ?)"
)

# Journeys in bulk: the users from one id up to, not including, another are read by ordered scans.
END_OF_RANGE = Statement(
    "end_of_range",
    "SELECT user_id FROM user_journeys WHERE user_id >= ? ORDER BY user_id LIMIT 1 OFFSET ?",
)

NEWEST_EVENT = Statement("newest_event", "SELECT max(id) FROM user_journeys")

NEXT_USER = Statement("next_user", "SELECT min(user_id) FROM user_journeys WHERE user_id > ?")

TOUCHES_PER_USER = Statement(
    "touches_per_user",
    "SELECT user_id, count(*) FROM user_journeys WHERE user_id >= ? AND user_id < ?"
    " AND conversion_id IS NULL GROUP BY user_id ORDER BY user_id",
)

TOUCHES_IN_ORDER = Statement(
    "touches_in_order",
    "SELECT event_timestamp, utm_source FROM user_journeys WHERE user_id >= ? AND user_id < ?"
    " AND conversion_id IS NULL ORDER BY user_id, event_timestamp, id",
)

NAMED_TOUCHES_IN_ORDER = Statement(
    "named_touches_in_order",
    TOUCHES_IN_ORDER.sql.replace("utm_source FROM", "utm_source, event_name FROM"),
)

CONVERSIONS_IN_ORDER = Statement(
    "conversions_in_order",
    "SELECT user_id, conversion_timestamp, value, conversion_id FROM conversions"
    " WHERE user_id >= ? AND user_id < ? ORDER BY user_id, conversion_timestamp, conversion_id",
)
