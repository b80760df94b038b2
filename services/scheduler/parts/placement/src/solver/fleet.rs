//! All hosts as columns, in order of their ids, with what is taken on each.

mod gpus;
mod groups;
mod labels;

use super::index::Index;
use super::request::Request;
use super::rows::{GroupKey, HostRow, Resident};
use super::typical::{Asked, Taken};
use crate::host::Driver;
use crate::resources::Gpus;
pub(super) use gpus::GpuColumns;
use groups::Groups;
use kernel::{HostId, InstanceId};
use labels::{FEW, LabelHosts};
use std::collections::{BTreeMap, HashMap};

/// How many kinds of resource there are: CPUs, memory, disk.
pub(super) const KINDS: usize = 3;

/// All hosts. Columns that the hot loop reads are plain integers side by side.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    rows: Vec<HostRow>,
    /// Of the rows: looked for more often than these are read.
    ids: Vec<HostId>,
    /// What is promised, by resource, by host.
    used: [Vec<u64>; KINDS],
    /// What is still free of the limit, by resource, by host. Zero when more is promised than the limit allows.
    pub(super) free: [Vec<u64>; KINDS],
    /// 1,000,000 / limit in 32-bit fixed point of MiB (or thousandths of a CPU), for scoring without dividing.
    pub(super) reciprocal: [Vec<u64>; KINDS],
    /// What is free in whole units (see `coarse`), for loops over all hosts; what is more than fits is the most.
    pub(super) lanes: [Vec<u32>; KINDS],
    pub(super) gpus: GpuColumns,
    /// Bits: see `bit`.
    pub(super) traits: Vec<u32>,
    /// Architecture as a small number.
    pub(super) architecture: Vec<u16>,
    architectures: Vec<String>,
    /// How many hosts have these traits and this architecture.
    kinds: BTreeMap<(u32, u16), usize>,
    affinity: Groups,
    anti_affinity: Groups,
    /// By those who have GPUs on hosts that are known.
    asked: Asked,
    residents: HashMap<InstanceId, Resident>,
    /// Both are made by [`Fleet::settle`]; until then every host is asked.
    index: Option<Index>,
    by_label: Option<LabelHosts>,
}

/// What of a host is asked first, side by side: one look at memory instead of one for each column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// As in [`Fleet`].
    pub free: [u64; KINDS],
    /// As in [`Fleet`].
    pub reciprocal: [u64; KINDS],
    /// As in [`Fleet`].
    pub traits: u32,
    /// Its number.
    pub host: u32,
    /// How many it has.
    pub gpus: u32,
    /// As in [`LabelHosts`].
    pub labels: u32,
}

impl Slot {
    pub fn of(fleet: &Fleet, host: usize) -> Self {
        Self {
            free: [fleet.free[0][host], fleet.free[1][host], fleet.free[2][host]],
            reciprocal: [fleet.reciprocal[0][host], fleet.reciprocal[1][host], fleet.reciprocal[2][host]],
            traits: fleet.traits[host],
            host: host as u32,
            gpus: fleet.gpus.count[host],
            labels: fleet.labels_of(host),
        }
    }
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
    /// The fleet of these hosts with these reservations.
    pub fn new(mut rows: Vec<HostRow>, residents: impl IntoIterator<Item = Resident>) -> Self {
        rows.sort_by_key(|row| row.id);
        let mut fleet = Self::default();
        for row in rows {
            fleet.put(row);
        }
        for resident in residents {
            fleet.reserve(resident);
        }
        fleet.settle();
        fleet
    }

    /// Makes ready for fast decisions what changes of hosts left behind. Decisions are the same without.
    pub fn settle(&mut self) {
        if self.by_label.is_none() {
            self.by_label = Some(LabelHosts::of(&self.rows));
        }
        if self.index.is_none() {
            self.index = Some(Index::new(self));
        }
    }

