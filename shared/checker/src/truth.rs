//! What the hypervisors have, asked directly.

/// What a VM does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerSeen {
    /// Its CPUs run.
    Running,
    /// It has power and its CPUs are held.
    Paused,
    /// It is defined and has no power.
    Off,
}

impl PowerSeen {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Off => "off",
        }
    }
}

/// A VM that a hypervisor has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmSeen {
    /// Id of the host.
    pub host: String,
    /// Id of the instance whose mark it carries.
    pub instance: String,
    /// What it does.
    pub power: PowerSeen,
}

/// The VMs of all hypervisors that were asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    /// Every VM with our mark.
    pub vms: Vec<VmSeen>,
    /// Hosts that were asked. Of others nothing is known, and nothing is judged.
    pub hosts: Vec<String>,
    /// Disks in the place of a VM that lie on these hosts; `None` = nobody looked.
    pub disks: Option<Vec<DiskSeen>>,
}

/// A disk that lies on a host where its VM has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskSeen {
    /// Id of the host.
    pub host: String,
    /// Id of the instance.
    pub instance: String,
}
