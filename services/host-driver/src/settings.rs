//! Settings of the service, and the hosts they describe.

use crate::hosts::{Backend, Host, Hosts};
use crate::reconcilers::orphans::OrphanPolicy;
use anyhow::{Context, bail};
use host_driver_adapters::libvirt::{LibvirtHypervisor, LibvirtSettings};
use host_driver_adapters::simulated::{SimulatedDisks, SimulatedHypervisor, World, WorldSettings};
use host_driver_adapters::{ImageCache, LocalDisks, host_id};
use host_driver_domain::DriverKind;
use host_driver_domain::quarantine::Keep;
use kernel::HostId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Settings of the service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `sqlite:///path/file.db`; one per process.
    pub database_url: String,
    /// Folder of the host's id, disks and image cache. QEMU's user must be able to walk there.
    pub data_dir: PathBuf,
    /// The host's name; "" = the machine's.
    pub host_name: String,
    /// What runs VMs here: "libvirt", "simulated".
    pub drivers: Vec<String>,
    /// How to reach libvirt.
    pub libvirt: LibvirtSettings,
    /// Simulated hosts.
    pub simulated: SimulatedSettings,
    /// Labels of every host of this process; placement rules speak of them.
    pub labels: BTreeMap<String, String>,
    /// Bytes of memory that the host itself needs.
    pub reserve_memory_bytes: u64,
    /// Where images come from: `file:///absolute/folder`, the storage service's.
    pub datastore_url: String,
    /// What to do about a VM with our mark that nobody ordered: "report" or "remove".
    pub orphans: OrphanPolicy,
    /// Seconds for which files are kept that were put aside and that nobody ordered to go.
    pub quarantine_keep_s: u64,
    /// Seconds for which the disks of deleted instances are kept, and the instances can be restored; 0 = they are
    /// removed at once. They go earlier when the host runs out of room.
    pub deleted_keep_s: u64,
    /// VMs worked on at a time.
    pub concurrency: usize,
    /// Seconds between two looks at every VM.
    pub full_pass_s: u64,
    /// Milliseconds between two signs of life.
    pub heartbeat_ms: u64,
    /// Milliseconds after which a VM is looked at of which a hypervisor told something: it tells several things of one
    /// action, and they are looked at together.
    pub events_settle_ms: u64,
}

/// Simulated hosts in one process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatedSettings {
    /// How many.
    pub count: usize,
    /// What each is like.
    pub host: WorldSettings,
    /// Folder with a file for each host, in which it outlives the process as a real one does; "" = in memory only.
    pub state_dir: PathBuf,
    /// Their disks are files, as those of real hosts: in a folder for each host below `data_dir`. Guests write to them.
    pub disk_files: bool,
}

impl Default for SimulatedSettings {
    fn default() -> Self {
        Self { count: 3, host: WorldSettings::default(), state_dir: PathBuf::new(), disk_files: false }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: "sqlite:///var/lib/berth/host-driver.db".into(),
            data_dir: "/var/lib/berth/host-driver".into(),
            host_name: String::new(),
            drivers: vec!["libvirt".into()],
            libvirt: LibvirtSettings::default(),
            simulated: SimulatedSettings::default(),
            labels: BTreeMap::new(),
            reserve_memory_bytes: 1 << 30,
            datastore_url: "file:///var/lib/berth/datastore".into(),
            orphans: OrphanPolicy::Report,
            quarantine_keep_s: Keep::default().set_aside.as_secs(),
            deleted_keep_s: Keep::default().deleted.as_secs(),
            concurrency: 8,
            full_pass_s: 30,
            heartbeat_ms: 3000,
            events_settle_ms: 30,
        }
    }
}

impl Settings {
    /// The id of this process, kept in the data folder: commands are keyed by it, and the machine has it as a host.
    pub fn agent_id(&self) -> anyhow::Result<HostId> {
        host_id::read_or_make(&self.data_dir, &self.database_url)
    }

    /// How long files are kept that were put aside.
    pub fn keep(&self) -> Keep {
        Keep {
            set_aside: Duration::from_secs(self.quarantine_keep_s),
            deleted: Duration::from_secs(self.deleted_keep_s),
        }
    }

    /// The hosts that these settings describe. Simulated ones are empty at each start, unless they are kept.
    pub fn hosts(&self) -> anyhow::Result<Hosts> {
        let agent = self.agent_id()?;
        let mut hosts = Vec::new();
        for driver in &self.drivers {
            match driver.as_str() {
                "libvirt" => hosts.push(self.libvirt_host(agent)?),
                "simulated" => {
                    for number in 1..=self.simulated.count {
                        hosts.push(self.simulated_host(agent, number)?);
                    }
                }
                other => bail!("drivers: {other:?} is not known here: expected \"libvirt\" or \"simulated\""),
            }
        }
        if hosts.is_empty() {
            bail!("drivers: none given, this process would answer for no host");
        }
        Ok(Hosts::new(hosts))
    }

    fn libvirt_host(&self, id: HostId) -> anyhow::Result<Host> {
        let images = ImageCache::open(&self.data_dir, &self.datastore_url)?;
        let disks = LocalDisks::open(&self.data_dir, images)?;
        let hypervisor = LibvirtHypervisor::new(self.libvirt.clone(), &self.data_dir, id);
        let backend = Backend { hypervisor: Arc::new(hypervisor), disks: Arc::new(disks) };
        Ok(Host {
            id,
            name: self.name()?,
            labels: BTreeMap::new(),
            backends: vec![(DriverKind::Libvirt, backend)],
        })
    }

    fn simulated_host(&self, agent: HostId, number: usize) -> anyhow::Result<Host> {
        let mut world = self.simulated.host.clone();
        world.faults.seed = world.faults.seed.wrapping_add(number as u64);
        let id = HostId::from_u128(agent.as_u128().wrapping_add(number as u128));
        let folder = &self.simulated.state_dir;
        let world = if folder.as_os_str().is_empty() {
            World::new(world)
        } else {
            let file = folder.join(format!("{id}.json"));
            World::kept_in(world, &file)
                .with_context(|| format!("simulated.state_dir: {}", file.display()))?
        };
        let name = format!("simulated-{number:05}");
        if !self.simulated.disk_files {
            return Ok(simulated_host(id, name, Arc::new(world)));
        }
        let data = self.data_dir.join("simulated").join(id.to_string());
        let images = ImageCache::open(&data, &self.datastore_url)?;
        let disks = LocalDisks::open(&data, images)?;
        let world = Arc::new(world.on_disk_files(&data.join("instances")));
        let backend = Backend { hypervisor: Arc::new(SimulatedHypervisor(world)), disks: Arc::new(disks) };
        Ok(Host { id, name, labels: BTreeMap::new(), backends: vec![(DriverKind::Simulated, backend)] })
    }

    fn name(&self) -> anyhow::Result<String> {
        if !self.host_name.is_empty() {
            return Ok(self.host_name.clone());
        }
        let read = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname"))
            .context("asking for the host's name")?;
        Ok(read.trim().to_owned())
    }
}

/// A host of the simulation.
pub fn simulated_host(id: HostId, name: String, world: Arc<World>) -> Host {
    let backend = Backend {
        hypervisor: Arc::new(SimulatedHypervisor(world.clone())),
        disks: Arc::new(SimulatedDisks(world)),
    };
    Host { id, name, labels: BTreeMap::new(), backends: vec![(DriverKind::Simulated, backend)] }
}
