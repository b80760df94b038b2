//! Hosts that are one kind of machine, as a tree: each node has the [`Bounds`] of its hosts, and hosts of which similar
//! shares are free are neighbours, so that bounds are close.

use super::best::Best;
use super::bounds::{Bounds, GpuBounds};
use super::demand::{Demand, Machine};
use super::fleet::{Fleet, KINDS, Slot};
use super::request::Prepared;
use super::tally::Blocks;
use std::cmp::Reverse;
use std::ops::Range;

/// Hosts in a leaf at most.
const LEAF: usize = 4;

/// The tree, as a heap: node 1 is the root, the children of `n` are `2n` and `2n + 1`.
#[derive(Debug, Clone)]
pub(super) struct Class {
    machine: Machine,
    /// Hosts, leaf by leaf.
    slots: Vec<Slot>,
    nodes: Vec<Bounds>,
    /// As many, or none where no host has a GPU.
    gpu_nodes: Vec<GpuBounds>,
    /// The same hosts, block by block.
    blocks: Blocks,
    /// A power of two.
    leaves: usize,
}

/// What hosts are compared by when neighbours are looked for, by host.
pub(super) struct Likeness {
    /// CPUs, memory, disk and GPUs that are free, and twice the share of CPUs less that of memory.
    columns: [Vec<i64>; 5],
}

impl Likeness {
    pub fn of(fleet: &Fleet) -> Self {
        let free = |kind: usize| -> Vec<i64> {
            let share = |host: usize| {
                super::bounds::share(kind, fleet.free[kind][host], fleet.reciprocal[kind][host])
            };
            (0..fleet.len()).map(share).collect()
        };
        let (cpus, memory, disk) = (free(0), free(1), free(2));
        let gpus = fleet.gpus.left.iter().map(|left| i64::from(*left) * 100).collect();
        let gap = cpus.iter().zip(&memory).map(|(cpus, memory)| 2 * (cpus - memory)).collect();
        Self { columns: [cpus, memory, disk, gpus, gap] }
    }

    /// By what these hosts differ most.
    fn widest(&self, hosts: &[u32]) -> &[i64] {
        let width = |column: &Vec<i64>| {
            let values = || hosts.iter().map(|host| column[*host as usize]);
            values().max().unwrap_or(0) - values().min().unwrap_or(0)
        };
        self.columns.iter().max_by_key(|column| width(column)).map_or(&[], Vec::as_slice)
    }
}

impl Class {
    /// The tree over these hosts.
    pub fn new(fleet: &Fleet, likeness: &Likeness, mut hosts: Vec<u32>) -> Self {
        let leaves = hosts.len().div_ceil(LEAF).max(1).next_power_of_two();
        let count = hosts.len();
        sort(likeness, &mut hosts, &|leaf| leaf * count / leaves, 0..leaves);
        let slots: Vec<Slot> = hosts.iter().map(|host| Slot::of(fleet, *host as usize)).collect();
        let mut machine = Machine::NONE;
        slots.iter().for_each(|slot| machine.add(fleet, slot));
        let gpu_nodes = if machine.any_gpu { 2 * leaves } else { 0 };
        let mut class = Self {
            blocks: Blocks::of(fleet, &slots),
            machine,
            slots,
            nodes: vec![Bounds::NOBODY; 2 * leaves],
            gpu_nodes: vec![GpuBounds::NOBODY; gpu_nodes],
            leaves,
        };
        // the children of a node before it
        for node in (1..2 * leaves).rev() {
            class.sum_up(fleet, node);
        }
        class
    }

    /// Its hosts, in the order of their places.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The host at this place is no longer what it was, but for its architecture, limits, labels and number of GPUs.
    pub fn changed(&mut self, fleet: &Fleet, place: usize) {
        let before = self.slots[place];
        let now = Slot::of(fleet, before.host as usize);
        self.slots[place] = now;
        self.machine.add(fleet, &now);
        self.blocks.changed(fleet, &self.slots, place, &before);
        let mut node = self.leaves + self.leaf_of(place);
        // bounds that stay as they are change none above them
        while self.sum_up(fleet, node) && node > 1 {
            node /= 2;
        }
    }

