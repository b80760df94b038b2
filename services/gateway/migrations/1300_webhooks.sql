-- Receivers of events outside. Secrets in a snapshot are sealed.
CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  state BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE INDEX webhooks_by_name ON webhooks (tenant, name, id);
CREATE INDEX webhooks_by_state ON webhooks (state, id);

-- How far each is: of this database only. One without a row was made again from the events and is told of the gap.
CREATE TABLE webhook_cursors (
  webhook_id TEXT PRIMARY KEY,
  incarnation TEXT NOT NULL,
  after_sequence BIGINT NOT NULL,
  -- Number of the newest delivery.
  position BIGINT NOT NULL,
  -- 0 = the last attempt did not fail.
  failing_since_us BIGINT NOT NULL,
  delivered_at_us BIGINT NOT NULL
);

-- Which process sends, when several share the database.
CREATE TABLE webhook_leases (
  webhook_id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  expires_at_us BIGINT NOT NULL
);

-- Events on their way to a receiver, and those that arrived, for a while.
CREATE TABLE webhook_deliveries (
  webhook_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  position BIGINT NOT NULL,
  type TEXT NOT NULL,
  object_key TEXT NOT NULL,
  object_id TEXT NOT NULL,
  occurred_at_us BIGINT NOT NULL,
  state BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  -- Since when it is tried: after a long time it is given up. 0 = not yet.
  tried_since_us BIGINT NOT NULL,
  attempted_at_us BIGINT NOT NULL,
  next_at_us BIGINT NOT NULL,
  status BIGINT NOT NULL,
  error TEXT NOT NULL,
  duration_us BIGINT NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (webhook_id, event_id)
);
CREATE INDEX webhook_deliveries_by_position ON webhook_deliveries (webhook_id, position);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook_id, position) WHERE state = 1;
