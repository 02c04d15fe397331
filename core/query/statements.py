"""Every SQL statement that the code runs, by name; only a migration has its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.attribution.models import MODELS


@dataclass(frozen=True, slots=True)
class Statement:
    """A named statement with ? parameters."""

    name: str
    sql: str

    @property
    def writes(self) -> bool:
        """Whether it may change the database, whatever rows it returns."""
        return not self.sql.lstrip().startswith(("SELECT", "EXPLAIN", "PRAGMA table_info"))


SITE = Statement("site", "SELECT enabled, max_event_bytes FROM sites WHERE site_id = ?")

USER = Statement("user", "SELECT segment, profile FROM users WHERE user_id = ?")

USER_JOURNEY = Statement(
    "user_journey",
    "SELECT event_id, event_name, utm_source, event_timestamp, conversion_id,"
    " utm_medium, utm_campaign, utm_term, utm_content FROM user_journeys"
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

_LISTED = "WHERE c.conversion_id IN (SELECT value FROM json_each(?))"
_TOGETHER = " ORDER BY c.conversion_id, j.event_timestamp, j.id"

WAITING_JOURNEYS = Statement(
    "waiting_journeys", f"{_JOURNEY}{_LISTED} AND c.processed = 0{_TOGETHER}"
)

ATTRIBUTED_JOURNEYS = Statement(
    "attributed_journeys", f"{_JOURNEY}{_LISTED} AND c.processed = 1{_TOGETHER}"
)

ALL_JOURNEYS = Statement("all_journeys", f"{_JOURNEY}{_TOGETHER}")


def _with_names(statement: Statement) -> Statement:
    """Return *statement* with the name of each touch's event, which milestones go by."""
    sql = statement.sql.replace("j.utm_source\n", "j.utm_source, j.event_name\n")
    return Statement(f"named_{statement.name}", sql)


NAMED_CONVERSION_JOURNEY = _with_names(CONVERSION_JOURNEY)
NAMED_WAITING_JOURNEYS = _with_names(WAITING_JOURNEYS)
NAMED_ATTRIBUTED_JOURNEYS = _with_names(ATTRIBUTED_JOURNEYS)
NAMED_ALL_JOURNEYS = _with_names(ALL_JOURNEYS)


def _with_own(statement: Statement) -> Statement:
    """Return *statement*, which has names, with the conversion's own event among its touches."""
    sql = statement.sql.replace(
        "j.conversion_id IS NULL",
        "(j.conversion_id IS NULL"
        " OR j.conversion_id = c.conversion_id AND j.event_id = c.event_id)",
    )
    return Statement(statement.name.replace("named", "own"), sql)


OWN_CONVERSION_JOURNEY = _with_own(NAMED_CONVERSION_JOURNEY)
OWN_WAITING_JOURNEYS = _with_own(NAMED_WAITING_JOURNEYS)
OWN_ATTRIBUTED_JOURNEYS = _with_own(NAMED_ATTRIBUTED_JOURNEYS)
OWN_ALL_JOURNEYS = _with_own(NAMED_ALL_JOURNEYS)

_PLAIN = (CONVERSION_JOURNEY, WAITING_JOURNEYS, ATTRIBUTED_JOURNEYS, ALL_JOURNEYS)
_NAMED = (
    NAMED_CONVERSION_JOURNEY, NAMED_WAITING_JOURNEYS, NAMED_ATTRIBUTED_JOURNEYS, NAMED_ALL_JOURNEYS,
)  # fmt: skip
_OWN = (OWN_CONVERSION_JOURNEY, OWN_WAITING_JOURNEYS, OWN_ATTRIBUTED_JOURNEYS, OWN_ALL_JOURNEYS)


def journeys_under(statement: Statement, *, named: bool, own: bool) -> Statement:
    """Return the form of *statement*, which finds journeys, that parameters ask for.

    named: with the names of the touches' events; own: with the conversions' own events, too.
    """
    return (_OWN if own else _NAMED if named else _PLAIN)[_PLAIN.index(statement)]


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

# Few events say that much of themselves, and the others cost less without it.
INSERT_CAMPAIGN_EVENT = Statement(
    "insert_campaign_event",
    "INSERT INTO user_journeys (event_id, user_id, event_name, utm_source, event_timestamp,"
    " segment, conversion_id, utm_medium, utm_campaign, utm_term, utm_content)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
)

INSERT_CONVERSION = Statement(
    "insert_conversion",
    "INSERT INTO conversions (conversion_id, event_id, user_id, conversion_timestamp, value)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (conversion_id) DO NOTHING",
)

