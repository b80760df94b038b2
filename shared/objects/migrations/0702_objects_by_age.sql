-- lists in the order in which objects were made
CREATE INDEX objects_by_age ON objects (kind, tenant, created_at_us, id);
