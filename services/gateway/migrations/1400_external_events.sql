-- Events of other systems that were taken, so that each is taken once. Rows are removed after a time.
CREATE TABLE external_events (
  tenant TEXT NOT NULL,
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  received_at_us BIGINT NOT NULL,
  PRIMARY KEY (tenant, source, id)
);
CREATE INDEX external_events_by_time ON external_events (received_at_us);
