//! Finds the best hosts without looking at all of them: a tree over the fleet, each node with the [`Bounds`] of its
//! hosts. Hosts that are alike (same kind of machine, similar shares free) are neighbours, so that bounds are close.
//!
//! The tree decides only what need not be looked at. It stays true when a host changes, because the bounds above the
//! host are made anew; it becomes less sharp as hosts drift apart, and is made anew after as many changes as there
//! are hosts.

use super::bounds::{Bounds, share};
use super::filters;
use super::fleet::{Fleet, KINDS, Slot};
use super::request::Prepared;
use super::score;
use super::tally::{self, BLOCK, Block};

/// Hosts in a leaf at most.
const LEAF: usize = 8;

/// The tree, as a heap: node 1 is the root, the children of `n` are `2n` and `2n + 1`.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// Hosts, leaf by leaf.
    slots: Vec<Slot>,
    /// Slot of each host.
    slot_of: Vec<u32>,
    nodes: Vec<Bounds>,
    /// The same hosts, block by block.
    blocks: Vec<Block>,
    /// A power of two.
    leaves: usize,
    changes: usize,
}

impl Index {
    pub fn new(fleet: &Fleet) -> Self {
        let count = fleet.len();
        let leaves = count.div_ceil(LEAF).max(1).next_power_of_two();
        let mut index = Self {
            slots: Vec::new(),
            slot_of: vec![0; count],
            nodes: vec![Bounds::NOBODY; 2 * leaves],
            blocks: Vec::new(),
            leaves,
            changes: 0,
        };
        let mut hosts: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
        index.sort(&Kinds::of(fleet), &mut hosts, 0, leaves);
        for (slot, host) in (0..).zip(&hosts) {
            index.slot_of[*host as usize] = slot;
        }
        index.slots = hosts.iter().map(|host| Slot::of(fleet, *host as usize)).collect();
        index.blocks = index.slots.chunks(BLOCK).map(|slots| Block::of(fleet, slots)).collect();
        for leaf in 0..leaves {
            index.nodes[leaves + leaf] = index.bounds_of(fleet, leaf);
        }
        for node in (1..leaves).rev() {
            index.nodes[node] = Bounds::joined(&index.nodes[2 * node], &index.nodes[2 * node + 1]);
        }
        index
    }

    /// A host is no longer what it was. Answers whether the tree has become too blunt.
    pub fn changed(&mut self, fleet: &Fleet, host: usize) -> bool {
        let slot = self.slot_of[host] as usize;
        self.slots[slot] = Slot::of(fleet, host);
        let block = slot / BLOCK;
        let end = (block * BLOCK + BLOCK).min(self.slots.len());
        self.blocks[block] = Block::of(fleet, &self.slots[block * BLOCK..end]);
        let leaf = self.leaf_of(slot);
        let mut node = self.leaves + leaf;
        self.nodes[node] = self.bounds_of(fleet, leaf);
        while node > 1 {
            node /= 2;
            let bounds = Bounds::joined(&self.nodes[2 * node], &self.nodes[2 * node + 1]);
            // bounds that stay as they are change none above them
            if self.nodes[node] == bounds {
                break;
            }
            self.nodes[node] = bounds;
        }
        self.changes += 1;
        self.changes > self.slots.len().max(1024)
    }

