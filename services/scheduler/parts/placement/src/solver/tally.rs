//! How many hosts each filter rules out, without asking each: for the record of a decision that found a host.
//!
//! What a host *is* (open, its drivers, its architecture) few hosts differ in: they are counted by kind. Of what is free
//! the blocks of the tree know least and most: most blocks have room everywhere or nowhere, and the others are compared
//! by columns of small numbers side by side. What speaks of single hosts is asked of these.

use super::decision::Filter;
use super::filters;
use super::fleet::{Fleet, KINDS, Slot, bit};
use super::request::Prepared;

/// Hosts of a block.
pub(super) const BLOCK: usize = 32;

/// By the number of the filter: how many hosts.
pub(super) type Counts = [usize; Filter::ALL.len()];

/// Neighbours in the tree.
#[derive(Debug, Clone)]
pub(super) struct Block {
    count: usize,
    lanes: [[u32; BLOCK]; KINDS],
    least: [u32; KINDS],
    most: [u32; KINDS],
    /// What every host has, and what any has.
    traits: [u32; 2],
    labels: [u32; 2],
    label_lane: [u32; BLOCK],
    /// Of the first host; none when they differ.
    architecture: Option<u16>,
    most_whole_gpus: u32,
    least_whole_gpus: u32,
    most_of_a_gpu: u32,
    least_of_a_gpu: u32,
}

impl Block {
    pub fn of(fleet: &Fleet, slots: &[Slot]) -> Self {
        let mut block = Self {
            count: slots.len(),
            lanes: [[0; BLOCK]; KINDS],
            least: [u32::MAX; KINDS],
            most: [0; KINDS],
            traits: [u32::MAX, 0],
            labels: [u32::MAX, 0],
            label_lane: [0; BLOCK],
            architecture: slots.first().map(|slot| fleet.architecture[slot.host as usize]),
            most_whole_gpus: 0,
            least_whole_gpus: u32::MAX,
            most_of_a_gpu: 0,
            least_of_a_gpu: u32::MAX,
        };
        for (place, slot) in slots.iter().enumerate() {
            let host = slot.host as usize;
            for kind in 0..KINDS {
                let lane = fleet.lanes[kind][host];
                block.lanes[kind][place] = lane;
                block.least[kind] = block.least[kind].min(lane);
                block.most[kind] = block.most[kind].max(lane);
            }
            block.traits = [block.traits[0] & slot.traits, block.traits[1] | slot.traits];
            block.label_lane[place] = slot.labels;
            block.labels = [block.labels[0] & slot.labels, block.labels[1] | slot.labels];
            block.architecture = block.architecture.filter(|other| *other == fleet.architecture[host]);
            let (whole, most) = (fleet.gpus.whole[host], fleet.gpus.most[host]);
            block.most_whole_gpus = block.most_whole_gpus.max(whole);
            block.least_whole_gpus = block.least_whole_gpus.min(whole);
            block.most_of_a_gpu = block.most_of_a_gpu.max(most);
            block.least_of_a_gpu = block.least_of_a_gpu.min(most);
        }
        block
    }

    /// How many of its hosts let [`Filter::State`] to [`Filter::Labels`] pass, how many have the GPUs besides, and how many
    /// of these room. None: hosts differ in what they are, or in the GPUs asked for.
    fn pass(&self, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> Option<[usize; 3]> {
        let open = bit::UP | bit::OPEN;
        if self.traits[1] & open != open || prepared.able(self.traits[1]) == 0 {
            return Some([0; 3]);
        }
        if self.traits[0] & open != open || prepared.able(self.traits[0]) == 0 {
            return None;
        }
        if let Some(wanted) = prepared.architecture
            && self.architecture? != wanted
        {
            return Some([0; 3]);
        }
        let [wanted, avoided] = prepared.labels;
        if self.labels[1] & wanted != wanted || self.labels[0] & avoided != 0 {
            return Some([0; 3]);
        }
        let all_right = self.labels[0] & wanted == wanted && self.labels[1] & avoided == 0;
        let right =
            |host: usize| (self.label_lane[host] & wanted == wanted) & (self.label_lane[host] & avoided == 0);
        let with_labels =
            if all_right { self.count } else { (0..self.count).filter(|host| right(*host)).count() };
        if self.most_whole_gpus < prepared.gpus_whole || self.most_of_a_gpu < prepared.gpu_share {
            return Some([with_labels, 0, 0]);
        }
        if self.least_whole_gpus < prepared.gpus_whole || self.least_of_a_gpu < prepared.gpu_share {
            return None;
        }
        let [cpus, memory, disk] = &self.lanes;
        let fits =
            |host: usize| (cpus[host] >= asked[0]) & (memory[host] >= asked[1]) & (disk[host] >= asked[2]);
        let with_room = if (0..KINDS).any(|kind| self.most[kind] < asked[kind]) {
            0
        } else if (0..KINDS).all(|kind| self.least[kind] >= asked[kind]) {
            with_labels
        } else if all_right {
            // places without a host have nothing free, and somebody asks for more: otherwise all would have room
            (0..BLOCK).map(|host| u32::from(fits(host))).sum::<u32>() as usize
        } else {
            (0..BLOCK).map(|host| u32::from(fits(host) & right(host))).sum::<u32>() as usize
        };
        Some([with_labels, with_labels, with_room])
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

/// The same as [`Block::pass`], of each host for itself.
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

/// The sums of [`Block::pass`] over all blocks.
pub(super) fn pass(
    fleet: &Fleet,
    prepared: &Prepared<'_>,
    asked: [u32; KINDS],
    (blocks, slots): (&[Block], &[Slot]),
) -> [usize; 3] {
    let mut sum = [0; 3];
    for (block, slots) in blocks.iter().zip(slots.chunks(BLOCK)) {
        let passed = block.pass(prepared, asked).unwrap_or_else(|| pass_one_by_one(fleet, prepared, slots));
        sum = [0, 1, 2].map(|place: usize| sum[place] + passed[place]);
    }
    sum
}
