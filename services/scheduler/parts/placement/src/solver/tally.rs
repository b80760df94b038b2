//! How many hosts each filter rules out, without asking each: for the record of a decision that found a host.
//!
//! What a host *is* (open, its drivers, its architecture) few hosts differ in: they are counted by kind. Of what is free
//! the blocks of a class know least and most: most blocks have room everywhere or nowhere, and the others are compared
//! by columns of small numbers side by side. What speaks of single hosts is asked of these.

use super::decision::Filter;
use super::filters;
use super::fleet::{Fleet, KINDS, Slot, bit};
use super::request::Prepared;

/// Hosts of a block.
const BLOCK: usize = 32;

/// By the number of the filter: how many hosts.
pub(super) type Counts = [usize; Filter::ALL.len()];

/// The hosts of a class, so many neighbours at a time.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    /// Side by side, because most requests read all of them and nothing else.
    room: Vec<Room>,
    /// Asked where hosts of the class differ in what they are.
    fixed: Vec<Fixed>,
    lanes: Vec<Lanes>,
}

/// What is free on the hosts of a block at least and at most, in whole units.
#[derive(Debug, Clone)]
struct Room {
    count: u32,
    least: [u32; KINDS],
    most: [u32; KINDS],
}

/// What the hosts of a block are.
#[derive(Debug, Clone)]
struct Fixed {
    /// What every host has, and what any has.
    traits: [u32; 2],
    labels: [u32; 2],
    /// Of the first host; none when they differ.
    architecture: Option<u16>,
}

/// What is free on each host of a block, and its labels. Places without a host have nothing.
#[derive(Debug, Clone)]
struct Lanes {
    free: [[u32; BLOCK]; KINDS],
    whole_gpus: [u32; BLOCK],
    most_of_a_gpu: [u32; BLOCK],
    labels: [u32; BLOCK],
}

impl Blocks {
    pub fn of(fleet: &Fleet, slots: &[Slot]) -> Self {
        let mut blocks = Self { room: Vec::new(), fixed: Vec::new(), lanes: Vec::new() };
        for (first, hosts) in (0..).step_by(BLOCK).zip(slots.chunks(BLOCK)) {
            let lanes = Lanes {
                free: [[0; BLOCK]; KINDS],
                whole_gpus: [0; BLOCK],
                most_of_a_gpu: [0; BLOCK],
                labels: [0; BLOCK],
            };
            blocks.room.push(Room { count: hosts.len() as u32, least: [0; KINDS], most: [0; KINDS] });
            blocks.fixed.push(Fixed { traits: [0; 2], labels: [0; 2], architecture: None });
            blocks.lanes.push(lanes);
            (first..first + hosts.len()).for_each(|place| blocks.set(fleet, slots, place));
            blocks.sum_up(fleet, slots, first / BLOCK);
        }
        blocks
    }

    /// The host at this place is no longer what it was.
    pub fn changed(&mut self, fleet: &Fleet, slots: &[Slot], place: usize, before: &Slot) {
        self.set(fleet, slots, place);
        let now = &slots[place];
        if (now.traits, now.labels) == (before.traits, before.labels) {
            self.sum_up_room(place / BLOCK);
        } else {
            self.sum_up(fleet, slots, place / BLOCK);
        }
    }

    fn set(&mut self, fleet: &Fleet, slots: &[Slot], place: usize) {
        let (lanes, at) = (&mut self.lanes[place / BLOCK], place % BLOCK);
        let host = slots[place].host as usize;
        for kind in 0..KINDS {
            lanes.free[kind][at] = fleet.lanes[kind][host];
        }
        (lanes.whole_gpus[at], lanes.most_of_a_gpu[at]) = (fleet.gpus.whole[host], fleet.gpus.most[host]);
        lanes.labels[at] = slots[place].labels;
    }

    fn sum_up_room(&mut self, number: usize) {
        let room = &mut self.room[number];
        for (kind, free) in self.lanes[number].free.iter().enumerate() {
            let free = &free[..room.count as usize];
            room.least[kind] = free.iter().copied().fold(u32::MAX, u32::min);
            room.most[kind] = free.iter().copied().fold(0, u32::max);
        }
    }

