//! A host as the scheduler knows it, and what may happen to it.

use super::resources::{Overcommit, Resources};
use kernel::{HostId, Timestamp};
use std::collections::BTreeMap;

/// Which driver runs an instance. The order is the order of preference when a request leaves it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Driver {
    /// libvirt with QEMU.
    Libvirt,
    /// Cloud Hypervisor.
    CloudHypervisor,
    /// Firecracker.
    Firecracker,
    /// No hypervisor at all: tests, demonstrations, simulated fleets.
    Simulated,
}

impl Driver {
    /// All drivers, most preferred first.
    pub const ALL: [Driver; 4] =
        [Driver::Libvirt, Driver::CloudHypervisor, Driver::Firecracker, Driver::Simulated];

    /// The name people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Libvirt => "libvirt",
            Driver::CloudHypervisor => "cloud-hypervisor",
            Driver::Firecracker => "firecracker",
            Driver::Simulated => "simulated",
        }
    }
}

/// What one driver on a host can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverCaps {
    /// Which driver.
    pub driver: Driver,
    /// The driver's own version text.
    pub version: String,
    /// "kvm", "tcg" or "none".
    pub acceleration: String,
    /// Boots a kernel that is handed to it.
    pub direct_kernel_boot: bool,
    /// Boots from a disk's own boot loader.
    pub disk_boot: bool,
    /// Talks to the guest agent.
    pub guest_agent: bool,
    /// Offers a serial console.
    pub console: bool,
    /// Freezes a guest and lets it go on.
    pub pause: bool,
}

/// Whether a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    /// Heard of within the limit.
    Up,
    /// Silent for longer than the limit.
    Unreachable,
}

/// Something that holds for a whole host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// "HOST_NETWORK_DOWN".
    pub code: String,
    /// For a person.
    pub message: String,
    /// When it began.
    pub since: Timestamp,
}

/// A host, whole. `revision` grows by one with each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its id.
    pub id: HostId,
    /// Its name, for people.
    pub name: String,
    /// Grows by one with each change.
    pub revision: u64,
    /// Whether it answers.
    pub state: HostState,
    /// Takes nothing new.
    pub cordoned: bool,
    /// Why, in the operator's words.
    pub cordon_reason: String,
    /// What it really has.
    pub capacity: Resources,
    /// How much of it may be promised.
    pub overcommit: Overcommit,
    /// What operators call it by: "zone" -> "a".
    pub labels: BTreeMap<String, String>,
    /// What can run instances there.
    pub drivers: Vec<DriverCaps>,
    /// "x86_64", "aarch64".
    pub architecture: String,
    /// The host-driver process that answers for it.
    pub agent_id: String,
    /// The database of that process: its orders are in there.
    pub store_id: String,
    /// Newest report taken into account.
    pub report_revision: u64,
    /// When it first reported.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// "libvirt 9.0.0 (kvm)", for people.
    pub hypervisor: String,
    /// GPUs it has; never promised more than once.
    pub gpus: u32,
    /// Their model; "" without any.
    pub gpu_model: String,
    /// What keeps it from working as it should; nothing new is placed there meanwhile.
    pub conditions: Vec<Condition>,
}

/// What a host says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which host.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// The process that answers for it.
    pub agent_id: String,
    /// The database of that process.
    pub store_id: String,
    /// Grows with each report that differs.
    pub revision: u64,
    /// What it has.
    pub capacity: Resources,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its drivers.
    pub drivers: Vec<DriverCaps>,
    /// "x86_64", "aarch64".
    pub architecture: String,
    /// GPUs it has.
    pub gpus: u32,
    /// Their model; "" without any.
    pub gpu_model: String,
    /// What keeps it from working as it should; nothing new is placed there meanwhile.
    pub conditions: Vec<Condition>,
}

impl Host {
    /// The host that a first report describes.
    pub fn registered(report: Report, overcommit: Overcommit, now: Timestamp) -> Self {
        let hypervisor = hypervisor(&report.drivers);
        Self {
            id: report.host,
            name: report.name,
            revision: 1,
            state: HostState::Up,
            cordoned: false,
            cordon_reason: String::new(),
            capacity: report.capacity,
            overcommit,
            labels: report.labels,
            drivers: report.drivers,
            architecture: report.architecture,
            agent_id: report.agent_id,
            store_id: report.store_id,
            report_revision: report.revision,
            created_at: now,
            updated_at: now,
            hypervisor,
            gpus: report.gpus,
            gpu_model: report.gpu_model,
            conditions: report.conditions,
        }
    }

