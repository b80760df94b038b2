-- Which boot of the guest was seen last; 0 = not known. That it began another by itself shows by it.
ALTER TABLE vm_work ADD COLUMN boot BIGINT NOT NULL DEFAULT 0;

-- When a guest that was held was let go on, in microseconds since the epoch; 0 = not of late. And whether it is seen to go on.
ALTER TABLE vm_work ADD COLUMN resumed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE vm_work ADD COLUMN resume_settled BIGINT NOT NULL DEFAULT 0;
