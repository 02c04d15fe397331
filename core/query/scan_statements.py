"""The SQL statements that read events and conversions in bulk, and exclude generated ones."""

from __future__ import annotations

from core.query.statement import Statement

# Journeys in bulk: ordered scans over the users from one id up to, not including, another.
END_OF_RANGE = Statement(
    "end_of_range",
    "SELECT user_id FROM user_journeys WHERE user_id >= ? ORDER BY user_id LIMIT 1 OFFSET ?",
)

NEWEST_EVENT = Statement("newest_event", "SELECT max(id) FROM user_journeys")

NEXT_USER = Statement("next_user", "SELECT min(user_id) FROM user_journeys WHERE user_id > ?")

# In a database that another program filled, users without an event may have conversions.
END_OF_CONVERSIONS = Statement(
    "end_of_conversions",
    "SELECT user_id FROM conversions WHERE user_id >= ? ORDER BY user_id LIMIT 1 OFFSET ?",
)

NEXT_CONVERTING_USER = Statement(
    "next_converting_user", "SELECT min(user_id) FROM conversions WHERE user_id > ?"
)

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

# Including the conversions' own events, each with its conversion.
_OR_OWN = (
    "(conversion_id IS NULL OR event_id = (SELECT c.event_id FROM conversions AS c"
    " WHERE c.conversion_id = user_journeys.conversion_id))"
)

OWN_TOUCHES_PER_USER = Statement(
    "own_touches_per_user", TOUCHES_PER_USER.sql.replace("conversion_id IS NULL", _OR_OWN)
)

OWN_TOUCHES_IN_ORDER = Statement(
    "own_touches_in_order",
    NAMED_TOUCHES_IN_ORDER.sql.replace("conversion_id IS NULL", _OR_OWN).replace(
        "event_name FROM", "event_name, conversion_id FROM"
    ),
)

CONVERSIONS_IN_ORDER = Statement(
    "conversions_in_order",
    "SELECT user_id, conversion_timestamp, value, conversion_id FROM conversions"
    " WHERE user_id >= ? AND user_id < ? ORDER BY user_id, conversion_timestamp, conversion_id",
)

WAITING_IN_RANGE = Statement(
    "waiting_in_range",
    "SELECT conversion_id FROM conversions WHERE user_id >= ? AND user_id < ? AND processed = 0",
)

# Generated events have recognisable ids and no segment; tracked events have a segment.
HAS_POPULATION = Statement(
    "has_population",
    "SELECT 1 FROM main.user_journeys WHERE event_id = 't0' AND user_id = 'u0' AND segment IS NULL",
)

_POPULATION = "segment IS NULL AND (event_id GLOB 't[0-9]*' OR event_id GLOB 't-c[0-9]*')"

NEWEST_IS_OWN = Statement(
    "newest_is_own",
    f"SELECT NOT ({_POPULATION}) FROM main.user_journeys ORDER BY id DESC LIMIT 1",
)

_INVENTED = "conversion_id GLOB 'c[0-9]*' AND event_id = 't-' || conversion_id"

INVENTED_CONVERSIONS = Statement(
    "invented_conversions", f"SELECT count(*) FROM main.conversions WHERE {_INVENTED}"
)

# Temporary views of a connection hide the tables of the same name.
OWN_EVENTS = Statement(
    "own_events",
    f"CREATE TEMP VIEW user_journeys AS SELECT * FROM main.user_journeys WHERE NOT ({_POPULATION})",
)

OWN_CONVERSIONS = Statement(
    "own_conversions",
    f"CREATE TEMP VIEW conversions AS SELECT * FROM main.conversions WHERE NOT ({_INVENTED})",
)

EVENT_SLIPS = Statement(
    "event_slips",
    "SELECT count(*), min(event_timestamp) FROM user_journeys"
    " WHERE event_timestamp NOT BETWEEN ? AND ?",
)

CONVERSION_SLIPS = Statement(
    "conversion_slips",
    "SELECT count(*), min(conversion_timestamp) FROM conversions"
    " WHERE conversion_timestamp NOT BETWEEN ? AND ?",
)
