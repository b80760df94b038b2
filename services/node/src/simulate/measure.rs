//! How well the fleet was used: a fold over reservations.
//!
//! *Utilisation* of a resource is what is promised, of what may be promised (capacity times overcommit).
//!
//! *Fragmentation* of a resource is the share of its free capacity that lies on hosts on which one more typical
//! instance does not fit. The typical instance has the median of each resource over all instances that ask for some of
//! it; for GPUs it is the typical one among those that ask for GPUs, with its CPUs, memory and disk.

use super::history::{Amounts, Change};
use super::rows::{InstanceRow, Workload};
use serde::Serialize;
use std::collections::HashMap;

/// A number for each resource; of GPUs `None` when the fleet has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Of CPUs, 0 to 1.
    pub vcpus: f64,
    /// Of memory.
    pub memory: f64,
    /// Of disk.
    pub disk: f64,
    /// Of GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<f64>,
}

/// The fleet at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds of virtual time.
    pub at_s: f64,
    /// Instances with a host.
    pub placed: u64,
    /// Instances that wait for one.
    pub waiting: u64,
    /// Hosts with an instance.
    pub hosts_used: u64,
    /// What is promised.
    pub utilisation: Shares,
    /// What of the rest is of no use to a typical instance.
    pub fragmentation: Shares,
}

/// A typical request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Typical {
    /// CPUs in thousandths.
    pub vcpus_milli: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Disk in bytes.
    pub disk_bytes: u64,
    /// Thousandths of GPUs; above 1000 several whole ones.
    pub gpus_milli: u64,
}

impl Typical {
    /// The medians of these requests, each over those that ask for some of the resource.
    pub fn of<'r>(rows: impl Iterator<Item = &'r InstanceRow> + Clone) -> Self {
        let median = |amount: fn(&InstanceRow) -> u64| {
            let mut amounts: Vec<u64> = rows.clone().map(amount).filter(|amount| *amount > 0).collect();
            amounts.sort_unstable();
            amounts.get(amounts.len().saturating_sub(1) / 2).copied().unwrap_or(0)
        };
        Self {
            vcpus_milli: median(|row| row.vcpus_milli),
            memory_bytes: median(|row| row.memory_mib << 20),
            disk_bytes: median(|row| row.disk_gib << 30),
            gpus_milli: median(InstanceRow::gpus_milli),
        }
    }

    fn amounts(self) -> [u64; 3] {
        [self.vcpus_milli, self.memory_bytes, self.disk_bytes]
    }
}

/// A host as its reservations leave it.
#[derive(Debug, Clone)]
struct Place {
    limit: Amounts,
    reserved: Amounts,
    gpus_free: Vec<u64>,
    instances: u64,
}

impl Place {
    fn free(&self, resource: usize) -> u64 {
        self.limit[resource].saturating_sub(self.reserved[resource])
    }

    fn fits(&self, typical: Typical) -> bool {
        typical.amounts().iter().enumerate().all(|(resource, asked)| self.free(resource) >= *asked)
            && match typical.gpus_milli {
                0 => true,
                share @ 1..1000 => self.gpus_free.iter().any(|free| *free >= share),
                whole => self.gpus_free.iter().filter(|free| **free == 1000).count() as u64 >= whole / 1000,
            }
    }
}

/// The whole fleet, as its reservations leave it.
pub struct Fleet {
    places: HashMap<String, Place>,
    /// What is promised of what may be promised, over all places: kept as they change, because it is asked for after
    /// every change.
    promised: [(u128, u128); 4],
    hosts_used: u64,
    typical: Typical,
    typical_with_gpus: Typical,
    placed: u64,
}