    /// The sums of what the blocks let pass: labels, GPUs, room.
    pub fn pass(&self, fleet: &Fleet, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> [usize; 3] {
        tally::pass(fleet, prepared, asked, (&self.blocks, &self.slots))
    }

    /// Offers all hosts that could be among the best.
    pub fn search(&self, fleet: &Fleet, prepared: &Prepared<'_>, best: &mut Best) {
        if let Some(bound) = self.nodes[1].best_score(prepared) {
            self.visit(fleet, prepared, best, 1, bound);
        }
    }

    fn visit(&self, fleet: &Fleet, prepared: &Prepared<'_>, best: &mut Best, node: usize, bound: i64) {
        if !best.could_take(bound, self.nodes[node].first) {
            return;
        }
        if node >= self.leaves {
            for slot in &self.slots[self.range(node - self.leaves)] {
                best.offer(fleet, prepared, slot);
            }
            return;
        }
        let left = (2 * node, self.nodes[2 * node].best_score(prepared));
        let right = (2 * node + 1, self.nodes[2 * node + 1].best_score(prepared));
        let later = (right.1, std::cmp::Reverse(self.nodes[right.0].first));
        let right_first = later > (left.1, std::cmp::Reverse(self.nodes[left.0].first));
        for (child, bound) in if right_first { [right, left] } else { [left, right] } {
            if let Some(bound) = bound {
                self.visit(fleet, prepared, best, child, bound);
            }
        }
    }

    /// The slots of a leaf.
    fn range(&self, leaf: usize) -> std::ops::Range<usize> {
        let count = self.slot_of.len();
        leaf * count / self.leaves..(leaf + 1) * count / self.leaves
    }

    /// The other way round: the greatest leaf that does not begin after the slot.
    fn leaf_of(&self, slot: usize) -> usize {
        ((slot + 1) * self.leaves - 1) / self.slot_of.len()
    }

    fn bounds_of(&self, fleet: &Fleet, leaf: usize) -> Bounds {
        let mut bounds = Bounds::NOBODY;
        self.slots[self.range(leaf)].iter().for_each(|slot| bounds.add(fleet, slot));
        bounds
    }

    /// Sorts the hosts of some leaves so that neighbours are alike.
    fn sort(&self, kinds: &Kinds, hosts: &mut [u32], first_leaf: usize, leaves: usize) {
        if leaves == 1 || hosts.is_empty() {
            return;
        }
        let half = self.range(first_leaf + leaves / 2).start - self.range(first_leaf).start;
        let by = kinds.widest(hosts);
        if half < hosts.len() {
            hosts.select_nth_unstable_by_key(half, |host| (by[*host as usize], *host));
        }
        let (low, high) = hosts.split_at_mut(half);
        self.sort(kinds, low, first_leaf, leaves / 2);
        self.sort(kinds, high, first_leaf + leaves / 2, leaves / 2);
    }
}

/// What hosts are compared by when neighbours are looked for, by host.
struct Kinds {
    machine: Vec<i64>,
    shares: [Vec<i64>; KINDS],
    gpus: Vec<i64>,
    /// Of the free share of CPUs less that of memory.
    gap: Vec<i64>,
}

impl Kinds {
    fn of(fleet: &Fleet) -> Self {
        let machine = |host: usize| {
            let reciprocal = [0, 1, 2].map(|kind: usize| fleet.reciprocal[kind][host]);
            (fleet.gpus.count[host], fleet.architecture[host], fleet.traits[host], reciprocal)
        };
        let all: std::collections::BTreeSet<_> = (0..fleet.len()).map(machine).collect();
        let number: std::collections::BTreeMap<_, i64> = all.into_iter().zip(0..).collect();
        let free = |kind: usize| {
            (0..fleet.len())
                .map(|host| share(kind, fleet.free[kind][host], fleet.reciprocal[kind][host]))
                .collect()
        };
        let shares: [Vec<i64>; KINDS] = [free(0), free(1), free(2)];
        Self {
            gap: shares[0].iter().zip(&shares[1]).map(|(cpus, memory)| 2 * (cpus - memory)).collect(),
            machine: (0..fleet.len()).map(|host| number[&machine(host)]).collect(),
            shares,
            gpus: fleet.gpus.left.iter().map(|left| i64::from(*left) * 100).collect(),
        }
    }

    /// By what these hosts differ most: by the kind of machine before all else.
    fn widest(&self, hosts: &[u32]) -> &[i64] {
        let width = |column: &[i64]| {
            let values = || hosts.iter().map(|host| column[*host as usize]);
            values().max().unwrap_or(0) - values().min().unwrap_or(0)
        };
        if width(&self.machine) > 0 {
            return &self.machine;
        }
        let columns = [&self.shares[0], &self.shares[1], &self.shares[2], &self.gpus, &self.gap];
        columns.into_iter().max_by_key(|column| width(column)).map_or(&self.machine, |column| column)
    }
}

/// The best hosts that were seen so far: higher scores first, of equal ones the lower host number.
#[derive(Debug)]
pub(super) struct Best {
    kept: Vec<(i64, u32)>,
    room: usize,
}

impl Best {
    /// Keeps up to `room` hosts.
    pub fn new(room: usize) -> Self {
        Self { kept: Vec::with_capacity(room), room }
    }

    /// Takes the host if it would do and is better than one that is kept.
    pub fn offer(&mut self, fleet: &Fleet, prepared: &Prepared<'_>, slot: &Slot) {
        if !filters::pass_cheap(prepared, slot) {
            return;
        }
        let (mut score, number) = (score::at_most(fleet, prepared, slot), slot.host);
        if !self.could_take(score, number)
            || !(prepared.plain || filters::pass_costly(fleet, prepared, number as usize))
        {
            return;
        }
        // a host that is not better than the last that is kept need not be known exactly
        let bearable =
            if self.kept.len() < self.room { i64::MAX } else { score - self.kept[self.room - 1].0 };
        score -= score::lost_gpus(fleet, prepared, slot, bearable);
        if !self.could_take(score, number) {
            return;
        }
        if self.kept.len() == self.room {
            self.kept.pop();
        }
        let place = self.kept.partition_point(|(kept, other)| (*kept, number) > (score, *other));
        self.kept.insert(place, (score, number));
    }

    fn could_take(&self, score: i64, first: u32) -> bool {
        self.kept.len() < self.room
            || self.kept.last().is_none_or(|(lowest, host)| (score, *host) > (*lowest, first))
    }

    pub fn into_kept(self) -> Vec<(i64, u32)> {
        self.kept
    }
}
