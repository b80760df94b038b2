//! Hosts and reservations as the solver wants them.

use crate::host::{DriverCaps, Host, HostState};
use crate::instance::Instance;
use crate::resources::{Gpus, Overcommit, Resources};
use kernel::{HostId, InstanceId};
use std::collections::BTreeMap;

/// A group of one tenant; groups of different tenants never meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// Whose group.
    pub tenant: String,
    /// Its name.
    pub name: String,
}

/// A reservation that is already there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// Whose.
    pub instance: InstanceId,
    /// Where.
    pub host: HostId,
    /// How much.
    pub resources: Resources,
    /// Whose members share a host.
    pub affinity: Option<GroupKey>,
    /// Whose members share a host only up to a number.
    pub anti_affinity: Option<GroupKey>,
    /// Most members of the anti-affinity group that this one bears on its host, itself counted; 0 = 1.
    pub max_per_host: u32,
    /// GPUs it holds.
    pub gpus: Gpus,
    /// Which ones of the host.
    pub gpu_indexes: Vec<u32>,
}

/// One host as the solver wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRow {
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Answers, and nothing keeps it from running instances.
    pub up: bool,
    /// What keeps it from running them; "" = it does not answer, or nothing does.
    pub trouble: String,
    /// Takes nothing new.
    pub cordoned: bool,
    /// Why.
    pub cordon_reason: String,
    /// What may be promised in all (overcommit applied).
    pub limit: Resources,
    /// How far that goes.
    pub overcommit: Overcommit,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Drivers.
    pub drivers: Vec<DriverCaps>,
    /// "x86_64".
    pub architecture: String,
    /// GPUs it has.
    pub gpus: u32,
    /// The process that answers for it.
    pub agent_id: String,
}

impl From<&Host> for HostRow {
    fn from(host: &Host) -> Self {
        Self {
            id: host.id,
            name: host.name.clone(),
            up: host.state == HostState::Up && host.conditions.is_empty(),
            trouble: match host.state {
                HostState::Up => host.conditions.first().map(|c| c.message.clone()).unwrap_or_default(),
                HostState::Unreachable => String::new(),
            },
            cordoned: host.cordoned,
            cordon_reason: host.cordon_reason.clone(),
            limit: host.limit(),
            overcommit: host.overcommit,
            labels: host.labels.clone(),
            drivers: host.drivers.clone(),
            architecture: host.architecture.clone(),
            gpus: host.gpus,
            agent_id: host.agent_id.clone(),
        }
    }
}

impl Resident {
    /// What an instance holds, if it holds anything.
    pub fn of(instance: &Instance) -> Option<Self> {
        let (host, resources) = instance.reservation()?;
        let group = |name: &String| {
            let key = GroupKey { tenant: instance.tenant.clone(), name: name.clone() };
            (!name.is_empty()).then_some(key)
        };
        Some(Self {
            instance: instance.id,
            host,
            resources,
            affinity: group(&instance.spec.affinity_group),
            anti_affinity: group(&instance.spec.anti_affinity_group),
            max_per_host: instance.spec.max_per_host,
            gpus: instance.spec.gpus,
            gpu_indexes: instance.placement.as_ref().map(|p| p.gpu_indexes.clone()).unwrap_or_default(),
        })
    }
}
