-- The host was told something and has not answered that yet. Of what was told before this column came nobody wrote down
-- the answers: those hosts are asked once.
ALTER TABLE instances ADD COLUMN unconfirmed BIGINT NOT NULL DEFAULT 0;
UPDATE instances SET unconfirmed = 1 WHERE reserved = 1;
CREATE INDEX instances_unconfirmed ON instances (id, host_id) WHERE unconfirmed = 1;
