-- Places of a stream that hold no message (deleted or lost), as they were when the whole stream was last compared.
ALTER TABLE relay_stream ADD COLUMN absent BIGINT NOT NULL DEFAULT 0;
-- The run of the server (it takes a new name at each start) that was last compared with the whole outbox.
ALTER TABLE relay_stream ADD COLUMN audited TEXT NOT NULL DEFAULT '';
-- Rows that wait, by stream: one full stream does not hold up the others.
CREATE INDEX outbox_waiting ON outbox (stream, seq) WHERE stream_sequence = 0;
CREATE INDEX attempts_age ON attempts (first_at);
