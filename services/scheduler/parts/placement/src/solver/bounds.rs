//! What the hosts of a part of the fleet have at most and at least, and the best score that any of them could get.
//!
//! A bound may be too good, never too bad: then a part whose bound is worse than a host that was found already holds
//! no better one, and need not be looked at.

use super::fleet::{Fleet, KINDS, Slot, bit, coarse};
use super::request::Prepared;
use super::score::{GPU_HOSTS_LAST, OPENED, WHOLE, by_shares, gpu_share, in_use, weighed};
use crate::instance::Policy;

/// Extremes over some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Lowest host number.
    pub first: u32,
    most_free: [u64; KINDS],
    /// Of three times the share that is free now of each kind and of all together once, in millionths.
    most_spread: [i64; KINDS],
    /// Of the scores for spreading that hosts have before anything is placed there.
    best_spread: i64,
    /// Of the shares that are free now, all together.
    least_sum: i64,
    /// Of the share of CPUs that is free less that of memory.
    gap: Range,
    /// The same less that of GPUs, of hosts with some: CPUs, memory.
    gpu_gaps: [Range; 2],
    most_reciprocal: [u64; KINDS],
    least_reciprocal: [u64; KINDS],
    /// All bits that any host has.
    traits: u32,
    /// The labels that any host has, and those that all have.
    labels: [u32; 2],
    /// One bit an architecture; the last one stands for all further ones.
    architectures: u64,
    most_whole_gpus: u32,
    most_of_a_gpu: u32,
    most_gpu_left: u32,
    least_gpu_left: u32,
    most_gpu_reciprocal: u64,
    least_gpu_reciprocal: u64,
    any_without_gpu: bool,
    any_in_use: bool,
}

impl Bounds {
    /// Of no host.
    pub const NOBODY: Self = Self {
        first: u32::MAX,
        most_free: [0; KINDS],
        most_spread: [i64::MIN / 2; KINDS],
        best_spread: i64::MIN / 2,
        least_sum: i64::MAX / 2,
        gap: Range::EMPTY,
        gpu_gaps: [Range::EMPTY; 2],
        most_reciprocal: [0; KINDS],
        least_reciprocal: [u64::MAX; KINDS],
        traits: 0,
        labels: [0, u32::MAX],
        architectures: 0,
        most_whole_gpus: 0,
        most_of_a_gpu: 0,
        most_gpu_left: 0,
        least_gpu_left: u32::MAX,
        most_gpu_reciprocal: 0,
        least_gpu_reciprocal: u64::MAX,
        any_without_gpu: false,
        any_in_use: false,
    };

    /// Takes one more host in.
    pub fn add(&mut self, fleet: &Fleet, slot: &Slot) {
        let host = slot.host as usize;
        self.first = self.first.min(slot.host);
        let mut shares = [0; KINDS];
        for (kind, here) in shares.iter_mut().enumerate() {
            let (free, reciprocal) = (slot.free[kind], slot.reciprocal[kind]);
            let share = share(kind, free, reciprocal);
            *here = share;
            self.most_free[kind] = self.most_free[kind].max(free);
            self.most_reciprocal[kind] = self.most_reciprocal[kind].max(reciprocal);
            self.least_reciprocal[kind] = self.least_reciprocal[kind].min(reciprocal);
        }
        self.best_spread = self.best_spread.max(by_shares(shares));
        let mut sum = shares[0] + shares[1] + shares[2];
        for (kind, share) in shares.into_iter().enumerate() {
            self.most_spread[kind] = self.most_spread[kind].max(3 * share + sum);
        }
        self.gap.add(shares[0] - shares[1]);
        self.any_in_use |= in_use([shares[0], shares[1]]);
        self.traits |= slot.traits;
        self.labels = [self.labels[0] | slot.labels, self.labels[1] & slot.labels];
        self.architectures |= architecture_bit(fleet.architecture[host]);
        self.any_without_gpu |= slot.gpus == 0;
        let gpus = &fleet.gpus;
        if slot.gpus > 0 {
            self.most_whole_gpus = self.most_whole_gpus.max(gpus.whole[host]);
            self.most_of_a_gpu = self.most_of_a_gpu.max(gpus.most[host]);
            self.most_gpu_left = self.most_gpu_left.max(gpus.left[host]);
            self.least_gpu_left = self.least_gpu_left.min(gpus.left[host]);
            self.most_gpu_reciprocal = self.most_gpu_reciprocal.max(gpus.reciprocal[host]);
            self.least_gpu_reciprocal = self.least_gpu_reciprocal.min(gpus.reciprocal[host]);
            let free = gpu_share(gpus.left[host], gpus.reciprocal[host]);
            sum += free;
            self.gpu_gaps[0].add(shares[0] - free);
            self.gpu_gaps[1].add(shares[1] - free);
        }
        self.least_sum = self.least_sum.min(sum);
    }

