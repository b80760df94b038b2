-- Those who own instances and images.
CREATE TABLE tenants (
  name TEXT PRIMARY KEY,
  state BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);

-- People and programs. What must stay secret in a snapshot is sealed.
CREATE TABLE users (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  deleted BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE INDEX users_by_name ON users (tenant, name, id);

-- Who may come in. Only keyed hashes: a copy of this table opens nothing. The administrator's first token is written
-- anew from its file.
DROP TABLE tokens;
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  hash TEXT NOT NULL,
  user_id TEXT NOT NULL,
  name TEXT NOT NULL,
  revoked_at_us BIGINT NOT NULL,
  expires_at_us BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
CREATE INDEX tokens_by_hash ON tokens (hash);
CREATE INDEX tokens_by_user ON tokens (user_id, id);

-- When a token last opened something: of this database only, at most a minute old.
CREATE TABLE token_uses (
  token_id TEXT PRIMARY KEY,
  used_at_us BIGINT NOT NULL,
  address TEXT NOT NULL
);

-- The newest one-time code that was used by each user: none counts twice.
CREATE TABLE totp_uses (
  user_id TEXT PRIMARY KEY,
  step BIGINT NOT NULL
);

-- Whose a staged file is.
CREATE TABLE staged_files (
  upload_id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL
);
