-- State: rebuilt from events (see STATE_TABLES).
CREATE TABLE images (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    phase TEXT NOT NULL,
    revision BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- berth.storage.v1.Image
    snapshot BYTEA NOT NULL
);
CREATE UNIQUE INDEX images_name ON images (tenant, name) WHERE phase IN ('importing', 'ready', 'deleting');
CREATE INDEX images_phase ON images (phase);

-- Files of ready images.
CREATE TABLE image_files (
    image_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (image_id, sha256)
);
CREATE INDEX image_files_sha256 ON image_files (sha256);

-- Which instance boots from which image. Rows of deleted instances stay: a late event must not bring them back.
CREATE TABLE image_uses (
    instance_id TEXT PRIMARY KEY,
    image_id TEXT NOT NULL,
    instance_name TEXT NOT NULL,
    in_use BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX image_uses_image ON image_uses (image_id, in_use);

-- Work in hand: lost without harm.

-- Files that an image is about to have, or about to lose.
CREATE TABLE file_claims (
    image_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (image_id, sha256)
);
CREATE INDEX file_claims_sha256 ON file_claims (sha256);

-- Files that are being removed: nobody may claim them until they are gone.
CREATE TABLE file_removals (
    sha256 TEXT PRIMARY KEY
);

-- Attempts of imports, and the request behind what reconcilers do for an image.
CREATE TABLE image_work (
    image_id TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    correlation TEXT NOT NULL,
    causation TEXT NOT NULL,
    actor TEXT NOT NULL,
    traceparent TEXT NOT NULL
);