    /// Takes a report in. Also a host thought unreachable is up again: it spoke.
    /// Answers whether anything changed; a report that is not newer changes nothing.
    pub fn reported(&mut self, report: Report, now: Timestamp) -> bool {
        if report.revision <= self.report_revision {
            return false;
        }
        self.change(now, |host| {
            host.hypervisor = hypervisor(&report.drivers);
            host.name = report.name;
            host.agent_id = report.agent_id;
            host.store_id = report.store_id;
            host.capacity = report.capacity;
            host.labels = report.labels;
            host.drivers = report.drivers;
            host.architecture = report.architecture;
            host.gpus = report.gpus;
            host.gpu_model = report.gpu_model;
            host.conditions = report.conditions;
            host.report_revision = report.revision;
            host.state = HostState::Up;
        })
    }

    /// Nothing new is placed there from now on. Answers whether that is news.
    pub fn cordon(&mut self, reason: String, now: Timestamp) -> bool {
        self.change(now, |host| {
            host.cordoned = true;
            host.cordon_reason = reason;
        })
    }

    /// It may be used again. Answers whether that is news.
    pub fn uncordon(&mut self, now: Timestamp) -> bool {
        self.change(now, |host| {
            host.cordoned = false;
            host.cordon_reason = String::new();
        })
    }

    /// From now on this much may be promised; 0 leaves a resource as it is. Answers whether that is news.
    pub fn set_overcommit(&mut self, asked: Overcommit, now: Timestamp) -> bool {
        let or = |asked: u32, known: u32| if asked == 0 { known } else { asked };
        self.change(now, |host| {
            let known = host.overcommit;
            host.overcommit = Overcommit {
                vcpus: or(asked.vcpus, known.vcpus),
                memory: or(asked.memory, known.memory),
                disk: or(asked.disk, known.disk),
            };
        })
    }

    /// It answers, or it does not. Answers whether that is news.
    pub fn heard(&mut self, state: HostState, now: Timestamp) -> bool {
        self.change(now, |host| host.state = state)
    }

    /// What may be promised in all.
    pub fn limit(&self) -> Resources {
        self.overcommit.applied_to(self.capacity)
    }

    fn change(&mut self, now: Timestamp, f: impl FnOnce(&mut Host)) -> bool {
        let before = self.clone();
        f(self);
        if *self == before {
            return false;
        }
        self.revision += 1;
        self.updated_at = now;
        true
    }
}

fn hypervisor(drivers: &[DriverCaps]) -> String {
    let describe =
        |caps: &DriverCaps| format!("{} {} ({})", caps.driver.name(), caps.version, caps.acceleration);
    drivers.iter().map(describe).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(revision: u64) -> Report {
        Report {
            host: HostId::from_u128(1),
            name: "h1".into(),
            agent_id: "a1".into(),
            store_id: "s1".into(),
            revision,
            capacity: Resources::default(),
            labels: BTreeMap::new(),
            drivers: Vec::new(),
            architecture: "x86_64".into(),
            gpus: 0,
            gpu_model: String::new(),
            conditions: Vec::new(),
        }
    }

    #[test]
    fn every_change_raises_the_revision_by_one_and_nothing_else_does() {
        let mut host = Host::registered(report(3), Overcommit::default(), Timestamp(1));
        assert!(!host.reported(Report { name: "old".into(), ..report(3) }, Timestamp(2)));
        assert!(host.reported(Report { name: "new".into(), ..report(4) }, Timestamp(3)));
        assert_eq!((host.revision, host.name.as_str(), host.updated_at), (2, "new", Timestamp(3)));
        assert!(host.cordon("disk".into(), Timestamp(4)));
        assert!(!host.cordon("disk".into(), Timestamp(5)));
        assert!(host.uncordon(Timestamp(6)));
        assert!(!host.uncordon(Timestamp(7)));
        assert_eq!(host.revision, 4);
    }

    #[test]
    fn a_host_that_speaks_is_up() {
        let mut host = Host::registered(report(1), Overcommit::default(), Timestamp(1));
        assert!(host.heard(HostState::Unreachable, Timestamp(2)));
        assert!(host.reported(report(2), Timestamp(3)));
        assert_eq!(host.state, HostState::Up);
    }
}
