-- Objects of declared kinds, as their owners said them last.
CREATE TABLE objects (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  -- 'platform' for kinds of the platform
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  revision BIGINT NOT NULL,
  created_at_us BIGINT NOT NULL,
  -- 0 = it is there
  gone_at_us BIGINT NOT NULL,
  -- digest of its rows in object_terms: equal = they stay as they are
  terms TEXT NOT NULL,
  -- the owner's bytes, fields included that are not known here
  snapshot BYTEA NOT NULL,
  PRIMARY KEY (kind, id)
);
CREATE INDEX objects_by_name ON objects (kind, tenant, name, id);

-- By what else they are found: 'labels.team', and the fields declared with `index`.
CREATE TABLE object_terms (
  kind TEXT NOT NULL,
  field TEXT NOT NULL,
  value TEXT NOT NULL,
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY (kind, field, value, tenant, id)
);
CREATE INDEX object_terms_of ON object_terms (kind, id);
