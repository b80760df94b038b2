//! The hosts that this process answers for: one real one, or thousands of simulated ones.

use host_driver_adapters::{Disks, Hypervisor};
use host_driver_domain::DriverKind;
use kernel::HostId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A driver of a host, and the files it works with.
#[derive(Clone)]
pub struct Backend {
    /// Runs VMs.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Keeps their files.
    pub disks: Arc<dyn Disks>,
}

/// One host.
#[derive(Clone)]
pub struct Host {
    /// Which.
    pub id: HostId,
    /// Its name for people.
    pub name: String,
    /// Its own labels, besides those of all hosts of the process.
    pub labels: BTreeMap<String, String>,
    /// What it can run VMs with, in the order of preference.
    pub backends: Vec<(DriverKind, Backend)>,
}

impl Host {
    /// The driver of this kind; the first one for `None`.
    pub fn backend(&self, kind: Option<DriverKind>) -> Option<&Backend> {
        let mut backends = self.backends.iter();
        backends.find(|(known, _)| kind.is_none_or(|kind| kind == *known)).map(|(_, backend)| backend)
    }
}

/// All hosts of this process, by id.
#[derive(Default)]
pub struct Hosts(BTreeMap<HostId, Host>);

impl Hosts {
    /// These hosts.
    pub fn new(hosts: impl IntoIterator<Item = Host>) -> Self {
        Self(hosts.into_iter().map(|host| (host.id, host)).collect())
    }

    /// The host with this id.
    pub fn get(&self, id: HostId) -> Option<&Host> {
        self.0.get(&id)
    }

    /// All of them, by id.
    pub fn all(&self) -> impl Iterator<Item = &Host> {
        self.0.values()
    }
}
