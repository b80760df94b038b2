//! Hosts and instances of a workload.

use std::collections::{BTreeMap, BTreeSet};

/// The columns of the file of hosts, in the order in which they are written.
pub const HOST_COLUMNS: [&str; 8] =
    ["name", "vcpus_milli", "memory_mib", "disk_gib", "gpus", "gpu_model", "zone", "labels"];
/// The columns of the file of instances, in the order in which they are written.
pub const INSTANCE_COLUMNS: [&str; 11] = [
    "name",
    "vcpus_milli",
    "memory_mib",
    "disk_gib",
    "gpus",
    "gpu_milli",
    "group",
    "max_per_host",
    "labels",
    "created_at_s",
    "deleted_at_s",
];

/// A host of the simulated fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRow {
    /// Unique.
    pub name: String,
    /// CPUs, in thousandths.
    pub vcpus_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in GiB.
    pub disk_gib: u64,
    /// GPUs.
    pub gpus: u32,
    /// Their model; the host has it as the label `gpu.model`.
    pub gpu_model: String,
    /// The host has it as the label `zone`; "" = none.
    pub zone: String,
    /// More labels.
    pub labels: BTreeMap<String, String>,
}

impl HostRow {
    /// All labels, those of zone and model with them.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        for (key, value) in [("zone", &self.zone), ("gpu.model", &self.gpu_model)] {
            if !value.is_empty() {
                labels.entry(key.to_owned()).or_insert_with(|| value.clone());
            }
        }
        labels
    }
}

/// An instance that somebody wants for a while.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceRow {
    /// Unique.
    pub name: String,
    /// CPUs, in thousandths.
    pub vcpus_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in GiB.
    pub disk_gib: u64,
    /// GPUs.
    pub gpus: u32,
    /// Thousandths of each; 0 = all of it.
    pub gpu_milli: u32,
    /// Members of one group keep apart; "" = none.
    pub group: String,
    /// How many members of the group may share a host; 0 means 1.
    pub max_per_host: u32,
    /// Keys that some host has are required of its host; others are its own.
    pub labels: BTreeMap<String, String>,
    /// Seconds after the beginning.
    pub created_at_s: f64,
    /// Seconds after the beginning; `None` = never.
    pub deleted_at_s: Option<f64>,
}

impl InstanceRow {
    /// Thousandths of GPUs in all.
    pub fn gpus_milli(&self) -> u64 {
        u64::from(self.gpus) * u64::from(if self.gpu_milli == 0 { 1000 } else { self.gpu_milli })
    }
}

/// Hosts, and what is wanted of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workload {
    /// In the order of the file.
    pub hosts: Vec<HostRow>,
    /// In the order of the file.
    pub instances: Vec<InstanceRow>,
}

impl Workload {
    /// The labels of an instance: those that its host must have, and its own. `gpu_model` asks for `gpu.model`.
    pub fn labels_of(&self, keys: &BTreeSet<String>, row: &InstanceRow) -> [BTreeMap<String, String>; 2] {
        let (mut required, mut own) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in &row.labels {
            let key = if key == "gpu_model" { "gpu.model" } else { key };
            let side = if keys.contains(key) { &mut required } else { &mut own };
            side.insert(key.to_owned(), value.clone());
        }
        [required, own]
    }

    /// Keys of labels that some host has.
    pub fn host_label_keys(&self) -> BTreeSet<String> {
        self.hosts.iter().flat_map(|host| host.all_labels().into_keys()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_hosts_have_are_required_and_others_are_its_own() {
        let host = HostRow { zone: "a".into(), gpu_model: "a100".into(), ..HostRow::default() };
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let labels = [label("zone", "b"), label("gpu_model", "t4"), label("team", "blue")].into();
        let row = InstanceRow { labels, ..InstanceRow::default() };
        let workload = Workload { hosts: vec![host], instances: vec![row.clone()] };
        let [required, own] = workload.labels_of(&workload.host_label_keys(), &row);
        assert_eq!(required, [label("gpu.model", "t4"), label("zone", "b")].into());
        assert_eq!(own, [label("team", "blue")].into());
    }

    #[test]
    fn a_share_and_whole_gpus_are_counted_in_thousandths() {
        let row = |gpus, gpu_milli| InstanceRow { gpus, gpu_milli, ..InstanceRow::default() }.gpus_milli();
        assert_eq!((row(0, 0), row(2, 0), row(1, 250), row(2, 1000)), (0, 2000, 250, 2000));
    }
}
