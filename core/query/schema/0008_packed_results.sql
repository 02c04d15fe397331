-- A row of credits for each conversion, and a row of totals for each channel: D1 bills every row
-- that is written. The tables of before are views over them.

-- touches: a JSON array of the touches' channels, oldest first, and of their credits under each
-- model, in the order of the columns of touch_credits. A journey that is longer than a row may be
-- has several rows; first_touch is the number of the first touch in a row.
CREATE TABLE credits (
  conversion_id TEXT NOT NULL,
  first_touch INTEGER NOT NULL,
  touchpoints INTEGER NOT NULL,
  touches TEXT NOT NULL,
  PRIMARY KEY (conversion_id, first_touch)
) WITHOUT ROWID;

CREATE TABLE channel_totals (
  utm_source TEXT PRIMARY KEY,
  last_updated INTEGER NOT NULL,
  last_click REAL NOT NULL,
  last_click_conversions INTEGER NOT NULL,
  last_click_value REAL NOT NULL,
  first_click REAL NOT NULL,
  first_click_conversions INTEGER NOT NULL,
  first_click_value REAL NOT NULL,
  linear REAL NOT NULL,
  linear_conversions INTEGER NOT NULL,
  linear_value REAL NOT NULL,
  time_decay REAL NOT NULL,
  time_decay_conversions INTEGER NOT NULL,
  time_decay_value REAL NOT NULL,
  u_shape REAL NOT NULL,
  u_shape_conversions INTEGER NOT NULL,
  u_shape_value REAL NOT NULL,
  w_shape REAL NOT NULL,
  w_shape_conversions INTEGER NOT NULL,
  w_shape_value REAL NOT NULL,
  data_driven REAL NOT NULL,
  data_driven_conversions INTEGER NOT NULL,
  data_driven_value REAL NOT NULL
) WITHOUT ROWID;

-- 17 digits give the same number again.
INSERT INTO credits (conversion_id, first_touch, touchpoints, touches)
SELECT f.conversion_id, f.touchpoint_index, f.touchpoints, (
  SELECT '[[' || group_concat(channel)
    || '],[' || group_concat(last_click)
    || '],[' || group_concat(first_click)
    || '],[' || group_concat(linear)
    || '],[' || group_concat(time_decay)
    || '],[' || group_concat(u_shape)
    || '],[' || group_concat(w_shape)
    || '],[' || group_concat(data_driven)
    || ']]'
  FROM (
    SELECT json_quote(t.utm_source) AS channel,
      printf('%!.17g', t.last_click) AS last_click,
      printf('%!.17g', t.first_click) AS first_click,
      printf('%!.17g', t.linear) AS linear,
      printf('%!.17g', t.time_decay) AS time_decay,
      printf('%!.17g', t.u_shape) AS u_shape,
      printf('%!.17g', t.w_shape) AS w_shape,
      CASE WHEN t.data_driven IS NULL THEN 'null'
        ELSE printf('%!.17g', t.data_driven) END AS data_driven
    FROM touch_credits AS t
    WHERE t.conversion_id = f.conversion_id
      AND t.touchpoint_index BETWEEN f.touchpoint_index AND f.touchpoint_index + 999
    ORDER BY t.touchpoint_index
  )
)
FROM touch_credits AS f WHERE f.touchpoint_index % 1000 = 0;

INSERT INTO channel_totals
SELECT utm_source, max(last_updated),
  coalesce(sum(total_attribution) FILTER (WHERE attribution_model = 'last_click'), 0.0),
  coalesce(sum(total_conversions) FILTER (WHERE attribution_model = 'last_click'), 0),
  coalesce(sum(total_value) FILTER (WHERE attribution_model = 'last_click'), 0.0),
  coalesce(sum(total_attribution) FILTER (WHERE attribution_model = 'first_click'), 0.0),
  coalesce(sum(total_conversions) FILTER (WHERE attribution_model = 'first_click'), 0),
  coalesce(sum(total_value) FILTER (WHERE attribution_model = 'first_click'), 0.0),
  coalesce(sum(total_attribution) FILTER (WHERE attribution_model = 'linear'), 0.0),
  coalesce(sum(total_conversions) FILTER (WHERE attribution_model = 'linear'), 0),
  coalesce(sum(total_value) FILTER (WHERE attribution_model = 'linear'), 0.0),
  coalesce(sum(total_attribution) FILTER (WHERE attribution_model = 'time_decay'), 0.0),
  coalesce(sum(total_conversions) FILTER (WHERE attribution_model = 'time_decay'), 0),
  coalesce(sum(total_value) FILTER (WHERE attribution_model = 'time_decay'), 0.0),
  coalesce(sum(total_attribution) FILTER (WHERE attribution_model = 'u_shape'), 0.0),
  coalesce(sum(total_conversions) FILTER (WHERE attribution_model = 'u_shape'), 0),
  coalesce(sum(total_value) FILTER (WHERE attribution_model = 'u_shape'), 0.0),
  coalesce(sum(total_attribution) FILTER (WHERE attribution_model = 'w_shape'), 0.0),
  coalesce(sum(total_conversions) FILTER (WHERE attribution_model = 'w_shape'), 0),
  coalesce(sum(total_value) FILTER (WHERE attribution_model = 'w_shape'), 0.0),
  coalesce(sum(total_attribution) FILTER (WHERE attribution_model = 'data_driven'), 0.0),
  coalesce(sum(total_conversions) FILTER (WHERE attribution_model = 'data_driven'), 0),
  coalesce(sum(total_value) FILTER (WHERE attribution_model = 'data_driven'), 0.0)
