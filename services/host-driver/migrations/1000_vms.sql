-- What was ordered and what was said. A function of the events VmIntended and VmObserved.
CREATE TABLE vms (
  host_id              TEXT   NOT NULL,
  instance_id          TEXT   NOT NULL,
  tenant               TEXT   NOT NULL,
  generation           BIGINT NOT NULL,
  intent_revision      BIGINT NOT NULL,
  power                TEXT   NOT NULL,
  reboot_counter       BIGINT NOT NULL,
  stop_grace_s         BIGINT NOT NULL,
  -- VmSpec
  spec                 BYTEA  NOT NULL,
  -- of the newest observation; 0 = none yet
  observation_revision BIGINT NOT NULL,
  -- VmObservation
  observation          BYTEA  NOT NULL,
  -- '' = none yet
  observed_power       TEXT   NOT NULL,
  PRIMARY KEY (host_id, instance_id)
);
CREATE INDEX vms_by_instance ON vms (instance_id);

-- Work in hand, and why it is done. May be lost: it is found again by looking.
CREATE TABLE vm_work (
  host_id         TEXT   NOT NULL,
  instance_id     TEXT   NOT NULL,
  correlation_id  TEXT   NOT NULL,
  causation_id    TEXT   NOT NULL,
  actor           TEXT   NOT NULL,
  traceparent     TEXT   NOT NULL,
  -- '' = not there yet
  reached         TEXT   NOT NULL,
  adopted         BIGINT NOT NULL,
  -- microseconds since the epoch; 0 = not asked
  stop_asked_at   BIGINT NOT NULL,
  reboots_done    BIGINT NOT NULL,
  reboot_asked_at BIGINT NOT NULL,
  reboot_boot     BIGINT NOT NULL,
  attempts        BIGINT NOT NULL,
  next_attempt_at BIGINT NOT NULL,
  gave_up         BIGINT NOT NULL,
  -- Refusal
  failure         BYTEA  NOT NULL,
  restarts        BIGINT NOT NULL,
  started_at      BIGINT NOT NULL,
  -- name@microseconds, separated by blanks
  steps           TEXT   NOT NULL,
  PRIMARY KEY (host_id, instance_id)
);

-- Programs to run in guests, at most once.
CREATE TABLE execs (
  operation_id   TEXT   NOT NULL PRIMARY KEY,
  host_id        TEXT   NOT NULL,
  instance_id    TEXT   NOT NULL,
  tenant         TEXT   NOT NULL,
  -- Sealed ExecRequest; emptied when it is done
  request        BYTEA  NOT NULL,
  timeout_s      BIGINT NOT NULL,
  -- asked, started, done
  state          TEXT   NOT NULL,
  changed_at     BIGINT NOT NULL,
  correlation_id TEXT   NOT NULL,
  causation_id   TEXT   NOT NULL,
  actor          TEXT   NOT NULL,
  traceparent    TEXT   NOT NULL
);
CREATE INDEX execs_by_state ON execs (state);

-- What was last said of each host.
CREATE TABLE hosts (
  host_id  TEXT   NOT NULL PRIMARY KEY,
  revision BIGINT NOT NULL,
  -- HostReport
  report   BYTEA  NOT NULL
);
