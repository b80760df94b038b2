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
    /// Thousandths promised of each GPU.
    gpus: Vec<u64>,
    members: HashMap<Group, Vec<(String, u32)>>,
}

/// All of one GPU, in thousandths.
const WHOLE_GPU: u64 = 1000;

/// Tenant and name of an anti-affinity group.
type Group = (String, String);

/// What an instance takes of its host.
#[derive(Debug, Clone, Default, PartialEq)]
struct Held {
    host: String,
    amounts: Amounts,
    gpus: Vec<u32>,
    gpu_milli: u64,
    group: Option<Group>,
    /// How many members of the group it bears on its host.
    most: u32,
}

impl Held {
    fn of(instance: &Instance) -> Self {
        let spec = instance.spec.clone().unwrap_or_default();
        let group = (instance.tenant.clone(), spec.anti_affinity_group);
        Self {
            host: instance.host_id.clone(),
            amounts: amounts(spec.resources.as_ref()),
            gpus: instance.gpu_indexes.clone(),
            gpu_milli: if spec.gpu_milli == 0 { WHOLE_GPU } else { spec.gpu_milli.into() },
            group: Some(group).filter(|(_, name)| !name.is_empty()),
            most: spec.max_per_host.max(1),
        }
    }
}

/// Hosts, and what is promised of them.
#[derive(Debug, Default)]
pub(super) struct Places {
    hosts: HashMap<String, Place>,
    held: HashMap<String, Held>,
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
        // what is promised of a GPU stays known when its host reports fewer
        let known = place.gpus.len().max(host.gpus as usize);
        place.gpus.resize(known, 0);
    }

    /// An instance is where it is now; says what that breaks.
    pub fn instance(&mut self, instance: &Instance) -> Vec<Violation> {
        let lives = !instance.host_id.is_empty() && instance.phase() != InstancePhase::Deleted;
        let wanted = lives.then(|| Held::of(instance));
        if self.held.get(&instance.id) == wanted.as_ref() {
            return Vec::new();
        }
        if let Some(held) = self.held.remove(&instance.id)
            && let Some(place) = self.hosts.get_mut(&held.host)
        {
            place.release(&instance.id, &held);
        }
        let Some(wanted) = wanted else { return Vec::new() };
        let Some(place) = self.hosts.get_mut(&wanted.host) else {
            return vec![Violation::UnknownHost { instance: instance.id.clone(), host: wanted.host }];
        };
        let found = place.take(&instance.id, &wanted);
        self.held.insert(instance.id.clone(), wanted);
        found
    }
}

impl Place {
    fn release(&mut self, instance: &str, held: &Held) {
        for (reserved, taken) in self.reserved.iter_mut().zip(held.amounts) {
            *reserved -= taken;
        }
        for index in &held.gpus {
            if let Some(gpu) = self.gpus.get_mut(*index as usize) {
                *gpu -= held.gpu_milli;
            }
        }
        if let Some(members) = held.group.as_ref().and_then(|group| self.members.get_mut(group)) {
            members.retain(|(id, _)| id != instance);
        }
    }

    fn take(&mut self, instance: &str, held: &Held) -> Vec<Violation> {
        let mut found = Vec::new();
        let over = |resource: String, reserved, limit| Violation::OverCapacity {
            host: self.name.clone(),
            resource,
            reserved,
            limit,
            instance: instance.to_owned(),
        };
        for (index, taken) in held.amounts.iter().enumerate() {
            self.reserved[index] += taken;
            if *taken > 0 && self.reserved[index] > self.limit[index] {
                found.push(over(RESOURCES[index].to_owned(), self.reserved[index], self.limit[index]));
            }
        }
        for index in &held.gpus {
            let promised = match self.gpus.get_mut(*index as usize) {
                Some(gpu) => {
                    *gpu += held.gpu_milli;
                    *gpu
                }
                // a GPU that the host does not have
                None => {
                    found.push(over(format!("thousandths of GPU {index}"), held.gpu_milli, 0));
                    continue;
                }
            };
            if promised > WHOLE_GPU {
                found.push(over(format!("thousandths of GPU {index}"), promised, WHOLE_GPU));
            }
        }
        if let Some(group) = &held.group {
            let members = self.members.entry(group.clone()).or_default();
            members.push((instance.to_owned(), held.most));
            // never more than the member that bears the fewest
            let most = members.iter().map(|(_, most)| *most).min().unwrap_or(1);
            if members.len() > most as usize {
                found.push(Violation::TooClose {
                    group: group.1.clone(),
                    host: self.name.clone(),
                    members: members.len() as u64,
                    most: most.into(),
                });
            }
        }
        found
    }
}