FROM channel_performance GROUP BY utm_source;

DROP VIEW multi_touch_attribution;
DROP TABLE touch_credits;
DROP TABLE channel_performance;

CREATE VIEW touch_credits AS
SELECT c.conversion_id, c.first_touch + t.key AS touchpoint_index, c.touchpoints,
       t.value AS utm_source,
       json_extract(c.touches, '$[1][' || t.key || ']') AS last_click,
       json_extract(c.touches, '$[2][' || t.key || ']') AS first_click,
       json_extract(c.touches, '$[3][' || t.key || ']') AS linear,
       json_extract(c.touches, '$[4][' || t.key || ']') AS time_decay,
       json_extract(c.touches, '$[5][' || t.key || ']') AS u_shape,
       json_extract(c.touches, '$[6][' || t.key || ']') AS w_shape,
       json_extract(c.touches, '$[7][' || t.key || ']') AS data_driven
FROM credits AS c, json_each(c.touches, '$[0]') AS t;

CREATE VIEW multi_touch_attribution AS
SELECT conversion_id, attribution_model, touchpoint_index, utm_source,
       100.0 * credit AS credit_percentage,
       CASE WHEN touchpoints = 1 THEN 'only'
            WHEN touchpoint_index = 0 THEN 'first'
            WHEN touchpoint_index = touchpoints - 1 THEN 'last'
            ELSE 'middle' END AS role
FROM (
  SELECT c.conversion_id, m.value AS attribution_model,
         c.first_touch + t.key AS touchpoint_index,
         c.touchpoints,
         t.value AS utm_source,
         json_extract(c.touches, '$[' || (m.key + 1) || '][' || t.key || ']') AS credit
  FROM json_each(
    '["last_click","first_click","linear","time_decay","u_shape","w_shape","data_driven"]') AS m
  CROSS JOIN credits AS c CROSS JOIN json_each(c.touches, '$[0]') AS t
)
WHERE credit IS NOT NULL;

CREATE VIEW channel_performance AS
SELECT * FROM (
  SELECT m.value AS attribution_model, t.utm_source,
    CASE m.value
      WHEN 'data_driven' THEN t.data_driven
      WHEN 'first_click' THEN t.first_click
      WHEN 'last_click' THEN t.last_click
      WHEN 'linear' THEN t.linear
      WHEN 'time_decay' THEN t.time_decay
      WHEN 'u_shape' THEN t.u_shape
      WHEN 'w_shape' THEN t.w_shape
    END AS total_attribution,
    CASE m.value
      WHEN 'data_driven' THEN t.data_driven_conversions
      WHEN 'first_click' THEN t.first_click_conversions
      WHEN 'last_click' THEN t.last_click_conversions
      WHEN 'linear' THEN t.linear_conversions
      WHEN 'time_decay' THEN t.time_decay_conversions
      WHEN 'u_shape' THEN t.u_shape_conversions
      WHEN 'w_shape' THEN t.w_shape_conversions
    END AS total_conversions,
    CASE m.value
      WHEN 'data_driven' THEN t.data_driven_value
      WHEN 'first_click' THEN t.first_click_value
      WHEN 'last_click' THEN t.last_click_value
      WHEN 'linear' THEN t.linear_value
      WHEN 'time_decay' THEN t.time_decay_value
      WHEN 'u_shape' THEN t.u_shape_value
      WHEN 'w_shape' THEN t.w_shape_value
    END AS total_value,
    t.last_updated
  FROM json_each(
    '["data_driven","first_click","last_click","linear","time_decay","u_shape","w_shape"]') AS m
  CROSS JOIN channel_totals AS t
)
WHERE total_conversions <> 0 OR total_attribution <> 0 OR total_value <> 0;
