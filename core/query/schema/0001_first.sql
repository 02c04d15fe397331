-- The CDP's tables. Times are epoch milliseconds; '(direct)' names traffic without a source.

CREATE TABLE sites (
  site_id TEXT PRIMARY KEY,
  enabled INTEGER NOT NULL,
  max_event_bytes INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE users (
  user_id TEXT PRIMARY KEY,
  segment TEXT NOT NULL,
  profile TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE TABLE user_journeys (
  id INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL UNIQUE,
  user_id TEXT NOT NULL,
  event_name TEXT NOT NULL,
  utm_source TEXT NOT NULL DEFAULT '(direct)',
  utm_medium TEXT,
  utm_campaign TEXT,
  utm_term TEXT,
  utm_content TEXT,
  event_timestamp INTEGER NOT NULL,
  segment TEXT,
  conversion_id TEXT
);

CREATE INDEX user_journeys_by_user ON user_journeys (user_id, event_timestamp, id);

CREATE TABLE conversions (
  conversion_id TEXT PRIMARY KEY,
  event_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  conversion_timestamp INTEGER NOT NULL,
  value REAL NOT NULL,
  processed INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE INDEX conversions_by_user ON conversions (user_id, conversion_timestamp);
CREATE INDEX conversions_waiting ON conversions (conversion_id) WHERE processed = 0;

-- One wide row per touch; multi_touch_attribution shows it in the long shape.
CREATE TABLE touch_credits (
  conversion_id TEXT NOT NULL,
  touchpoint_index INTEGER NOT NULL,
  touchpoints INTEGER NOT NULL,
  utm_source TEXT NOT NULL,
  last_click REAL NOT NULL,
  first_click REAL NOT NULL,
  linear REAL NOT NULL,
  time_decay REAL NOT NULL,
  u_shape REAL NOT NULL,
  w_shape REAL NOT NULL,
  PRIMARY KEY (conversion_id, touchpoint_index)
) WITHOUT ROWID;

-- D1 takes five terms of a compound SELECT, and counts those of a subquery anew.
CREATE VIEW multi_touch_attribution AS
SELECT conversion_id, attribution_model, touchpoint_index, utm_source,
       100.0 * credit AS credit_percentage,
       CASE WHEN touchpoints = 1 THEN 'only'
            WHEN touchpoint_index = 0 THEN 'first'
            WHEN touchpoint_index = touchpoints - 1 THEN 'last'
            ELSE 'middle' END AS role
FROM (
  SELECT *, 'last_click' AS attribution_model, last_click AS credit FROM touch_credits
  UNION ALL SELECT *, 'first_click', first_click FROM touch_credits
  UNION ALL SELECT *, 'linear', linear FROM touch_credits
  UNION ALL SELECT *, 'time_decay', time_decay FROM touch_credits
  UNION ALL SELECT * FROM (
    SELECT *, 'u_shape', u_shape FROM touch_credits
    UNION ALL SELECT *, 'w_shape', w_shape FROM touch_credits
  )
);

CREATE TABLE channel_performance (
  attribution_model TEXT NOT NULL,
  utm_source TEXT NOT NULL,
  total_attribution REAL NOT NULL,
  total_conversions INTEGER NOT NULL,
  total_value REAL NOT NULL,
  last_updated INTEGER NOT NULL,
  PRIMARY KEY (attribution_model, utm_source)
) WITHOUT ROWID;

CREATE INDEX channel_performance_ranked
  ON channel_performance (attribution_model, total_attribution DESC);
