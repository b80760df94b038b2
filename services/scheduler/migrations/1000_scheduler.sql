-- What the scheduler owns. Every row is a snapshot (the protobuf bytes that its last event carried) with the columns
-- that queries need; all of them can be derived from the snapshot.

CREATE TABLE hosts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  state TEXT NOT NULL,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);

-- A reservation is a row with reserved = 1: it comes and goes with the instance's host, in the same statement.
CREATE TABLE instances (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  phase TEXT NOT NULL,
  host_id TEXT NOT NULL,
  revision BIGINT NOT NULL,
  deleted BIGINT NOT NULL,
  waiting BIGINT NOT NULL,
  reserved BIGINT NOT NULL,
  vcpus_milli BIGINT NOT NULL,
  memory_bytes BIGINT NOT NULL,
  disk_bytes BIGINT NOT NULL,
  affinity_group TEXT NOT NULL,
  anti_affinity_group TEXT NOT NULL,
  deadline_us BIGINT NOT NULL,
  created_at_us BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);

CREATE UNIQUE INDEX instances_name ON instances (tenant, name) WHERE deleted = 0;
CREATE INDEX instances_reserved ON instances (host_id) WHERE reserved = 1;
CREATE INDEX instances_waiting ON instances (created_at_us, id) WHERE waiting = 1;
CREATE INDEX instances_deadline ON instances (deadline_us) WHERE deadline_us > 0;

-- Images as the storage service last said they are.
CREATE TABLE images (
  id TEXT PRIMARY KEY,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);

-- The newest decisions of each instance.
CREATE TABLE decisions (
  instance_id TEXT NOT NULL,
  decided_at_us BIGINT NOT NULL,
  host_id TEXT NOT NULL,
  snapshot BYTEA NOT NULL,
  PRIMARY KEY (instance_id, decided_at_us)
);