    /// Of all hosts of both.
    pub fn joined(one: &Self, other: &Self) -> Self {
        let mut both = one.clone();
        both.first = both.first.min(other.first);
        for kind in 0..KINDS {
            both.most_free[kind] = both.most_free[kind].max(other.most_free[kind]);
            both.most_spread[kind] = both.most_spread[kind].max(other.most_spread[kind]);
            both.most_reciprocal[kind] = both.most_reciprocal[kind].max(other.most_reciprocal[kind]);
            both.least_reciprocal[kind] = both.least_reciprocal[kind].min(other.least_reciprocal[kind]);
        }
        both.best_spread = both.best_spread.max(other.best_spread);
        both.least_sum = both.least_sum.min(other.least_sum);
        both.gap.join(other.gap);
        both.gpu_gaps[0].join(other.gpu_gaps[0]);
        both.gpu_gaps[1].join(other.gpu_gaps[1]);
        both.traits |= other.traits;
        both.labels = [both.labels[0] | other.labels[0], both.labels[1] & other.labels[1]];
        both.architectures |= other.architectures;
        both.most_whole_gpus = both.most_whole_gpus.max(other.most_whole_gpus);
        both.most_of_a_gpu = both.most_of_a_gpu.max(other.most_of_a_gpu);
        both.most_gpu_left = both.most_gpu_left.max(other.most_gpu_left);
        both.least_gpu_left = both.least_gpu_left.min(other.least_gpu_left);
        both.most_gpu_reciprocal = both.most_gpu_reciprocal.max(other.most_gpu_reciprocal);
        both.least_gpu_reciprocal = both.least_gpu_reciprocal.min(other.least_gpu_reciprocal);
        both.any_without_gpu |= other.any_without_gpu;
        both.any_in_use |= other.any_in_use;
        both
    }

    /// No host here scores higher than this; none: no host here would do.
    pub fn best_score(&self, prepared: &Prepared<'_>) -> Option<i64> {
        let open = bit::UP | bit::OPEN;
        let fits = (self.most_free[0] >= prepared.amounts[0])
            & (self.most_free[1] >= prepared.amounts[1])
            & (self.most_free[2] >= prepared.amounts[2])
            & (self.most_whole_gpus >= prepared.gpus_whole)
            & (self.most_of_a_gpu >= prepared.gpu_share)
            & (self.traits & open == open)
            & (prepared.able(self.traits) != 0)
            & (self.labels[0] & prepared.labels[0] == prepared.labels[0])
            & (self.labels[1] & prepared.labels[1] == 0);
        let right =
            prepared.architecture.is_none_or(|number| self.architectures & architecture_bit(number) != 0);
        if !fits || !right {
            return None;
        }
        let last = if prepared.request.gpus.count == 0 && !self.any_without_gpu { GPU_HOSTS_LAST } else { 0 };
        let room = match prepared.request.policy {
            Policy::Spread => self.most_spread(prepared),
            Policy::Pack => self.most_packed(prepared),
        };
        Some(room - last)
    }

