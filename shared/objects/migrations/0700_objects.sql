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
-- those that are there, by name; what is gone is found by its id alone
CREATE INDEX objects_living ON objects (kind, tenant, name, id) WHERE gone_at_us = 0;
CREATE INDEX objects_of_tenant ON objects (tenant, kind) WHERE gone_at_us = 0;

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