impl Fleet {
    /// An empty fleet. `ids` are the ids of the hosts in the order of the file.
    pub fn new(workload: &Workload, ids: &[String], overcommit_percent: [u32; 3]) -> Self {
        let place = |row: &super::rows::HostRow| {
            let capacity = [row.vcpus_milli, row.memory_mib << 20, row.disk_gib << 30];
            let mut limit = [0, 0, 0, u64::from(row.gpus) * 1000];
            for ((limit, capacity), percent) in limit.iter_mut().zip(capacity).zip(overcommit_percent) {
                *limit = capacity.saturating_mul(u64::from(percent)) / 100;
            }
            let gpus_free = vec![1000; row.gpus as usize];
            Place { limit, reserved: [0; 4], gpus_free, instances: 0 }
        };
        let rows = &workload.instances;
        let places: HashMap<String, Place> =
            ids.iter().cloned().zip(workload.hosts.iter().map(place)).collect();
        let limit = |resource: usize| places.values().map(|place| u128::from(place.limit[resource])).sum();
        Self {
            promised: [0, 1, 2, 3].map(|resource: usize| (0, limit(resource))),
            hosts_used: 0,
            places,
            typical: Typical { gpus_milli: 0, ..Typical::of(rows.iter()) },
            typical_with_gpus: Typical::of(rows.iter().filter(|row| row.gpus > 0)),
            placed: 0,
        }
    }

    /// The typical instance, and the typical one among those with GPUs.
    pub fn typical(&self) -> [Typical; 2] {
        [self.typical, self.typical_with_gpus]
    }

    /// A reservation comes or goes.
    pub fn take(&mut self, change: &Change) {
        let Some(place) = self.places.get_mut(&change.held.host) else { return };
        let sign = |value: &mut u64, by: u64| {
            *value = if change.comes { value.saturating_add(by) } else { value.saturating_sub(by) };
        };
        let amounts = place.reserved.iter_mut().zip(change.held.amounts);
        for ((reserved, amount), (promised, _)) in amounts.zip(&mut self.promised) {
            *promised -= u128::from(*reserved);
            sign(reserved, amount);
            *promised += u128::from(*reserved);
        }
        self.hosts_used -= u64::from(place.instances > 0);
        sign(&mut place.instances, 1);
        self.hosts_used += u64::from(place.instances > 0);
        sign(&mut self.placed, 1);
        for index in &change.held.gpus {
            if let Some(free) = place.gpus_free.get_mut(*index as usize) {
                let by = change.held.gpu_milli;
                *free = if change.comes { free.saturating_sub(by) } else { free.saturating_add(by) };
            }
        }
    }

    /// What is promised of what may be promised.
    pub fn utilisation(&self) -> Shares {
        self.shares(self.promised)
    }

    /// What of the free capacity is of no use to a typical instance. Costs a look at every host.
    pub fn fragmentation(&self) -> Shares {
        let of = |resource: usize| {
            let typical = if resource == 3 { self.typical_with_gpus } else { self.typical };
            self.places.values().fold((0, 0), |(useless, all), place| {
                let free = u128::from(place.free(resource));
                (useless + if place.fits(typical) { 0 } else { free }, all + free)
            })
        };
        self.shares([0, 1, 2, 3].map(of))
    }

    fn shares(&self, of: [(u128, u128); 4]) -> Shares {
        let [vcpus, memory, disk, gpus] =
            of.map(|(part, all)| if all == 0 { 0.0 } else { part as f64 / all as f64 });
        let has_gpus = self.promised[3].1 > 0;
        Shares { vcpus, memory, disk, gpus: has_gpus.then_some(gpus) }
    }

    /// Hosts with an instance.
    pub fn hosts_used(&self) -> u64 {
        self.hosts_used
    }

    /// The fleet now.
    pub fn sample(&self, at_s: f64, waiting: u64) -> Sample {
        Sample {
            at_s,
            placed: self.placed,
            waiting,
            hosts_used: self.hosts_used(),
            utilisation: self.utilisation(),
            fragmentation: self.fragmentation(),
        }
    }
}

