-- Requests that take time.
CREATE TABLE operations (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  method TEXT NOT NULL,
  object_id TEXT NOT NULL,
  state BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  idempotency_key TEXT NOT NULL,
  request_sha256 TEXT NOT NULL,
  deadline_us BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE UNIQUE INDEX operations_by_key ON operations (tenant, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX operations_by_tenant ON operations (tenant, id);
CREATE INDEX operations_by_object ON operations (object_id, id);
CREATE INDEX operations_by_deadline ON operations (deadline_us) WHERE deadline_us > 0;

-- Named sizes.
CREATE TABLE flavors (
  name TEXT PRIMARY KEY,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);

-- The read model: what other services said, as they said it last.
CREATE TABLE instances (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  phase BIGINT NOT NULL,
  host_id TEXT NOT NULL,
  vcpus_milli BIGINT NOT NULL,
  memory_bytes BIGINT NOT NULL,
  disk_bytes BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE INDEX instances_by_name ON instances (tenant, name, id);
CREATE INDEX instances_by_host ON instances (host_id);

CREATE TABLE hosts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE INDEX hosts_by_name ON hosts (name, id);

CREATE TABLE images (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  phase BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE INDEX images_by_name ON images (tenant, name, id);

CREATE TABLE decisions (
  instance_id TEXT NOT NULL,
  decided_at_us BIGINT NOT NULL,
  generation BIGINT NOT NULL,
  host_id TEXT NOT NULL,
  snapshot BYTEA NOT NULL,
  PRIMARY KEY (instance_id, decided_at_us, generation)
);

-- Who may come in. Only keyed hashes: a copy of this table opens nothing.
CREATE TABLE tokens (
  hash TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  actor TEXT NOT NULL,
  tenant TEXT NOT NULL,
  permissions TEXT NOT NULL,
  created_at_us BIGINT NOT NULL,
  expires_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX tokens_by_name ON tokens (name);
