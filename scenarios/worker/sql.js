// The statements of the four endpoints and of the consumer, for the schema in core/query/schema.
// A test compares those that edgeproof's own service has too with its text.

export const SITE = "SELECT enabled, max_event_bytes FROM sites WHERE site_id = ?";

export const USER = "SELECT segment, profile FROM users WHERE user_id = ?";

export const USER_JOURNEY =
  "SELECT event_id, event_name, utm_source, event_timestamp, conversion_id," +
  " utm_medium, utm_campaign, utm_term, utm_content FROM user_journeys" +
  " WHERE user_id = ? ORDER BY event_timestamp DESC, id DESC LIMIT ?";

// Through the view, by its plain names; there are few channels.
export const CHANNEL_PERFORMANCE =
  "SELECT utm_source, total_attribution, total_conversions, total_value" +
  " FROM channel_performance WHERE attribution_model = ? AND total_conversions > 0" +
  " ORDER BY total_attribution DESC, utm_source LIMIT ?";

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
const places = (count) => [...Array(count).keys()].map(at).join(", ");

// Not OR REPLACE: credits of a conversion that another delivery has stored make the batch fail,
// and its next delivery leaves that conversion out.
export const INSERT_CREDITS =
  "INSERT INTO credits (conversion_id, first_touch, touchpoints, touches)" +
  ` SELECT ${places(4)} FROM json_each(?)`;

// models: in the order of the columns of channel_totals.
export function addToChannels(models) {
  const sums = models.flatMap((model) => [model, `${model}_conversions`, `${model}_value`]);
  const added = sums.map((column) => `${column} = ${column} + excluded.${column}`);
  return `INSERT INTO channel_totals (utm_source, last_updated, ${sums.join(", ")})` +
    ` SELECT ${places(2 + sums.length)} FROM json_each(?) WHERE true` +
    ` ON CONFLICT (utm_source) DO UPDATE SET ${added.join(", ")},` +
    " last_updated = excluded.last_updated";
}