    /// What is reserved on a host, or the host itself, has changed.
    fn touch(&mut self, host: usize) {
        let Some(mut index) = self.index.take() else { return };
        let blunt = index.changed(self, host);
        self.index = if blunt { Some(Index::new(self)) } else { Some(index) };
    }

    /// Takes a host in, or what is new about it; answers what was known before.
    pub fn put(&mut self, row: HostRow) -> Option<HostRow> {
        let (known, host) = match self.ids.binary_search(&row.id) {
            Ok(host) => (Some(self.rows[host].clone()), host),
            Err(host) => {
                self.make_place(host, &row);
                (None, host)
            }
        };
        let kind = (traits(&row), self.architecture_of(&row.architecture));
        if known.is_some() {
            self.forget_kind(host);
        }
        *self.kinds.entry(kind).or_default() += 1;
        (self.traits[host], self.architecture[host]) = kind;
        self.gpus.set_count(host, row.gpus);
        for (kind, limit) in row.limit.amounts().into_iter().enumerate() {
            self.reciprocal[kind][host] = (1_000_000_u64 << 32).checked_div(coarse(kind, limit)).unwrap_or(0);
        }
        if known.as_ref().is_none_or(|known| known.labels != row.labels) {
            (self.index, self.by_label) = (None, None);
        }
        // another kind of machine belongs elsewhere in the index; one that is closed or silent stays where it is
        let is = |row: &HostRow| (row.limit, row.gpus, row.architecture.clone());
        if known.as_ref().is_some_and(|known| is(known) != is(&row)) {
            self.index = None;
        }
        self.rows[host] = row;
        self.sum_up(host);
        known
    }

    /// A new host, and what was reserved on it before it was known.
    fn make_place(&mut self, host: usize, row: &HostRow) {
        self.index = None;
        for kind in 0..KINDS {
            self.used[kind].insert(host, 0);
            self.free[kind].insert(host, 0);
            self.lanes[kind].insert(host, 0);
            self.reciprocal[kind].insert(host, 0);
        }
        self.gpus.insert(host, row.gpus);
        self.traits.insert(host, 0);
        self.architecture.insert(host, 0);
        if host < self.rows.len() {
            let first = u32::try_from(host).unwrap_or(u32::MAX);
            self.affinity.shift(first);
            self.anti_affinity.shift(first);
        }
        self.rows.insert(host, row.clone());
        self.ids.insert(host, row.id);
        let strays: Vec<Resident> = self.residents.values().filter(|r| r.host == row.id).cloned().collect();
        for resident in strays {
            self.add(host, &resident);
        }
    }

    /// Forgets a host. What is reserved there stays reserved, should it come back.
    pub fn remove(&mut self, id: HostId) -> Option<HostRow> {
        let host = self.index_of(id)?;
        (self.index, self.by_label) = (None, None);
        self.forget_kind(host);
        for resident in self.residents.values().filter(|r| r.host == id).cloned().collect::<Vec<_>>() {
            self.take_off(host, &resident);
        }
        for kind in 0..KINDS {
            self.used[kind].remove(host);
            self.free[kind].remove(host);
            self.lanes[kind].remove(host);
            self.reciprocal[kind].remove(host);
        }
        self.gpus.remove(host);
        self.traits.remove(host);
        self.architecture.remove(host);
        if let Ok(first) = u32::try_from(host) {
            self.affinity.close_up(first);
            self.anti_affinity.close_up(first);
        }
        self.ids.remove(host);
        Some(self.rows.remove(host))
    }

    fn forget_kind(&mut self, host: usize) {
        let kind = (self.traits[host], self.architecture[host]);
        if let Some(hosts) = self.kinds.get_mut(&kind) {
            *hosts -= 1;
            if *hosts == 0 {
                self.kinds.remove(&kind);
            }
        }
    }

    fn architecture_of(&mut self, name: &str) -> u16 {
        let known = self.architectures.iter().position(|known| known == name).unwrap_or_else(|| {
            self.architectures.push(name.to_owned());
            self.architectures.len() - 1
        });
        u16::try_from(known).unwrap_or(u16::MAX)
    }