# No OR REPLACE: a conversion that another consumer has attributed since its journey was read fails
# the whole transaction, so that it is counted once whatever overlaps; the others are then stored
# one by one.
INSERT_CREDITS = Statement(
    "insert_credits",
    "INSERT INTO touch_credits (conversion_id, touchpoint_index, touchpoints,"
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

# One pass over all rows, on purpose: this is what incremental totals are checked against. Credit
# that was stored before there was a model is NULL under data_driven, and no credit.
_SUMS = ", ".join(
    f"count(DISTINCT CASE WHEN {model} IS NOT NULL THEN conversion_id END),"
    f" sum({model}), sum({model} * value)"
    for model in MODELS
)
RECOUNT = Statement(
    "recount",
    f"SELECT utm_source, {_SUMS}"
    " FROM touch_credits CROSS JOIN conversions USING (conversion_id) GROUP BY utm_source",
)

UNEVEN_CREDITS = Statement(
    "uneven_credits",
    "SELECT conversion_id FROM touch_credits GROUP BY conversion_id HAVING"
    f" {' OR '.join(f'abs(sum({model}) - 1) > 1e-9' for model in MODELS)}"
    " ORDER BY conversion_id",
)

CHANNEL_TOTALS = Statement(
    "channel_totals",
    "SELECT attribution_model, utm_source, total_attribution, total_conversions, total_value"
    " FROM channel_performance",
)

FORGET_CHANNEL = Statement(
    "forget_channel",
    "DELETE FROM channel_performance WHERE attribution_model = ? AND utm_source = ?",
)

MARK_PROCESSED = Statement(
    "mark_processed",
    "UPDATE conversions SET processed = 1, parameters_key = ?, model_version = ?"
    " WHERE conversion_id = ? AND processed = 0",
)

RESTATE = Statement(
    "restate",
    "UPDATE conversions SET parameters_key = ?, model_version = ? WHERE conversion_id = ?",
)

ATTRIBUTED_OTHERWISE = Statement(
    "attributed_otherwise",
    "SELECT conversion_id FROM conversions WHERE conversion_id > ? AND processed = 1"
    " AND parameters_key IS NOT ? ORDER BY conversion_id LIMIT ?",
)

DELETE_CREDITS = Statement("delete_credits", "DELETE FROM touch_credits WHERE conversion_id = ?")

NEWER_MODEL = Statement(
    "newer_model",
    "SELECT version, weights FROM fitted_models WHERE version > ? ORDER BY version DESC LIMIT 1",
)

INSERT_MODEL = Statement(
    "insert_model",
    "INSERT INTO fitted_models (fitted_at_ms, data_from_ms, data_until_ms, markov_order,"
    " parameters, weights) VALUES (?, ?, ?, ?, ?, ?) RETURNING version",
)

# Into the copy that a fit is made on.
SAMPLE_TOUCH = Statement(
    "sample_touch",
    "INSERT INTO user_journeys (id, event_id, user_id, event_name, event_timestamp, utm_source,"
    " conversion_id) VALUES (?, ?, ?, '', ?, ?, ?)",
)

# What a fit sees: touches, and of events that are conversions their conversion.
EVENTS_AFTER = Statement(
    "events_after",
    "SELECT j.id, j.user_id, j.event_timestamp, j.utm_source, j.conversion_id,"
    " c.conversion_timestamp, c.value FROM user_journeys AS j LEFT JOIN conversions AS c"
    " ON c.conversion_id = j.conversion_id AND c.event_id = j.event_id"
    " WHERE j.id > ? AND j.id <= ? ORDER BY j.id LIMIT ?",
)

# A conversion that is processed or dead does not come back with a late duplicate of its event.
ENQUEUE = Statement(
    "enqueue",
    "INSERT INTO conversion_queue (conversion_id, attempts, enqueued_at_ms, available_at_ms,"
    " leased_by) SELECT conversion_id, ?, ?, ?, ? FROM conversions AS c WHERE conversion_id = ?"
    " AND processed = 0 AND NOT EXISTS"
    " (SELECT 1 FROM dead_letters AS d WHERE d.conversion_id = c.conversion_id)"
    " ON CONFLICT (conversion_id) DO NOTHING",
)

DEQUEUE = Statement("dequeue", "DELETE FROM conversion_queue WHERE conversion_id = ?")

LEASE = Statement(
    "lease",
    "UPDATE conversion_queue SET attempts = attempts + 1, available_at_ms = ?, leased_by = ?"
    " WHERE conversion_id IN (SELECT conversion_id FROM conversion_queue"
    " WHERE available_at_ms <= ? ORDER BY available_at_ms, conversion_id LIMIT ?)"
    " RETURNING enqueued_at_ms, conversion_id, attempts",
)

# A row that a consumer has in hand is its own by its lease, or if nobody holds one, which counts as
# taking it now.
_ITS_OWN = (
    " WHERE conversion_id IN (SELECT value FROM json_each(?))"
    " AND (leased_by IS NULL OR leased_by = ?)"
)

RENEW_LEASE = Statement(
    "renew_lease",
    "UPDATE conversion_queue SET attempts = attempts + (leased_by IS NULL),"
    f" available_at_ms = ?, leased_by = ?{_ITS_OWN}",
)

BREAK_LEASES = Statement(
    "break_leases",
    "UPDATE conversion_queue SET available_at_ms = ?, leased_by = NULL"
    " WHERE available_at_ms > ? AND leased_by IS NOT NULL",
)

RECORD_FAILURE = Statement(
    "record_failure",
    "UPDATE conversion_queue SET attempts = attempts + 1 + (leased_by IS NULL),"
    f" available_at_ms = ?, leased_by = ?, last_error = ?{_ITS_OWN}",
)

RELEASE = Statement(
    "release",
    "UPDATE conversion_queue SET available_at_ms = ?, leased_by = NULL"
    " WHERE conversion_id IN (SELECT value FROM json_each(?)) AND leased_by = ?",
)

# A conversion that another consumer has taken is not dead.
DEAD_LETTER = Statement(
    "dead_letter",
    "INSERT INTO dead_letters (conversion_id, attempts, reason, died_at_ms)"
    " SELECT conversion_id, min(attempts + (leased_by IS NULL), ?), ?, ? FROM conversion_queue"
    f"{_ITS_OWN} ON CONFLICT (conversion_id) DO NOTHING",
)

# What was tried as often as it may be: the reason is the error that it met last, if there is one.
DEAD_LETTER_SPENT = Statement(
    "dead_letter_spent",
    "INSERT INTO dead_letters (conversion_id, attempts, reason, died_at_ms)"
    " SELECT conversion_id, min(attempts, ?), coalesce(? || last_error, ?), ?"
    f" FROM conversion_queue{_ITS_OWN} ON CONFLICT (conversion_id) DO NOTHING",
)

# Whoever holds its lease: what no attempt can attribute is dead, with the newest reason.
REJECT = Statement(
    "reject",
    "INSERT INTO dead_letters (conversion_id, attempts, reason, died_at_ms)"
    " SELECT c.conversion_id, coalesce(q.attempts, 0) + 1, ?, ? FROM conversions AS c"
    " LEFT JOIN conversion_queue AS q ON q.conversion_id = c.conversion_id"
    " WHERE c.conversion_id = ? AND c.processed = 0"
    " ON CONFLICT (conversion_id) DO UPDATE SET reason = excluded.reason",
)

DEQUEUE_DEAD = Statement("dequeue_dead", f"DELETE FROM conversion_queue{_ITS_OWN}")

REVIVE = Statement(
    "revive",
    "INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms)"
    " SELECT conversion_id, ?, ? FROM conversions WHERE conversion_id = ? AND processed = 0"
    " ON CONFLICT (conversion_id) DO NOTHING",
)

DROP_DEAD_LETTER = Statement("drop_dead_letter", "DELETE FROM dead_letters WHERE conversion_id = ?")

QUEUE_DUE = Statement(
    "queue_due",
    "SELECT count(*) AS due, min(enqueued_at_ms) AS oldest, count(last_error) AS failed"
    " FROM conversion_queue WHERE available_at_ms <= ?",
)

QUEUE_NOT_DUE = Statement(
    "queue_not_due",
    "SELECT count(*) AS waiting, count(leased_by) AS leased, min(enqueued_at_ms) AS oldest,"
    " count(last_error) AS failed FROM conversion_queue WHERE available_at_ms > ?",
)

QUEUE_DEPTH = Statement(
    "queue_depth", "SELECT count(*) AS depth FROM conversion_queue WHERE available_at_ms >= 0"
)

# A write whose time limit passed may still have been carried out: what it stored is not dead.
DEAD_LETTERS = Statement(
    "dead_letters",
    "SELECT d.conversion_id, d.attempts, d.reason, d.died_at_ms FROM dead_letters AS d"
    " WHERE d.conversion_id > ? AND EXISTS (SELECT 1 FROM conversions AS c"
    " WHERE c.conversion_id = d.conversion_id AND c.processed = 0)"
    " ORDER BY d.conversion_id LIMIT ?",
)

# The outbox: what is sent is written when the results are, byte for byte the same each time, and
# before they are marked: what another consumer has stored is not put out again.
FORWARD = Statement(
    "forward",
    "INSERT INTO outbox (conversion_id, document, enqueued_at_ms, available_at_ms, leased_by)"
    " SELECT ?, ?, ?, ?, ? FROM conversions AS c WHERE c.conversion_id = ? AND c.processed = 0"
    " ON CONFLICT (conversion_id) DO NOTHING",
)

# What is forwarded of conversions that were stored in bulk.
STORED_RESULTS = Statement(
    "stored_results",
    "SELECT c.conversion_id, c.user_id, c.conversion_timestamp, c.value, t.utm_source,"
    f" {', '.join(f't.{model}' for model in MODELS)}"
    " FROM conversions AS c LEFT JOIN touch_credits AS t ON t.conversion_id = c.conversion_id"
    " WHERE c.conversion_id IN (SELECT value FROM json_each(?))"
    " ORDER BY c.conversion_id, t.touchpoint_index",
)

TAKE_DELIVERIES = Statement(
    "take_deliveries",
    "UPDATE outbox SET available_at_ms = ?, leased_by = ?"
    " WHERE conversion_id IN (SELECT conversion_id FROM outbox"
    " WHERE available_at_ms <= ? ORDER BY available_at_ms, conversion_id LIMIT ?)"
    " RETURNING enqueued_at_ms, conversion_id, document, attempts",
)

DELIVERED = Statement("delivered", "DELETE FROM outbox WHERE conversion_id = ?")

PUT_OFF_DELIVERY = Statement(
    "put_off_delivery",
    "UPDATE outbox SET attempts = attempts + 1, available_at_ms = ?, leased_by = NULL,"
    " last_error = ? WHERE conversion_id = ? AND leased_by = ?",
)

RELEASE_DELIVERY = Statement(
    "release_delivery",
    "UPDATE outbox SET available_at_ms = ?, leased_by = NULL"
    " WHERE conversion_id = ? AND leased_by = ?",
)

NEXT_DELIVERY = Statement("next_delivery", "SELECT min(available_at_ms) FROM outbox")

BREAK_DELIVERIES = Statement(
    "break_deliveries",
    "UPDATE outbox SET available_at_ms = ?, leased_by = NULL"
    " WHERE available_at_ms > ? AND leased_by IS NOT NULL",
)

DEAD_LETTER_DELIVERY = Statement(
    "dead_letter_delivery",
    "INSERT INTO undelivered (conversion_id, document, attempts, reason, died_at_ms)"
    " SELECT conversion_id, document, attempts + 1, ?, ? FROM outbox"
    " WHERE conversion_id = ? AND leased_by = ? ON CONFLICT (conversion_id) DO NOTHING",
)

DROP_DEAD_DELIVERY = Statement(
    "drop_dead_delivery", "DELETE FROM outbox WHERE conversion_id = ? AND leased_by = ?"
)

REVIVE_DELIVERY = Statement(
    "revive_delivery",
    "INSERT INTO outbox (conversion_id, document, enqueued_at_ms, available_at_ms)"
    " SELECT conversion_id, document, ?, ? FROM undelivered WHERE conversion_id = ?"
    " ON CONFLICT (conversion_id) DO NOTHING",
)

DROP_UNDELIVERED = Statement("drop_undelivered", "DELETE FROM undelivered WHERE conversion_id = ?")

UNDELIVERED = Statement(
    "undelivered",
    "SELECT conversion_id, attempts, reason, died_at_ms FROM undelivered"
    " WHERE conversion_id > ? ORDER BY conversion_id LIMIT ?",
)

OUTBOX_DUE = Statement(
    "outbox_due",
    "SELECT count(*) AS due, min(enqueued_at_ms) AS oldest, count(last_error) AS failed"
    " FROM outbox WHERE available_at_ms <= ?",
)

OUTBOX_NOT_DUE = Statement(
    "outbox_not_due",
    "SELECT count(*) AS waiting, count(leased_by) AS leased, min(enqueued_at_ms) AS oldest,"
    " count(last_error) AS failed FROM outbox WHERE available_at_ms > ?",
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

# Users without an event may have conversions: in a database that others have filled.
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

# With the conversions' own events among them, each with its conversion.
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

# A population has ids of its own, and no segment in its events; what is tracked has one.
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

# Views of the connection stand before the tables of that name.
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

IS_FILLED = Statement(
    "is_filled",
    "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM user_journeys)"
    " OR EXISTS (SELECT 1 FROM conversions)",
)

SITE_IDS = Statement("site_ids", "SELECT site_id FROM sites")

HAS_TABLE = Statement("has_table", "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?")


def whole_table(table: str, columns: Sequence[str]) -> Statement:
    """Return what reads *columns* of every row of *table*, which are the schema's own names."""
    return Statement(f"rows_of_{table}", f"SELECT {', '.join(columns)} FROM {table}")


def insertion(table: str, columns: Sequence[str], rows: int) -> Statement:
    """Return what inserts so many *rows* into *table*, whose names were checked before."""
    names = ", ".join(f'"{column}"' for column in columns)
    places = f"({', '.join('?' for _ in columns)})"
    values = ", ".join(places for _ in range(rows))
    return Statement(f"insert_many_{table}", f'INSERT INTO "{table}" ({names}) VALUES {values}')
