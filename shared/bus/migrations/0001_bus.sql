-- Messages that left, or will leave, with the transaction that decided them.
CREATE TABLE outbox (
    seq BIGSERIAL PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    stream TEXT NOT NULL,
    subject TEXT NOT NULL,
    headers TEXT NOT NULL,
    payload BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    -- Where the stream keeps it; 0 = not published yet.
    stream_sequence BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX outbox_unpublished ON outbox (seq) WHERE stream_sequence = 0;
CREATE INDEX outbox_by_stream ON outbox (stream, stream_sequence);

-- Messages that were handled: one row, one effect.
CREATE TABLE inbox (
    consumer TEXT NOT NULL,
    message_id TEXT NOT NULL,
    handled_at BIGINT NOT NULL,
    PRIMARY KEY (consumer, message_id)
);
CREATE INDEX inbox_age ON inbox (handled_at);

-- Messages that failed at least once.
CREATE TABLE attempts (
    consumer TEXT NOT NULL,
    message_id TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    PRIMARY KEY (consumer, message_id)
);

-- Streams as the relay knew them: which one, and how far it had acknowledged us.
CREATE TABLE relay_stream (
    stream TEXT PRIMARY KEY,
    incarnation TEXT NOT NULL,
    last_sequence BIGINT NOT NULL
);

-- Who relays, when several processes share the database.
CREATE TABLE relay_lease (
    id BIGINT PRIMARY KEY,
    owner TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
