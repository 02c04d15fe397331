-- What data_driven learned, and which parameters a conversion's credits were computed with.
CREATE TABLE fitted_models (
  version INTEGER PRIMARY KEY,
  fitted_at_ms INTEGER NOT NULL,
  data_from_ms INTEGER NOT NULL,
  data_until_ms INTEGER NOT NULL,
  markov_order INTEGER NOT NULL,
  parameters TEXT NOT NULL,
  weights TEXT NOT NULL
);

-- NULL: computed before there was a fitted model.
ALTER TABLE touch_credits ADD COLUMN data_driven REAL;

-- NULL: the parameters of the first version, which knew no others.
ALTER TABLE conversions ADD COLUMN parameters_key TEXT;

DROP VIEW multi_touch_attribution;

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
    UNION ALL SELECT *, 'data_driven', data_driven FROM touch_credits
    WHERE data_driven IS NOT NULL
  )
);
