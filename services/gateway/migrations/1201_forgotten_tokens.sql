-- Before which time ended what is not kept any more: rows of "tokens" with an earlier end are gone, and none comes back.
CREATE TABLE horizons (
  name TEXT PRIMARY KEY,
  before_us BIGINT NOT NULL
);
CREATE INDEX tokens_with_an_end ON tokens (expires_at_us) WHERE expires_at_us > 0;
