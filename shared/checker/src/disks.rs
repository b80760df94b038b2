//! No disk that a machine ever ran from disappears without an order to delete it: counted from the events of the hosts.

use super::violation::Violation;
use contracts::host_driver::v1::{
    Disposal, DropReason, QuarantineReason, QuarantineState, Quarantined, VmIntended, VmObservation, VmPower,
};
use std::collections::{HashMap, HashSet};

/// (host, instance)
type Place = (String, String);

/// Where the disks are that machines ran from.
#[derive(Debug, Default)]
pub(super) struct Disks {
    /// In the place of a VM that ran.
    used: HashSet<Place>,
    /// Said to be put aside since it was used there.
    put_aside: HashSet<Place>,
    /// Ownership up to which a host has an order to delete.
    pub(super) deleted: HashMap<Place, u64>,
}

impl Disks {
    /// A host took an order.
    pub fn intended(&mut self, order: &VmIntended) {
        if order.power() != VmPower::Absent || order.disposal() != Disposal::Delete {
            return;
        }
        let instance = order.spec.as_ref().map(|spec| spec.instance_id.clone()).unwrap_or_default();
        let up_to = self.deleted.entry((order.host_id.clone(), instance)).or_default();
        *up_to = order.generation.max(*up_to);
    }

    /// A host saw a VM; says what that breaks.
    pub fn observed(&mut self, seen: &VmObservation) -> Option<Violation> {
        let place: Place = (seen.host_id.clone(), seen.instance_id.clone());
        let lost = |how: &str| Violation::DiskLost {
            instance: place.1.clone(),
            host: place.0.clone(),
            how: how.to_owned(),
        };
        if seen.failure.as_ref().is_some_and(|failure| failure.code == "DISK_LOST") {
            return Some(lost("its host finds it gone"));
        }
        if seen.has_run {
            self.put_aside.remove(&place);
            self.used.insert(place);
            return None;
        }
        if seen.power() != VmPower::Absent || !self.used.remove(&place) {
            return None;
        }
        let ordered = self.deleted.get(&place).is_some_and(|up_to| *up_to >= seen.generation);
        let aside = self.put_aside.remove(&place);
        (!ordered && !aside).then(|| lost("it is gone from its host, neither deleted nor put aside"))
    }

    /// Files were put aside, given back or removed; says what that breaks.
    pub fn quarantined(&mut self, item: &Quarantined) -> Option<Violation> {
        let place: Place = (item.host_id.clone(), item.instance_id.clone());
        match item.state() {
            QuarantineState::Held => {
                self.put_aside.insert(place);
                None
            }
            QuarantineState::GivenBack => {
                self.put_aside.remove(&place);
                self.used.insert(place);
                None
            }
            QuarantineState::Dropped => {
                let how = match (item.dropped(), item.reason()) {
                    (DropReason::Expired | DropReason::Ordered, _)
                    | (DropReason::Room, QuarantineReason::Deleted) => return None,
                    (DropReason::Room, _) => "it was removed for room, and nobody had deleted it",
                    (DropReason::Gone, _) => "it was put aside and is gone, not by Berth",
                    (DropReason::Unspecified, _) => "it was put aside and removed without a reason",
                };
                Some(Violation::DiskLost { instance: place.1, host: place.0, how: how.to_owned() })
            }
            QuarantineState::Unspecified | QuarantineState::Unknown => None,
        }
    }
}