    /// Takes a resident's share off its host, so that the next decision sees it. One that is known already moves;
    /// answers what it held before. A reservation on an unknown host takes nothing until the host is known.
    pub fn reserve(&mut self, resident: Resident) -> Option<Resident> {
        let before = self.residents.insert(resident.instance, resident.clone());
        if let Some(before) = &before {
            self.give_back(before);
        }
        if let Some(host) = self.index_of(resident.host) {
            self.add(host, &resident);
        }
        before
    }

    /// Gives back what an instance holds, if it holds anything.
    pub fn release(&mut self, instance: InstanceId) -> Option<Resident> {
        let resident = self.residents.remove(&instance)?;
        self.give_back(&resident);
        Some(resident)
    }

    fn give_back(&mut self, resident: &Resident) {
        if let Some(host) = self.index_of(resident.host) {
            self.take_off(host, resident);
        }
    }

    fn take_off(&mut self, host: usize, resident: &Resident) {
        for (kind, amount) in resident.resources.amounts().into_iter().enumerate() {
            self.used[kind][host] = self.used[kind][host].saturating_sub(amount);
        }
        self.gpus.give_back(host, resident.gpus, &resident.gpu_indexes);
        self.asked.leave(resident);
        let number = u32::try_from(host).unwrap_or(u32::MAX);
        if let Some(group) = &resident.affinity {
            self.affinity.leave(group, number, 0);
        }
        if let Some(group) = &resident.anti_affinity {
            self.anti_affinity.leave(group, number, resident.max_per_host.max(1));
        }
        self.sum_up(host);
    }

    fn add(&mut self, host: usize, resident: &Resident) {
        for (kind, amount) in resident.resources.amounts().into_iter().enumerate() {
            self.used[kind][host] = self.used[kind][host].saturating_add(amount);
        }
        self.gpus.take(host, resident.gpus, &resident.gpu_indexes);
        self.asked.join(resident);
        let number = u32::try_from(host).unwrap_or(u32::MAX);
        if let Some(group) = &resident.affinity {
            self.affinity.join(group, number, 0);
        }
        if let Some(group) = &resident.anti_affinity {
            self.anti_affinity.join(group, number, resident.max_per_host.max(1));
        }
        self.sum_up(host);
    }

    fn sum_up(&mut self, host: usize) {
        for (kind, limit) in self.rows[host].limit.amounts().into_iter().enumerate() {
            let free = limit.saturating_sub(self.used[kind][host]);
            self.free[kind][host] = free;
            self.lanes[kind][host] = u32::try_from(coarse(kind, free)).unwrap_or(u32::MAX);
        }
        self.touch(host);
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

    /// Everything that is promised, in no order.
    pub fn residents(&self) -> impl Iterator<Item = &Resident> {
        self.residents.values()
    }

    /// All hosts, in order of their ids.
    pub fn hosts(&self) -> &[HostRow] {
        &self.rows
    }

    /// Where a host is.
    pub fn index_of(&self, host: HostId) -> Option<usize> {
        self.ids.binary_search(&host).ok()
    }

    /// What is free on a host: thousandths of a CPU, bytes of memory, bytes of disk.
    pub fn free(&self, host: usize) -> [u64; KINDS] {
        [self.free[0][host], self.free[1][host], self.free[2][host]]
    }

    /// The GPUs that a request gets on a host that has them.
    pub fn choose_gpus(&self, host: usize, gpus: Gpus) -> Vec<u32> {
        self.gpus.choose(host, gpus)
    }

    /// Thousandths of a GPU, in millionths, that typical requests could have of a host and no longer can when something
    /// is placed there. Not all of it when it is more than `bearable` already.
    pub(super) fn lost_gpus(&self, host: usize, amounts: [u64; KINDS], gpus: Gpus, bearable: i64) -> i64 {
        let room = |kind: usize| {
            let free = self.free[kind][host];
            [free, free.saturating_sub(amounts[kind])].map(|amount| coarse(kind, amount))
        };
        let ([cpus, cpus_after], [memory, memory_after]) = (room(0), room(1));
        let taken = Taken::of(&self.gpus, host, gpus);
        let mut lost = 0;
        for typical in &self.asked.typical {
            let [before, after] = taken.of_use(&self.gpus, host, typical);
            let before = typical.usable(before, cpus, memory);
            let after = typical.usable(after, cpus_after, memory_after);
            lost += typical.weight * i64::try_from(before.saturating_sub(after)).unwrap_or(0);
            if lost > bearable {
                break;
            }
        }
        lost
    }

    /// How many hosts have these traits and this architecture.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&(u32, u16), &usize)> {
        self.kinds.iter()
    }

