-- What becomes of the files of a VM that is to be absent, and files that become its disks.
ALTER TABLE vms ADD COLUMN disposal TEXT NOT NULL DEFAULT 'DISPOSAL_UNSPECIFIED';
ALTER TABLE vms ADD COLUMN take_back TEXT NOT NULL DEFAULT '';

-- How often in a row the host kept the work from being done.
ALTER TABLE vm_work ADD COLUMN waited BIGINT NOT NULL DEFAULT 0;
CREATE INDEX vm_work_waiting ON vm_work (waited) WHERE waited > 0;

-- Files that were put aside, as last said. A function of the event QuarantineChanged. A row ends when its files are
-- given back or removed for good.
CREATE TABLE quarantine (
  id          TEXT   NOT NULL PRIMARY KEY,
  host_id     TEXT   NOT NULL,
  instance_id TEXT   NOT NULL,
  -- Quarantined
  item        BYTEA  NOT NULL
);
CREATE INDEX quarantine_by_instance ON quarantine (instance_id);

-- Orders to remove some of them, and why. Work in hand; a row ends with its order.
CREATE TABLE quarantine_orders (
  operation_id   TEXT NOT NULL PRIMARY KEY,
  host_id        TEXT NOT NULL,
  quarantine_id  TEXT NOT NULL,
  correlation_id TEXT NOT NULL,
  causation_id   TEXT NOT NULL,
  actor          TEXT NOT NULL,
  traceparent    TEXT NOT NULL,
  tenant         TEXT NOT NULL
);
