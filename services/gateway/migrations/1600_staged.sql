-- Which imports a staged file waits for; an import ends for all of its files at once.
CREATE INDEX image_uploads_by_image ON image_uploads (image_id) WHERE ended = 0;