    pub(super) fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    /// All hosts with the rarest of these labels, when they are much fewer than all hosts.
    pub(super) fn fewest_with(&self, labels: &BTreeMap<String, String>) -> Option<&[u32]> {
        if labels.is_empty() {
            return None;
        }
        self.by_label.as_ref()?.fewest(labels).filter(|hosts| hosts.len() <= self.rows.len() / FEW)
    }

    /// The common labels of a host, as bits.
    pub(super) fn labels_of(&self, host: usize) -> u32 {
        self.by_label.as_ref().map_or(0, |by_label| by_label.bits[host])
    }

    /// The bits of [`Self::labels_of`] that a right host has, and those that it has not. None: bits do not tell.
    pub(super) fn labels_asked(&self, request: &Request) -> Option<[u32; 2]> {
        self.by_label.as_ref()?.asked(request)
    }

    /// Every host that lacks a required label or has one that is to be avoided; some more than once.
    pub(super) fn with_wrong_labels(&self, request: &Request, mut found: impl FnMut(usize)) {
        match &self.by_label {
            Some(by_label) => by_label.wrong(self.rows.len(), request, &mut found),
            None => (0..self.rows.len())
                .filter(|host| !right_labels(&self.rows[*host].labels, request))
                .for_each(found),
        }
    }

    pub(super) fn architecture_number(&self, name: &str) -> Option<u16> {
        let position = self.architectures.iter().position(|known| known == name)?;
        u16::try_from(position).ok()
    }

    pub(super) fn has_one_architecture(&self) -> bool {
        self.architectures.len() == 1
    }

    pub(super) fn hosts_of(&self, group: &GroupKey) -> Vec<u32> {
        self.affinity.hosts(group)
    }

    /// Hosts that bear no further member of an anti-affinity group.
    pub(super) fn full_hosts(&self, group: &GroupKey, max_per_host: u32) -> Vec<u32> {
        self.anti_affinity.full(group, max_per_host)
    }

    /// Members of an anti-affinity group on a host.
    pub(super) fn rivals(&self, group: &GroupKey, host: usize) -> usize {
        u32::try_from(host).map_or(0, |host| self.anti_affinity.members(group, host))
    }

    /// The most preferred driver of a host among those whose bits are set.
    pub(super) fn driver_of(bits: u32) -> Option<Driver> {
        Driver::ALL.into_iter().find(|driver| bits & (1 << *driver as u32) != 0)
    }
}

/// The same hosts with the same reservations, and every column that follows from them.
impl PartialEq for Fleet {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
            && self.residents == other.residents
            && self.used == other.used
            && self.free == other.free
            && self.lanes == other.lanes
            && self.reciprocal == other.reciprocal
            && self.gpus == other.gpus
            && self.traits == other.traits
            && self.asked == other.asked
            && self.affinity == other.affinity
            && self.anti_affinity == other.anti_affinity
    }
}

/// Required labels are there, avoided ones are not.
pub(super) fn right_labels(labels: &BTreeMap<String, String>, request: &Request) -> bool {
    request.require.iter().all(|(key, value)| labels.get(key) == Some(value))
        && !request.avoid.iter().any(|(key, value)| labels.get(key) == Some(value))
}

fn traits(row: &HostRow) -> u32 {
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
    traits
}
