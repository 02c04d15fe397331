"""The SQL statements of requests, results and models; `queue_statements` and `scan_statements`
hold the others."""

from __future__ import annotations

from core.attribution.models import MODELS
from core.query.statement import Statement, for_each

SITE = Statement("site", "SELECT enabled, max_event_bytes FROM sites WHERE site_id = ?")

USER = Statement("user", "SELECT segment, profile FROM users WHERE user_id = ?")

USER_JOURNEY = Statement(
    "user_journey",
    "SELECT event_id, event_name, utm_source, event_timestamp, conversion_id,"
    " utm_medium, utm_campaign, utm_term, utm_content FROM user_journeys"
    " WHERE user_id = ? ORDER BY event_timestamp DESC, id DESC LIMIT ?",
)

# Touches lie after the user's previous conversion and within the lookback window, both ends
# included (times are whole milliseconds, from 0 on). Events that are conversions are not touches.
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
    """Return *statement* with the name of each touch's event, which milestones need."""
    sql = statement.sql.replace("j.utm_source\n", "j.utm_source, j.event_name\n")
    return Statement(f"named_{statement.name}", sql)


NAMED_CONVERSION_JOURNEY = _with_names(CONVERSION_JOURNEY)
NAMED_WAITING_JOURNEYS = _with_names(WAITING_JOURNEYS)
NAMED_ATTRIBUTED_JOURNEYS = _with_names(ATTRIBUTED_JOURNEYS)
NAMED_ALL_JOURNEYS = _with_names(ALL_JOURNEYS)


def _with_own(statement: Statement) -> Statement:
    """Return *statement*, which has event names, with the conversion's own event as a touch."""
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
    """Return a variant of *statement*, which finds journeys.

    named: with the names of the touches' events. own: with the conversions' own events as touches.
    """
    return (_OWN if own else _NAMED if named else _PLAIN)[_PLAIN.index(statement)]


def _of_model(suffix: str = "") -> str:
    """Return the expression for the column of the asked model in channel_totals."""
    cases = " ".join(f"WHEN '{model}' THEN {model}{suffix}" for model in MODELS)
    return f"CASE asked.model {cases} END"


# Over the channels, of which there are few: an index for each model would be written with each
# conversion. Equal credits have the channels' order.
CHANNEL_PERFORMANCE = Statement(
    "channel_performance",
    f"SELECT utm_source, {_of_model()} AS credit, {_of_model('_conversions')} AS conversions,"
    f" {_of_model('_value')} FROM (SELECT ? AS model) AS asked CROSS JOIN channel_totals"
    " WHERE conversions > 0 ORDER BY credit DESC, utm_source LIMIT ?",
)

INSERT_EVENT = Statement(
    "insert_event",
    "INSERT INTO user_journeys (event_id, user_id, event_name, utm_source, event_timestamp,"
    " segment, conversion_id) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
)

# Few events have these columns, and inserting the other events without them costs less.
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

# Not OR REPLACE: if another consumer attributed a conversion after its journey was read, the whole
# transaction fails. So each conversion is counted once, however consumers overlap. The other
# conversions are then stored one by one.
INSERT_CREDITS = Statement(
    "insert_credits",
    "INSERT INTO credits (conversion_id, first_touch, touchpoints, touches) VALUES (?, ?, ?, ?)",
    together=for_each(
        "INSERT INTO credits (conversion_id, first_touch, touchpoints, touches)"
        " SELECT {0}, {1}, {2}, {3} FROM {rows}"
    ),
)

TOTALS = [f"{model}{suffix}" for model in MODELS for suffix in ("", "_conversions", "_value")]
"""The sums in a row of channel_totals: the credit, conversions and value under each model."""

_INSERT_TOTALS = f"INSERT INTO channel_totals (utm_source, last_updated, {', '.join(TOTALS)})"
_SUMS = ", ".join(f"{column} = {column} + excluded.{column}" for column in TOTALS)
_ADD = f" ON CONFLICT (utm_source) DO UPDATE SET {_SUMS}, last_updated = excluded.last_updated"
_PLACES = range(2 + len(TOTALS))