impl Shares {
    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            vcpus: f(self.vcpus, other.vcpus),
            memory: f(self.memory, other.memory),
            disk: f(self.disk, other.disk),
            gpus: self.gpus.zip(other.gpus).map(|(a, b)| f(a, b)).or(self.gpus).or(other.gpus),
        }
    }

    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        self.zip(other, f64::max)
    }

    /// The sum of each.
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    /// Each times a number.
    pub fn times(self, factor: f64) -> Self {
        self.zip(self, |a, _| a * factor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Held;
    use super::super::rows::HostRow;
    use super::*;

    fn workload() -> Workload {
        let host =
            HostRow { vcpus_milli: 4000, memory_mib: 4096, disk_gib: 100, gpus: 2, ..HostRow::default() };
        let row = |vcpus_milli, gpus, gpu_milli| InstanceRow {
            vcpus_milli,
            memory_mib: 1024,
            disk_gib: 0,
            gpus,
            gpu_milli,
            ..InstanceRow::default()
        };
        let instances = vec![row(1000, 0, 0), row(2000, 0, 0), row(9000, 0, 0), row(500, 1, 600)];
        Workload { hosts: vec![host.clone(), host], instances }
    }

    fn change(host: &str, comes: bool, vcpus: u64, gpus: &[u32], gpu_milli: u64) -> Change {
        let amounts = [vcpus, 1 << 30, 0, gpus.len() as u64 * gpu_milli];
        let held = Held { host: host.into(), amounts, gpus: gpus.into(), gpu_milli };
        Change { at_s: 0.0, instance: 0, comes, held }
    }

    #[test]
    fn the_typical_request_is_the_median_of_those_that_ask() {
        let fleet = Fleet::new(&workload(), &["a".into(), "b".into()], [100; 3]);
        let [plain, with_gpus] = fleet.typical();
        assert_eq!(
            (plain.vcpus_milli, plain.memory_bytes, plain.disk_bytes, plain.gpus_milli),
            (1000, 1 << 30, 0, 0)
        );
        assert_eq!((with_gpus.vcpus_milli, with_gpus.gpus_milli), (500, 600));
    }

    #[test]
    fn utilisation_counts_what_is_promised_and_goes_back() {
        let mut fleet = Fleet::new(&workload(), &["a".into(), "b".into()], [200, 100, 100]);
        fleet.take(&change("a", true, 4000, &[0], 1000));
        let used = fleet.utilisation();
        assert_eq!((used.vcpus, used.memory, used.gpus), (0.25, 0.125, Some(0.25)));
        assert_eq!(fleet.sample(0.0, 0).hosts_used, 1);
        fleet.take(&change("a", true, 500, &[], 0));
        fleet.take(&change("b", true, 500, &[], 0));
        assert_eq!(fleet.hosts_used(), 2);
        fleet.take(&change("a", false, 4000, &[0], 1000));
        assert_eq!((fleet.hosts_used(), fleet.utilisation().vcpus), (2, 1000.0 / 16_000.0));
        fleet.take(&change("a", false, 500, &[], 0));
        fleet.take(&change("b", false, 500, &[], 0));
        assert_eq!(fleet.utilisation(), Shares { gpus: Some(0.0), ..Shares::default() });
        assert_eq!(fleet.hosts_used(), 0);
    }

    #[test]
    fn what_a_typical_request_cannot_use_is_fragmented() {
        let mut fleet = Fleet::new(&workload(), &["a".into(), "b".into()], [100; 3]);
        // 500 thousandths of a CPU are left on a: half of a typical request
        fleet.take(&change("a", true, 3500, &[], 0));
        let fragmented = fleet.fragmentation();
        assert_eq!(fragmented.vcpus, 500.0 / 4500.0);
        assert_eq!(fragmented.memory, 3.0 / 7.0, "the memory beside the missing CPU is of no use either");
        assert_eq!(fragmented.gpus, Some(0.0), "one with a GPU wants less CPU and fits");
        // half of each GPU is left on b: too little for a share of 600
        fleet.take(&change("b", true, 100, &[0], 500));
        fleet.take(&change("b", true, 100, &[1], 500));
        assert_eq!(fleet.fragmentation().gpus, Some(1000.0 / 3000.0));
    }
}