    /// Makes the bounds of a node anew. Answers whether they are others than before.
    fn sum_up(&mut self, fleet: &Fleet, node: usize) -> bool {
        let (mut bounds, mut gpus) = (Bounds::NOBODY, GpuBounds::NOBODY);
        let with_gpus = !self.gpu_nodes.is_empty();
        if node >= self.leaves {
            for slot in &self.slots[self.range(node - self.leaves)] {
                bounds.add(slot);
                if with_gpus {
                    gpus.add(fleet, slot);
                }
            }
        } else {
            bounds = Bounds::joined(&self.nodes[2 * node], &self.nodes[2 * node + 1]);
            if with_gpus {
                gpus = GpuBounds::joined(&self.gpu_nodes[2 * node], &self.gpu_nodes[2 * node + 1]);
            }
        }
        let mut is_new = std::mem::replace(&mut self.nodes[node], bounds) != bounds;
        if with_gpus {
            is_new |= std::mem::replace(&mut self.gpu_nodes[node], gpus) != gpus;
        }
        is_new
    }

    /// What its hosts are.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// No host scores higher than this, and the lowest number of a host; none: none would do.
    pub fn bound(&self, demand: &Demand, node: usize) -> Option<(i64, u32)> {
        let bounds = &self.nodes[node];
        Some((demand.best_score(bounds, self.gpu_nodes.get(node))?, bounds.first))
    }

    /// Offers all hosts of a node that could be among the best; the root is 1.
    pub fn search(
        &self,
        fleet: &Fleet,
        prepared: &Prepared<'_>,
        demand: &Demand,
        best: &mut Best,
        mut node: usize,
    ) {
        while node < self.leaves {
            let [left, right] = [2 * node, 2 * node + 1].map(|child| (self.bound(demand, child), child));
            let rank = |bound: Option<(i64, u32)>| bound.map(|(score, first)| (score, Reverse(first)));
            let (one, other) = if rank(right.0) > rank(left.0) { (right, left) } else { (left, right) };
            let promises = |best: &Best, bound: Option<(i64, u32)>| {
                bound.is_some_and(|(score, first)| best.could_take(score, first))
            };
            if !promises(best, one.0) {
                return;
            }
            self.search(fleet, prepared, demand, best, one.1);
            if !promises(best, other.0) {
                return;
            }
            node = other.1;
        }
        for slot in &self.slots[self.range(node - self.leaves)] {
            best.offer(fleet, prepared, slot);
        }
    }

    /// How many hosts let the filters up to that of labels pass, how many have the GPUs besides, and how many of these
    /// room. `asked` are the amounts in whole units.
    pub fn pass(&self, fleet: &Fleet, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> [usize; 3] {
        if !self.machine.could_do(prepared) {
            return [0; 3];
        }
        if !self.machine.all_do(prepared) {
            return self.blocks.pass(fleet, prepared, asked, &self.slots);
        }
        let count = self.slots.len();
        if prepared.wants_gpus() && !self.machine.any_gpu {
            return [count, 0, 0];
        }
        let [with_gpus, with_room] = self.blocks.pass_all(prepared, asked);
        [count, with_gpus, with_room]
    }

    /// Every node, and the hosts below it.
    #[cfg(test)]
    pub fn parts(&self) -> impl Iterator<Item = (usize, &[Slot])> {
        (1..2 * self.leaves).map(|node| {
            let below = self.leaves >> node.ilog2();
            let first = node * below - self.leaves;
            (node, &self.slots[self.range(first).start..self.range(first + below - 1).end])
        })
    }

    /// The places of a leaf.
    fn range(&self, leaf: usize) -> Range<usize> {
        let count = self.slots.len();
        leaf * count / self.leaves..(leaf + 1) * count / self.leaves
    }

    /// The other way round: the greatest leaf that does not begin after the place.
    fn leaf_of(&self, place: usize) -> usize {
        ((place + 1) * self.leaves - 1) / self.slots.len()
    }
}

/// Sorts the hosts of some leaves so that neighbours are alike. `begin` tells where a leaf begins.
fn sort(likeness: &Likeness, hosts: &mut [u32], begin: &impl Fn(usize) -> usize, leaves: Range<usize>) {
    if leaves.len() <= 1 || hosts.is_empty() {
        return;
    }
    let middle = leaves.start + leaves.len() / 2;
    let half = begin(middle) - begin(leaves.start);
    let by = likeness.widest(hosts);
    if half < hosts.len() {
        hosts.select_nth_unstable_by_key(half, |host| (by[*host as usize], *host));
    }
    let (low, high) = hosts.split_at_mut(half);
    sort(likeness, low, begin, leaves.start..middle);
    sort(likeness, high, begin, middle..leaves.end);
}
