-- Disks that hosts put aside and still hold, as said last. A row ends when they are given back or removed for good.
CREATE TABLE quarantine (
  id TEXT PRIMARY KEY,
  host_id TEXT NOT NULL,
  instance_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  at_us BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE INDEX quarantine_by_host ON quarantine (host_id, at_us, id);
CREATE INDEX quarantine_by_instance ON quarantine (tenant, instance_id, at_us, id);