ADD_TO_CHANNEL = Statement(
    "add_to_channel",
    f"{_INSERT_TOTALS} VALUES ({', '.join('?' for _ in _PLACES)}){_ADD}",
    together=for_each(
        f"{_INSERT_TOTALS} SELECT {', '.join(f'{{{place}}}' for place in _PLACES)}"
        f" FROM {{rows}} WHERE true{_ADD}"
    ),
)

# One pass over all rows, on purpose: incremental totals are checked against this.
STORED_CREDITS = Statement(
    "stored_credits",
    "SELECT t.conversion_id, t.touches, c.value FROM credits AS t LEFT JOIN conversions AS c"
    " ON c.conversion_id = t.conversion_id ORDER BY t.conversion_id, t.first_touch",
)

CHANNEL_TOTALS = Statement(
    "channel_totals", f"SELECT utm_source, {', '.join(TOTALS)} FROM channel_totals"
)

FORGET_CHANNEL = Statement("forget_channel", "DELETE FROM channel_totals WHERE utm_source = ?")

MARK_PROCESSED = Statement(
    "mark_processed",
    "UPDATE conversions SET processed = 1, parameters_key = ?, model_version = ?"
    " WHERE conversion_id = ? AND processed = 0",
    together=for_each(
        "UPDATE conversions SET processed = 1, parameters_key = {0}, model_version = {1}"
        " FROM {rows} WHERE conversion_id = {2} AND processed = 0"
    ),
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

DELETE_CREDITS = Statement("delete_credits", "DELETE FROM credits WHERE conversion_id = ?")

NEWER_MODEL = Statement(
    "newer_model",
    "SELECT version, weights FROM fitted_models WHERE version > ? ORDER BY version DESC LIMIT 1",
)

INSERT_MODEL = Statement(
    "insert_model",
    "INSERT INTO fitted_models (fitted_at_ms, data_from_ms, data_until_ms, markov_order,"
    " parameters, weights) VALUES (?, ?, ?, ?, ?, ?) RETURNING version",
)

# Into the copy that a model is fitted on.
SAMPLE_TOUCH = Statement(
    "sample_touch",
    "INSERT INTO user_journeys (id, event_id, user_id, event_name, event_timestamp, utm_source,"
    " conversion_id) VALUES (?, ?, ?, '', ?, ?, ?)",
)

# The input of a fit: touches, and the conversions of events that are conversions.
EVENTS_AFTER = Statement(
    "events_after",
    "SELECT j.id, j.user_id, j.event_timestamp, j.utm_source, j.conversion_id,"
    " c.conversion_timestamp, c.value FROM user_journeys AS j LEFT JOIN conversions AS c"
    " ON c.conversion_id = j.conversion_id AND c.event_id = j.event_id"
    " WHERE j.id > ? AND j.id <= ? ORDER BY j.id LIMIT ?",
)

# The content that is forwarded for conversions that were stored in bulk.
STORED_RESULTS = Statement(
    "stored_results",
    "SELECT c.conversion_id, c.user_id, c.conversion_timestamp, c.value, t.touches"
    " FROM conversions AS c LEFT JOIN credits AS t ON t.conversion_id = c.conversion_id"
    " WHERE c.conversion_id IN (SELECT value FROM json_each(?))"
    " ORDER BY c.conversion_id, t.first_touch",
)

INSERT_SITE = Statement(
    "insert_site", "INSERT INTO sites (site_id, enabled, max_event_bytes) VALUES (?, ?, ?)"
)

INSERT_USER = Statement(
    "insert_user", "INSERT INTO users (user_id, segment, profile) VALUES (?, ?, ?)"
)

IS_FILLED = Statement(
    "is_filled",
    "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM user_journeys)"
    " OR EXISTS (SELECT 1 FROM conversions)",
)

SITE_IDS = Statement("site_ids", "SELECT site_id FROM sites")

HAS_TABLE = Statement("has_table", "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?")

STATED_QUERY = Statement("stated_query", "SELECT count(*) FROM sites WHERE site_id = ?")
STATED_WRITE = Statement("stated_write", "UPDATE sites SET enabled = enabled WHERE site_id = ?")
"""A query and a write that change nothing: they stand for those of an endpoint of one's own, which
take the time that the scenario's database takes, in their turn."""
