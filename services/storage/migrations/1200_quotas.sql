-- What each tenant may have, as the gateway said last: berth.gateway.v1.Quota. State: rebuilt from events.
CREATE TABLE quotas (
    tenant TEXT PRIMARY KEY,
    revision BIGINT NOT NULL,
    snapshot BYTEA NOT NULL
);
