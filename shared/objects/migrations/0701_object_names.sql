-- Owners only: among those that are there a name stands once. (In a read model events may cross.)
CREATE UNIQUE INDEX objects_names ON objects (kind, tenant, name) WHERE gone_at_us = 0 AND name <> '';
