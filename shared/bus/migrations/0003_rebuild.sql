-- Which database this is: one that was made anew has another name.
CREATE TABLE store_identity (
    id BIGINT PRIMARY KEY,
    store_id TEXT NOT NULL
);

-- Tables that are being made from the events: until the row is gone they are not whole.
CREATE TABLE rebuild (
    id BIGINT PRIMARY KEY,
    incarnation TEXT NOT NULL,
    after_sequence BIGINT NOT NULL,
    events BIGINT NOT NULL,
    unreadable BIGINT NOT NULL,
    began_at BIGINT NOT NULL
);
