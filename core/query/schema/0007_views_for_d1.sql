-- The view of databases that were made when 0001 and 0003 gave it seven terms: D1 takes five terms of
-- a compound SELECT, and reads no schema that has more.
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
