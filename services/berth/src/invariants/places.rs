//! What is promised on each host, counted from the events alone.

use super::violation::Violation;
use contracts::common::v1::Resources;
use contracts::scheduler::v1::{Host, Instance, InstancePhase};
use std::collections::HashMap;

const RESOURCES: [&str; 3] = ["vcpus_milli", "memory_bytes", "disk_bytes"];
type Amounts = [u64; RESOURCES.len()];

fn amounts(resources: Option<&Resources>) -> Amounts {
    let r = resources.cloned().unwrap_or_default();
    [r.vcpus_milli, r.memory_bytes, r.disk_bytes]
}

#[derive(Debug, Default)]
struct Place {
    name: String,
    limit: Amounts,
    reserved: Amounts,
}

/// Hosts, and what is promised of them.
#[derive(Debug, Default)]
pub(super) struct Places {
    hosts: HashMap<String, Place>,
    held: HashMap<String, (String, Amounts)>,
}

impl Places {
    /// A host is this big now. What it already promised may be more than that: nobody is thrown out.
    pub fn host(&mut self, host: &Host) {
        let overcommit = host.overcommit.unwrap_or_default();
        let percent = [overcommit.vcpus_percent, overcommit.memory_percent, overcommit.disk_percent];
        let place = self.hosts.entry(host.id.clone()).or_default();
        place.name.clone_from(&host.name);
        let capacity = amounts(host.capacity.as_ref());
        for (index, limit) in place.limit.iter_mut().enumerate() {
            let promised = u128::from(capacity[index]) * u128::from(percent[index]) / 100;
            *limit = u64::try_from(promised).unwrap_or(u64::MAX);
        }
    }

    /// An instance is where it is now; says what that breaks.
    pub fn instance(&mut self, instance: &Instance) -> Vec<Violation> {
        let wanted =
            (!instance.host_id.is_empty() && instance.phase() != InstancePhase::Deleted).then(|| {
                (
                    instance.host_id.clone(),
                    amounts(instance.spec.as_ref().and_then(|spec| spec.resources.as_ref())),
                )
            });
        if self.held.get(&instance.id) == wanted.as_ref() {
            return Vec::new();
        }
        if let Some((host, taken)) = self.held.remove(&instance.id)
            && let Some(place) = self.hosts.get_mut(&host)
        {
            for (reserved, taken) in place.reserved.iter_mut().zip(taken) {
                *reserved -= taken;
            }
        }
        let Some((host, taken)) = wanted else { return Vec::new() };
        let Some(place) = self.hosts.get_mut(&host) else {
            return vec![Violation::UnknownHost { instance: instance.id.clone(), host }];
        };
        let mut found = Vec::new();
        for (index, taken) in taken.iter().enumerate() {
            place.reserved[index] += taken;
            if *taken > 0 && place.reserved[index] > place.limit[index] {
                found.push(Violation::OverCapacity {
                    host: place.name.clone(),
                    resource: RESOURCES[index].to_owned(),
                    reserved: place.reserved[index],
                    limit: place.limit[index],
                    instance: instance.id.clone(),
                });
            }
        }
        self.held.insert(instance.id.clone(), (host, taken));
        found
    }
}