    /// What is left of a kind is at most what is free less what the request takes of the largest host: with whole
    /// parts (floor) of x and y, floor(x - y) <= floor(x) - floor(y). So it is whichever kind turns out to be the
    /// scarcest, and so it is of the best score, because no more than the least share taken is lost from the least left.
    fn most_spread(&self, prepared: &Prepared<'_>) -> i64 {
        let taken =
            [0, 1, 2].map(|kind: usize| share(kind, prepared.amounts[kind], self.least_reciprocal[kind]));
        let sum = taken[0] + taken[1] + taken[2];
        let by_kind = |kind: usize| self.most_spread[kind] - 3 * taken[kind] - sum;
        let room = by_kind(0).min(by_kind(1)).min(by_kind(2)).min(self.best_spread - by_shares(taken));
        if prepared.request.gpus.count == 0 {
            return room;
        }
        let most = self.most_gpu_left.saturating_sub(prepared.request.gpus.total());
        room + 4 * gpu_share(most, self.most_gpu_reciprocal)
    }

    /// What is left of a kind is at least what is free less what the request takes of the smallest host, rounded up:
    /// floor(x - y) >= floor(x) - floor(y) - 1, twice (the unit, and the share). So the shares taken lie in ranges, and
    /// with them what becomes of the gaps between the shares that are free now. That GPUs are lost to others is left
    /// out: it only takes away.
    fn most_packed(&self, prepared: &Prepared<'_>) -> i64 {
        let mut taken = [Range::EMPTY; KINDS];
        for (kind, taken) in taken.iter_mut().enumerate() {
            let asked = coarse(kind, prepared.amounts[kind]).saturating_add(1);
            let most = asked.saturating_mul(self.most_reciprocal[kind]) >> 32;
            taken.most = i64::try_from(most).unwrap_or(i64::MAX).min(WHOLE) + 1;
            taken.least = share(kind, prepared.amounts[kind], self.least_reciprocal[kind]).min(WHOLE);
        }
        let gpus = prepared.request.gpus.total();
        let mut gaps = self.gap.least_growth(taken[0].less(taken[1]));
        let mut gone = taken[0].most + taken[1].most + taken[2].most;
        if self.gpu_gaps[0].least <= self.gpu_gaps[0].most {
            let taken_gpus = Range {
                least: gpu_share(gpus, self.least_gpu_reciprocal),
                most: gpu_share(gpus, self.most_gpu_reciprocal) + 1,
            };
            let growth = |kind: usize| self.gpu_gaps[kind].least_growth(taken[kind].less(taken_gpus));
            let with_gpus = growth(0) + growth(1);
            // a host without GPUs has no such gaps
            gaps += if self.any_without_gpu { with_gpus.min(0) } else { with_gpus };
            gone += taken_gpus.most;
        }
        let opened = if self.any_in_use { 0 } else { OPENED };
        weighed(gaps) - opened - (self.least_sum - gone).max(0)
    }
}

/// From the least to the most, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    least: i64,
    most: i64,
}

impl Range {
    const EMPTY: Self = Self { least: i64::MAX / 2, most: i64::MIN / 2 };

    fn add(&mut self, value: i64) {
        self.join(Self { least: value, most: value });
    }

    fn join(&mut self, other: Self) {
        (self.least, self.most) = (self.least.min(other.least), self.most.max(other.most));
    }

    fn less(self, other: Self) -> Self {
        Self { least: self.least - other.most, most: self.most - other.least }
    }

    /// The least by which the square of a gap of this range grows when some of `taken` is taken from it: (gap - taken)^2
    /// less gap^2. Of each gap that is least where as much is taken as it is wide, and over gaps it is a straight line.
    fn least_growth(self, taken: Self) -> i64 {
        let of = |gap: i64| {
            let taken = gap.clamp(taken.least, taken.most);
            taken * (taken - 2 * gap)
        };
        of(self.least).min(of(self.most))
    }
}

/// An amount in millionths of a limit.
pub(super) fn share(kind: usize, amount: u64, reciprocal: u64) -> i64 {
    i64::try_from(coarse(kind, amount).saturating_mul(reciprocal) >> 32).unwrap_or(i64::MAX)
}

fn architecture_bit(number: u16) -> u64 {
    1 << number.min(63)
}
