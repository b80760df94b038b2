//! What the hosts of a part of a class have at most and at least: one cache line, because a search reads hundreds.
//!
//! A bound may be too good, never too bad: then a part whose bound is worse than a host that was found already holds
//! no better one, and need not be looked at. What a request takes of the hosts of the class is worked out once
//! (`demand`); a bound is then a few sums.

use super::fleet::{Fleet, KINDS, Slot, bit, coarse};
use super::score::{by_shares, gpu_share, in_use};

/// Slopes at which hosts are compared as points (gap, sum): see [`Bounds::outline`]. What lies between two of them is a
/// power of two, so that nothing is divided.
pub(super) const SLOPES: [i64; 5] = [-80, -16, 0, 16, 80];
/// Places of an outline: the ends of the gaps, and the slopes between them.
pub(super) const CORNERS: usize = SLOPES.len() + 2;

/// Extremes over some hosts. Hosts that take nothing now, being silent or closed, are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Bounds {
    /// Lowest host number.
    pub first: u32,
    /// In whole units: see [`coarse`].
    pub most_free: [u32; KINDS],
    /// Of three times the share that is free now of each kind and of all together once, in millionths.
    pub most_spread: [i32; KINDS],
    /// Of the scores for spreading that hosts have before anything is placed there.
    pub best_spread: i32,
    /// Of each host *gap* is the share of CPUs that is free less that of memory, *sum* all free shares together, and
    /// this is the most of: -gap; each slope times gap less sum; gap. No host lies outside of the lines that these
    /// draw, so that any other slope has its bound where two of them cross.
    pub outline: [i32; CORNERS],
    pub any_in_use: bool,
}

/// The same about GPUs, for classes with some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GpuBounds {
    pub most_whole: u32,
    pub most_of_one: u32,
    pub most_left: u32,
    /// Of the shares that are free now, those of GPUs included, all together.
    pub least_sum: i32,
    /// The share of CPUs that is free less that of GPUs, and the share of memory less it, of hosts with some.
    pub gaps: [Range; 2],
}

impl Bounds {
    /// Of no host.
    pub const NOBODY: Self = Self {
        first: u32::MAX,
        most_free: [0; KINDS],
        most_spread: [i32::MIN; KINDS],
        best_spread: i32::MIN,
        outline: [i32::MIN; CORNERS],
        any_in_use: false,
    };

    /// Takes one more host in.
    pub fn add(&mut self, slot: &Slot) {
        if !is_open(slot) {
            return;
        }
        self.first = self.first.min(slot.host);
        let shares = shares(slot);
        let sum = shares[0] + shares[1] + shares[2];
        for (kind, share) in shares.into_iter().enumerate() {
            let free = u32::try_from(coarse(kind, slot.free[kind])).unwrap_or(u32::MAX);
            self.most_free[kind] = self.most_free[kind].max(free);
            self.most_spread[kind] = self.most_spread[kind].max(small(3 * share + sum));
        }
        self.best_spread = self.best_spread.max(small(by_shares(shares)));
        let gap = shares[0] - shares[1];
        let lines = SLOPES.map(|slope| slope * gap - sum);
        let corners = [-gap].into_iter().chain(lines).chain([gap]);
        for (most, corner) in self.outline.iter_mut().zip(corners) {
            *most = (*most).max(small(corner));
        }
        self.any_in_use |= in_use([shares[0], shares[1]]);
    }

    /// Of all hosts of both.
    pub fn joined(one: &Self, other: &Self) -> Self {
        let mut both = *one;
        both.first = both.first.min(other.first);
        for kind in 0..KINDS {
            both.most_free[kind] = both.most_free[kind].max(other.most_free[kind]);
            both.most_spread[kind] = both.most_spread[kind].max(other.most_spread[kind]);
        }
        both.best_spread = both.best_spread.max(other.best_spread);
        for (most, other) in both.outline.iter_mut().zip(other.outline) {
            *most = (*most).max(other);
        }
        both.any_in_use |= other.any_in_use;
        both
    }

    /// The shares of CPUs less those of memory that hosts have free.
    pub fn gap(&self) -> Range {
        Range { least: -i64::from(self.outline[0]), most: i64::from(self.outline[CORNERS - 1]) }
    }
}

impl GpuBounds {
    /// Of no host.
    pub const NOBODY: Self =
        Self { most_whole: 0, most_of_one: 0, most_left: 0, least_sum: i32::MAX, gaps: [Range::EMPTY; 2] };

    /// Takes one more host in.
    pub fn add(&mut self, fleet: &Fleet, slot: &Slot) {
        if !is_open(slot) {
            return;
        }
        let (host, gpus, shares) = (slot.host as usize, &fleet.gpus, shares(slot));
        let mut sum = shares[0] + shares[1] + shares[2];
        if slot.gpus > 0 {
            self.most_whole = self.most_whole.max(gpus.whole[host]);
            self.most_of_one = self.most_of_one.max(gpus.most[host]);
            self.most_left = self.most_left.max(gpus.left[host]);
            let free = gpu_share(gpus.left[host], gpus.reciprocal[host]);
            sum += free;
            self.gaps[0].add(shares[0] - free);
            self.gaps[1].add(shares[1] - free);
        }
        self.least_sum = self.least_sum.min(small(sum));
    }

    /// Of all hosts of both.
    pub fn joined(one: &Self, other: &Self) -> Self {
        let mut both = *one;
        both.most_whole = both.most_whole.max(other.most_whole);
        both.most_of_one = both.most_of_one.max(other.most_of_one);
        both.most_left = both.most_left.max(other.most_left);
        both.least_sum = both.least_sum.min(other.least_sum);
        both.gaps[0].join(other.gaps[0]);
        both.gaps[1].join(other.gaps[1]);
        both
    }
}

/// It answers and takes new instances.
fn is_open(slot: &Slot) -> bool {
    let open = bit::UP | bit::OPEN;
    slot.traits & open == open
}

fn shares(slot: &Slot) -> [i64; KINDS] {
    [0, 1, 2].map(|kind: usize| share(kind, slot.free[kind], slot.reciprocal[kind]))
}

/// Shares are millionths, and slopes less than a hundred: all of it fits by far.
fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// From the least to the most, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub least: i64,
    pub most: i64,
}

impl Range {
    pub const EMPTY: Self = Self { least: i64::MAX / 2, most: i64::MIN / 2 };

    fn add(&mut self, value: i64) {
        self.join(Self { least: value, most: value });
    }

    pub fn join(&mut self, other: Self) {
        (self.least, self.most) = (self.least.min(other.least), self.most.max(other.most));
    }

    pub fn less(self, other: Self) -> Self {
        Self { least: self.least - other.most, most: self.most - other.least }
    }

    /// The least by which the square of a gap of this range grows when some of `taken` is taken from it: (gap - taken)^2
    /// less gap^2. Of each gap that is least where as much is taken as it is wide, and over gaps it is a straight line.
    pub fn least_growth(self, taken: Self) -> i64 {
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
