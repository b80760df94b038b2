-- What each tenant may have, as the gateway said last: berth.gateway.v1.Quota. A tenant without a row has no limits.
CREATE TABLE quotas (
  tenant TEXT PRIMARY KEY,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
-- What a tenant has is counted here, every time: all columns of the sum are in the index.
CREATE INDEX instances_counted ON instances (tenant, vcpus_milli, memory_bytes, disk_bytes) WHERE deleted = 0;
