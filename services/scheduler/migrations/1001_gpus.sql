-- GPUs of an instance (which ones of its host: "0,3"), and how many of its anti-affinity group may share a host.
ALTER TABLE instances ADD COLUMN max_per_host BIGINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN gpus BIGINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN gpu_milli BIGINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN gpu_indexes TEXT NOT NULL DEFAULT '';
