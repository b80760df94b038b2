-- Whom an identity provider calls so: "<issuer> <subject>"; '' = nobody.
ALTER TABLE users ADD COLUMN oidc TEXT NOT NULL DEFAULT '';
CREATE INDEX users_by_oidc ON users (oidc);

-- Tickets of logins that were used: each is taken once. Gone when the ticket would have expired.
CREATE TABLE oidc_tickets (
  id TEXT PRIMARY KEY,
  expires_at_us BIGINT NOT NULL
);
