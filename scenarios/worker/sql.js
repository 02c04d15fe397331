// The statements of the four endpoints and of the consumer, for the schema in core/query/schema.
// A test compares those that edgeproof's own service has too with its text.

export const SITE = "SELECT enabled, max_event_bytes FROM sites WHERE site_id = ?";

export const USER = "SELECT segment, profile FROM users WHERE user_id = ?";

export const USER_JOURNEY =
  "SELECT event_id, event_name, utm_source, event_timestamp, conversion_id," +
  " utm_medium, utm_campaign, utm_term, utm_content FROM user_journeys" +
  " WHERE user_id = ? ORDER BY event_timestamp DESC, id DESC LIMIT ?";

export const CHANNEL_PERFORMANCE =
  "SELECT utm_source, total_attribution, total_conversions, total_value" +
  " FROM channel_performance WHERE attribution_model = ?" +
  " ORDER BY total_attribution DESC LIMIT ?";

export const NEWER_MODEL =
  "SELECT version, weights FROM fitted_models WHERE version > ? ORDER BY version DESC LIMIT 1";

export const INSERT_CAMPAIGN_EVENT =
  "INSERT INTO user_journeys (event_id, user_id, event_name, utm_source, event_timestamp," +
  " segment, conversion_id, utm_medium, utm_campaign, utm_term, utm_content)" +
  " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING";

export const INSERT_CONVERSION =
  "INSERT INTO conversions (conversion_id, event_id, user_id, conversion_timestamp, value)" +
  " VALUES (?, ?, ?, ?, ?) ON CONFLICT (conversion_id) DO NOTHING";

// A journey: the conversion, and one row for each touch since the user's previous conversion.
function journeys(condition, { named, own }) {
  const touch = own
    ? "(j.conversion_id IS NULL" +
      " OR j.conversion_id = c.conversion_id AND j.event_id = c.event_id)"
    : "j.conversion_id IS NULL";
  return `
SELECT c.conversion_id, c.user_id, c.conversion_timestamp, c.value,
       j.event_timestamp, j.utm_source${named || own ? ", j.event_name" : ""}
FROM conversions AS c LEFT JOIN user_journeys AS j
  ON j.user_id = c.user_id
 AND j.event_timestamp > max(
       c.conversion_timestamp - ? - 1,
       coalesce((SELECT max(p.conversion_timestamp) FROM conversions AS p
                 WHERE p.user_id = c.user_id
                   AND p.conversion_timestamp < c.conversion_timestamp), -1))
 AND j.event_timestamp <= c.conversion_timestamp
 AND ${touch}
${condition}`;
}

export const conversionJourney = (parameters) =>
  journeys("WHERE c.conversion_id = ? ORDER BY j.event_timestamp, j.id", parameters);

export const waitingJourneys = (parameters) =>
  journeys(
    "WHERE c.conversion_id IN (SELECT value FROM json_each(?)) AND c.processed = 0" +
      " ORDER BY c.conversion_id, j.event_timestamp, j.id",
    parameters,
  );

// The consumer writes a batch in three statements, whatever its size: D1 counts statements, and
// each one takes time. A parameter is a JSON list of rows.
export const MARK_PROCESSED =
  "UPDATE conversions SET processed = 1, parameters_key = ?, model_version = ?" +
  " WHERE conversion_id IN (SELECT value FROM json_each(?)) AND processed = 0";

const at = (place) => `json_extract(value, '$[${place}]')`;

// Not OR REPLACE: credits of a conversion that another delivery has stored make the batch fail,
// and its next delivery leaves that conversion out.
export const INSERT_CREDITS =
  "INSERT INTO touch_credits (conversion_id, touchpoint_index, touchpoints, utm_source," +
  " last_click, first_click, linear, time_decay, u_shape, w_shape, data_driven)" +
  ` SELECT ${[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(at).join(", ")} FROM json_each(?)`;

export const ADD_TO_CHANNEL =
  "INSERT INTO channel_performance (attribution_model, utm_source, total_attribution," +
  " total_conversions, total_value, last_updated)" +
  ` SELECT ${[0, 1, 2, 3, 4, 5].map(at).join(", ")} FROM json_each(?) WHERE true` +
  " ON CONFLICT (attribution_model, utm_source) DO UPDATE SET" +
  " total_attribution = total_attribution + excluded.total_attribution," +
  " total_conversions = total_conversions + excluded.total_conversions," +
  " total_value = total_value + excluded.total_value, last_updated = excluded.last_updated";