    fn sum_up(&mut self, fleet: &Fleet, slots: &[Slot], number: usize) {
        self.sum_up_room(number);
        let slots = self.slots_of(number, slots);
        let architecture = |slot: &Slot| fleet.architecture[slot.host as usize];
        let first = slots.first().map(architecture);
        let mut fixed = Fixed { traits: [u32::MAX, 0], labels: [u32::MAX, 0], architecture: first };
        for slot in slots {
            fixed.traits = [fixed.traits[0] & slot.traits, fixed.traits[1] | slot.traits];
            fixed.labels = [fixed.labels[0] & slot.labels, fixed.labels[1] | slot.labels];
            fixed.architecture = fixed.architecture.filter(|first| *first == architecture(slot));
        }
        self.fixed[number] = fixed;
    }

    fn slots_of<'s>(&self, number: usize, slots: &'s [Slot]) -> &'s [Slot] {
        &slots[number * BLOCK..number * BLOCK + self.room[number].count as usize]
    }

    /// How many hosts have the GPUs, and how many of these room, where all let the filters before pass.
    pub fn pass_all(&self, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> [usize; 2] {
        let mut sum = [0; 2];
        let wants_gpus = prepared.wants_gpus();
        for (room, lanes) in self.room.iter().zip(&self.lanes) {
            let count = room.count as usize;
            let passed = if wants_gpus {
                lanes.pass_with_gpus(prepared, asked)
            } else {
                [count, room.pass(asked).unwrap_or_else(|| lanes.pass(prepared, asked))]
            };
            sum = [sum[0] + passed[0], sum[1] + passed[1]];
        }
        sum
    }

    /// How many hosts let [`Filter::State`] to [`Filter::Labels`] pass, how many have the GPUs besides, and how many of
    /// these room.
    pub fn pass(
        &self,
        fleet: &Fleet,
        prepared: &Prepared<'_>,
        asked: [u32; KINDS],
        slots: &[Slot],
    ) -> [usize; 3] {
        let mut sum = [0; 3];
        for number in 0..self.room.len() {
            let passed = self
                .pass_one(number, prepared, asked)
                .unwrap_or_else(|| pass_one_by_one(fleet, prepared, self.slots_of(number, slots)));
            sum = [0, 1, 2].map(|place: usize| sum[place] + passed[place]);
        }
        sum
    }

    /// None: hosts differ in what they are, or GPUs are asked for as well.
    fn pass_one(&self, number: usize, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> Option<[usize; 3]> {
        let (room, fixed, lanes) = (&self.room[number], &self.fixed[number], &self.lanes[number]);
        let open = bit::UP | bit::OPEN;
        if fixed.traits[1] & open != open || prepared.able(fixed.traits[1]) == 0 {
            return Some([0; 3]);
        }
        if fixed.traits[0] & open != open || prepared.able(fixed.traits[0]) == 0 || prepared.wants_gpus() {
            return None;
        }
        if let Some(wanted) = prepared.architecture
            && fixed.architecture? != wanted
        {
            return Some([0; 3]);
        }
        let [wanted, avoided] = prepared.labels;
        if fixed.labels[1] & wanted != wanted || fixed.labels[0] & avoided != 0 {
            return Some([0; 3]);
        }
        let (count, with_room) = (room.count as usize, room.pass(asked));
        if fixed.labels[0] & wanted == wanted && fixed.labels[1] & avoided == 0 {
            return Some([count, count, with_room.unwrap_or_else(|| lanes.pass(prepared, asked))]);
        }
        let with_labels = (0..count).filter(|host| lanes.is_right(prepared, *host)).count();
        let with_room = match with_room {
            Some(0) => 0,
            Some(_) => with_labels,
            None => lanes.pass(prepared, asked),
        };
        Some([with_labels, with_labels, with_room])
    }
}

impl Room {
    /// How many hosts have room; none: some have, and others have not.
    fn pass(&self, asked: [u32; KINDS]) -> Option<usize> {
        let [cpus, memory, disk] = [0, 1, 2].map(|kind: usize| self.most[kind] < asked[kind]);
        if cpus | memory | disk {
            return Some(0);
        }
        let [cpus, memory, disk] = [0, 1, 2].map(|kind: usize| self.least[kind] >= asked[kind]);
        (cpus & memory & disk).then_some(self.count as usize)
    }
}

// all hosts of a block are compared without jumps, which the compiler turns into vector instructions
impl Lanes {
    fn is_right(&self, prepared: &Prepared<'_>, host: usize) -> bool {
        let [wanted, avoided] = prepared.labels;
        (self.labels[host] & wanted == wanted) & (self.labels[host] & avoided == 0)
    }

    fn has_room(&self, asked: [u32; KINDS], host: usize) -> bool {
        let [cpus, memory, disk] = &self.free;
        (cpus[host] >= asked[0]) & (memory[host] >= asked[1]) & (disk[host] >= asked[2])
    }

    /// How many hosts have the right labels and room. Places without a host have nothing free, and something is asked
    /// for: otherwise all would have room.
    fn pass(&self, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> usize {
        let passes = |host: usize| self.has_room(asked, host) & self.is_right(prepared, host);
        (0..BLOCK).map(|host| u32::from(passes(host))).sum::<u32>() as usize
    }

    /// How many hosts have the GPUs, and how many of these room. Places without a host have no GPUs.
    fn pass_with_gpus(&self, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> [usize; 2] {
        let has_gpus = |host: usize| {
            (self.whole_gpus[host] >= prepared.gpus_whole) & (self.most_of_a_gpu[host] >= prepared.gpu_share)
        };
        let with_gpus = (0..BLOCK).map(|host| u32::from(has_gpus(host))).sum::<u32>();
        let with_room =
            (0..BLOCK).map(|host| u32::from(has_gpus(host) & self.has_room(asked, host))).sum::<u32>();
        [with_gpus as usize, with_room as usize]
    }
}

/// Counts by filter, if that is possible without asking every host.
pub(super) fn counts(fleet: &Fleet, prepared: &Prepared<'_>) -> Option<Counts> {
    let asked = prepared.lanes()?;
    let mut counts = [0; Filter::ALL.len()];
    // by what they are
    let mut right = 0;
    for ((traits, architecture), hosts) in fleet.kinds() {
        match filters::first_against_kind(prepared, *traits, *architecture) {
            Some(filter) => counts[filter as usize] += hosts,
            None => right += hosts,
        }
    }
    let elsewhere = if prepared.any_label { Filter::Labels } else { Filter::Affinity };
    match prepared.few(fleet) {
        // all others have the wrong labels, or are not where the group is
        Some(_) if prepared.any_label && prepared.together.is_some() => return None,
        Some(few) => {
            for host in few.iter().map(|host| *host as usize) {
                let kind =
                    filters::first_against_kind(prepared, fleet.traits[host], fleet.architecture[host]);
                if kind.is_none() {
                    right -= 1;
                    if let Some(filter) = filters::first_against(fleet, prepared, host) {
                        counts[filter as usize] += 1;
                    }
                }
            }
            counts[elsewhere as usize] += right;
        }
        None if prepared.labels_by_name => return None,
        None => {
            let [with_labels, with_gpus, with_room] = fleet.index()?.pass(fleet, prepared, asked);
            counts[Filter::Labels as usize] += right - with_labels;
            counts[Filter::Gpu as usize] += with_labels - with_gpus;
            counts[Filter::Capacity as usize] += with_gpus - with_room;
            // what was counted so far did not know of these
            let mut single: Vec<u32> = prepared.apart.iter().chain(&prepared.failed).copied().collect();
            single.sort_unstable();
            single.dedup();
            for host in single.into_iter().map(|host| host as usize) {
                let (before, now) = (
                    filters::first_but_single(fleet, prepared, host),
                    filters::first_against(fleet, prepared, host),
                );
                if before != now {
                    before.into_iter().for_each(|filter| counts[filter as usize] -= 1);
                    now.into_iter().for_each(|filter| counts[filter as usize] += 1);
                }
            }
        }
    }
    Some(counts)
}

/// The same as [`Blocks::pass`], of each host for itself.
fn pass_one_by_one(fleet: &Fleet, prepared: &Prepared<'_>, slots: &[Slot]) -> [usize; 3] {
    let mut pass = [0; 3];
    for slot in slots {
        let host = slot.host as usize;
        let kind = filters::first_against_kind(prepared, slot.traits, fleet.architecture[host]);
        let passes = |filter| filters::passes(filter, fleet, prepared, host);
        let labels = kind.is_none() && passes(Filter::Labels);
        let gpus = labels && passes(Filter::Gpu);
        let room = gpus && passes(Filter::Capacity);
        pass = [pass[0] + usize::from(labels), pass[1] + usize::from(gpus), pass[2] + usize::from(room)];
    }
    pass
}
