-- Segments that are in the object store.
CREATE TABLE segments (
  number BIGINT PRIMARY KEY,
  sha256 TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  snapshot BYTEA NOT NULL
);
