//! All hosts as columns, in order of their ids, with what is taken on each.

use crate::domain::host::{Driver, DriverCaps, Host, HostState};
use crate::domain::resources::Resources;
use kernel::{HostId, InstanceId};
use std::collections::{BTreeMap, HashMap};

/// How many kinds of resource there are: CPUs, memory, disk.
pub(super) const KINDS: usize = 3;

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
    /// Whose members never do.
    pub anti_affinity: Option<GroupKey>,
}

/// One host as the solver wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRow {
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Answers.
    pub up: bool,
    /// Takes nothing new.
    pub cordoned: bool,
    /// Why.
    pub cordon_reason: String,
    /// What may be promised in all (overcommit applied).
    pub limit: Resources,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Drivers.
    pub drivers: Vec<DriverCaps>,
    /// "x86_64".
    pub architecture: String,
}

impl From<&Host> for HostRow {
    fn from(host: &Host) -> Self {
        Self {
            id: host.id,
            name: host.name.clone(),
            up: host.state == HostState::Up,
            cordoned: host.cordoned,
            cordon_reason: host.cordon_reason.clone(),
            limit: host.limit(),
            labels: host.labels.clone(),
            drivers: host.drivers.clone(),
            architecture: host.architecture.clone(),
        }
    }
}

/// All hosts. Columns that the hot loop reads are plain integers side by side.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    rows: Vec<HostRow>,
    /// What is still free of the limit, by resource, by host. Zero when more is promised than the limit allows.
    pub(super) free: [Vec<u64>; KINDS],
    /// 1,000,000 / limit in 32-bit fixed point of MiB (or thousandths of a CPU), for scoring without dividing.
    pub(super) reciprocal: [Vec<u64>; KINDS],
    /// Bits: see `bit`.
    pub(super) traits: Vec<u32>,
    /// Architecture as a small number.
    pub(super) architecture: Vec<u16>,
    architectures: Vec<String>,
    affinity: HashMap<GroupKey, Vec<u32>>,
    anti_affinity: HashMap<GroupKey, Vec<u32>>,
}

/// Bits of `Fleet::traits`.
pub(super) mod bit {
    /// The host answers.
    pub const UP: u32 = 1;
    /// The host takes new instances.
    pub const OPEN: u32 = 1 << 1;
    /// First of one bit a driver: it is there.
    pub const HAS: u32 = 8;
    /// First of one bit a driver: it boots a kernel directly.
    pub const KERNEL: u32 = 16;
    /// First of one bit a driver: it boots from disk.
    pub const DISK: u32 = 24;
}

/// The unit in which shares are counted: bytes are too many for a 32-bit fixed point.
pub(super) fn coarse(kind: usize, amount: u64) -> u64 {
    if kind == 0 { amount } else { amount >> 20 }
}

impl Fleet {
    /// The fleet of these hosts with these reservations. Reservations on unknown hosts are ignored: there is
    /// nothing of such a host to promise.
    pub fn new(mut rows: Vec<HostRow>, residents: impl IntoIterator<Item = Resident>) -> Self {
        rows.sort_by_key(|row| row.id);
        rows.dedup_by_key(|row| row.id);
        let mut fleet = Self::default();
        for row in rows {
            fleet.push(row);
        }
        for resident in residents {
            fleet.reserve(&resident);
        }
        fleet
    }

    fn push(&mut self, row: HostRow) {
        let mut traits = 0;
        if row.up {
            traits |= bit::UP;
        }
        if !row.cordoned {
            traits |= bit::OPEN;
        }
        for caps in &row.drivers {
            let driver = caps.driver as u32;
            traits |= 1 << (bit::HAS + driver);
            traits |= u32::from(caps.direct_kernel_boot) << (bit::KERNEL + driver);
            traits |= u32::from(caps.disk_boot) << (bit::DISK + driver);
        }
        self.traits.push(traits);
        let known = self.architectures.iter().position(|name| *name == row.architecture);
        let number = known.unwrap_or_else(|| {
            self.architectures.push(row.architecture.clone());
            self.architectures.len() - 1
        });
        self.architecture.push(u16::try_from(number).unwrap_or(u16::MAX));
        for (kind, limit) in row.limit.amounts().into_iter().enumerate() {
            self.free[kind].push(limit);
            let scale = (1_000_000_u64 << 32).checked_div(coarse(kind, limit)).unwrap_or(0);
            self.reciprocal[kind].push(scale);
        }
        self.rows.push(row);
    }

    /// Takes a resident's share off its host, so that the next decision sees it.
    pub fn reserve(&mut self, resident: &Resident) {
        let Some(host) = self.index_of(resident.host) else { return };
        for (kind, amount) in resident.resources.amounts().into_iter().enumerate() {
            self.free[kind][host] = self.free[kind][host].saturating_sub(amount);
        }
        join(&mut self.affinity, resident.affinity.as_ref(), host);
        join(&mut self.anti_affinity, resident.anti_affinity.as_ref(), host);
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No host at all.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The host at an index. Indices are in order of host ids.
    pub fn host(&self, index: usize) -> &HostRow {
        &self.rows[index]
    }

    /// Where a host is.
    pub fn index_of(&self, host: HostId) -> Option<usize> {
        self.rows.binary_search_by_key(&host, |row| row.id).ok()
    }

    /// What is free on a host: thousandths of a CPU, bytes of memory, bytes of disk.
    pub fn free(&self, host: usize) -> [u64; KINDS] {
        [self.free[0][host], self.free[1][host], self.free[2][host]]
    }

    pub(super) fn architecture_number(&self, name: &str) -> Option<u16> {
        let position = self.architectures.iter().position(|known| known == name)?;
        u16::try_from(position).ok()
    }

    pub(super) fn has_one_architecture(&self) -> bool {
        self.architectures.len() == 1
    }

    pub(super) fn hosts_of(&self, group: &GroupKey) -> &[u32] {
        self.affinity.get(group).map_or(&[], Vec::as_slice)
    }

    pub(super) fn hosts_with_rival(&self, group: &GroupKey) -> &[u32] {
        self.anti_affinity.get(group).map_or(&[], Vec::as_slice)
    }

    /// The most preferred driver of a host among those whose bits are set.
    pub(super) fn driver_of(bits: u32) -> Option<Driver> {
        Driver::ALL.into_iter().find(|driver| bits & (1 << *driver as u32) != 0)
    }
}

/// Keeps a group's hosts sorted and without repetition.
fn join(groups: &mut HashMap<GroupKey, Vec<u32>>, group: Option<&GroupKey>, host: usize) {
    let (Some(group), Ok(host)) = (group, u32::try_from(host)) else { return };
    let hosts = groups.entry(group.clone()).or_default();
    if let Err(place) = hosts.binary_search(&host) {
        hosts.insert(place, host);
    }
}
