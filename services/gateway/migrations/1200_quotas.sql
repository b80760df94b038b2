-- What tenants may have. A tenant without a row has no limits.
CREATE TABLE quotas (
  tenant TEXT PRIMARY KEY,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
-- What tenants have, without looking at what is long gone (9 = INSTANCE_PHASE_DELETED).
CREATE INDEX instances_counted ON instances (tenant, phase, vcpus_milli, memory_bytes, disk_bytes) WHERE phase <> 9;
