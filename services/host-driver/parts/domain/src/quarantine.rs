//! Files of VMs that were put aside instead of being removed: nothing of a tenant's goes but by an order.

use kernel::{Bytes, InstanceId, QuarantineId, Timestamp};
use std::time::Duration;

/// Why files were put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuarantineReason {
    /// The instance was deleted.
    Deleted,
    /// The VM was to leave this host, and nobody had asked for its disk to go.
    LeftHost,
    /// They are of an older ownership of the instance.
    OlderOwnership,
}

/// Why quarantined files are removed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Their time is over.
    Expired,
    /// Somebody asked for it.
    Ordered,
    /// The host runs short of room.
    Room,
}

impl QuarantineReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deleted, Self::LeftHost, Self::OlderOwnership];

    /// Its name on disk and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::LeftHost => "left_host",
            Self::OlderOwnership => "older_ownership",
        }
    }
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Expired, Self::Ordered, Self::Room];

    /// Its name on disk and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Ordered => "ordered",
            Self::Room => "room",
        }
    }
}

/// Files that were put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Which.
    pub id: QuarantineId,
    /// Of which instance.
    pub instance: InstanceId,
    /// Whose it is.
    pub tenant: String,
    /// As it was called then.
    pub name: String,
    /// The ownership they were made for.
    pub generation: u64,
    /// Why.
    pub reason: QuarantineReason,
    /// When.
    pub at: Timestamp,
    /// Bytes on the disk of the host.
    pub size: Bytes,
    /// SHA-256 of the image files that the disk is an overlay of: without them it is worth nothing.
    pub images: Vec<String>,
    /// They are to be removed for good, and why.
    pub dropping: Option<DropReason>,
}

/// How long files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Those that nobody ordered to go.
    pub set_aside: Duration,
    /// Those of deleted instances; zero = they are removed at once.
    pub deleted: Duration,
}

impl Default for Keep {
    /// A week; a day for what was deleted.
    fn default() -> Self {
        Self { set_aside: Duration::from_secs(7 * 24 * 3600), deleted: Duration::from_secs(24 * 3600) }
    }
}

impl Keep {
    /// When these files go by themselves.
    pub fn until(&self, item: &Quarantined) -> Timestamp {
        let keep = match item.reason {
            QuarantineReason::Deleted => self.deleted,
            QuarantineReason::LeftHost | QuarantineReason::OlderOwnership => self.set_aside,
        };
        item.at.after(keep)
    }
}

/// Which files have to go, and why. `short_of_room`: of those that somebody deleted, the oldest goes early.
pub fn due(
    items: &[Quarantined],
    keep: &Keep,
    short_of_room: bool,
    now: Timestamp,
) -> Vec<(QuarantineId, DropReason)> {
    let held = || items.iter().filter(|item| item.dropping.is_none());
    let mut due: Vec<(QuarantineId, DropReason)> =
        held().filter(|item| keep.until(item) <= now).map(|item| (item.id, DropReason::Expired)).collect();
    if short_of_room && due.is_empty() {
        let deleted = held().filter(|item| item.reason == QuarantineReason::Deleted);
        due.extend(deleted.min_by_key(|item| item.at).map(|item| (item.id, DropReason::Room)));
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: u128, reason: QuarantineReason, at: i64) -> Quarantined {
        Quarantined {
            id: QuarantineId::from_u128(id),
            instance: InstanceId::from_u128(id),
            tenant: "acme".into(),
            name: "web-1".into(),
            generation: 1,
            reason,
            at: Timestamp(at),
            size: Bytes(0),
            images: Vec::new(),
            dropping: None,
        }
    }

    #[test]
    fn each_is_kept_for_its_time_and_only_what_was_deleted_makes_room() {
        let keep = Keep { set_aside: Duration::from_secs(100), deleted: Duration::from_secs(10) };
        let items = [
            item(1, QuarantineReason::LeftHost, 0),
            item(2, QuarantineReason::Deleted, 5_000_000),
            item(3, QuarantineReason::Deleted, 1_000_000),
            item(4, QuarantineReason::OlderOwnership, 0),
        ];
        let at = |seconds: i64, short| {
            due(&items, &keep, short, Timestamp(seconds * 1_000_000))
                .into_iter()
                .map(|(id, why)| (id.as_u128(), why))
                .collect::<Vec<_>>()
        };
        assert_eq!(at(6, false), []);
        assert_eq!(at(6, true), [(3, DropReason::Room)], "the oldest that was deleted");
        assert_eq!(at(11, true), [(3, DropReason::Expired)], "expiry makes room as well");
        assert_eq!(at(15, false), [(2, DropReason::Expired), (3, DropReason::Expired)]);
        assert_eq!(at(100, false).len(), 4);
        let asides: Vec<Quarantined> =
            items.iter().filter(|i| i.reason != QuarantineReason::Deleted).cloned().collect();
        assert_eq!(due(&asides, &keep, true, Timestamp(0)), [], "nobody ordered those to go");
    }
}
