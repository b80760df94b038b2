-- What boots from an image, to refuse its removal at once.
ALTER TABLE instances ADD COLUMN image_id TEXT NOT NULL DEFAULT '';
CREATE INDEX instances_by_image ON instances (image_id) WHERE image_id <> '';

-- Which images were made of which staged files, and whether their import has ended: then the file is of no more use.
CREATE TABLE image_uploads (
  upload_id TEXT NOT NULL,
  image_id TEXT NOT NULL,
  ended BIGINT NOT NULL,
  PRIMARY KEY (upload_id, image_id)
);
