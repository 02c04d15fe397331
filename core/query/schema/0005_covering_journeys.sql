-- Journeys are read from the index alone, on the request path and in bulk.
DROP INDEX user_journeys_by_user;

CREATE INDEX user_journeys_by_user
  ON user_journeys (user_id, event_timestamp, id, utm_source, conversion_id);
