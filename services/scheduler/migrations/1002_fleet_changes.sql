-- What changed about hosts and reservations, in order: a process that has the fleet in memory reads on from where it was.
-- Written under the placement lock, so that versions have no gaps; old rows are forgotten, and who is older reads all anew.
CREATE TABLE fleet_changes (
  version BIGINT PRIMARY KEY,
  kind TEXT NOT NULL,
  id TEXT NOT NULL
);
