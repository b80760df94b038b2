-- Which objects are not kept any more: those of a kind that were gone before a time.
CREATE TABLE objects_forgotten (
  kind TEXT NOT NULL PRIMARY KEY,
  before_us BIGINT NOT NULL
);
CREATE INDEX objects_gone ON objects (kind, gone_at_us) WHERE gone_at_us > 0;
