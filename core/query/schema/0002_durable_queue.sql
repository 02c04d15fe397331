-- The conversions queue: a row from the transaction of a conversion's event to that of its results.
-- A row may be taken from available_at_ms on; leased_by names who took it last.
CREATE TABLE conversion_queue (
  conversion_id TEXT PRIMARY KEY,
  attempts INTEGER NOT NULL DEFAULT 0,
  enqueued_at_ms INTEGER NOT NULL,
  available_at_ms INTEGER NOT NULL,
  leased_by TEXT,
  last_error TEXT
) WITHOUT ROWID;

CREATE INDEX conversion_queue_by_time ON conversion_queue (available_at_ms, conversion_id);

CREATE TABLE dead_letters (
  conversion_id TEXT PRIMARY KEY,
  attempts INTEGER NOT NULL,
  reason TEXT NOT NULL,
  died_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO conversion_queue (conversion_id, enqueued_at_ms, available_at_ms)
SELECT conversion_id, conversion_timestamp, 0 FROM conversions WHERE processed = 0;

DROP INDEX conversions_waiting;
