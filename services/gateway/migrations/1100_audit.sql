-- Who did what, and what was denied to whom.
CREATE TABLE audit (
  id TEXT PRIMARY KEY,
  at_us BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  actor TEXT NOT NULL,
  operation TEXT NOT NULL,
  outcome BIGINT NOT NULL,
  calls BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE INDEX audit_by_time ON audit (at_us, id);
CREATE INDEX audit_by_tenant ON audit (tenant, at_us, id);
CREATE INDEX audit_by_actor ON audit (actor, at_us, id);

-- Ids and names of what a call was about.
CREATE TABLE audit_objects (
  object TEXT NOT NULL,
  audit_id TEXT NOT NULL,
  PRIMARY KEY (object, audit_id)
);
