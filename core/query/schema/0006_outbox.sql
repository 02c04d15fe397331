-- Finished conversions on their way to the destination: a row from the transaction of a
-- conversion's results until the destination has taken it. document is what is sent. A row may be
-- taken from available_at_ms on; leased_by names who took it last.
CREATE TABLE outbox (
  conversion_id TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  enqueued_at_ms INTEGER NOT NULL,
  available_at_ms INTEGER NOT NULL,
  leased_by TEXT,
  last_error TEXT
) WITHOUT ROWID;

CREATE INDEX outbox_by_time ON outbox (available_at_ms, conversion_id);

CREATE TABLE undelivered (
  conversion_id TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  reason TEXT NOT NULL,
  died_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
