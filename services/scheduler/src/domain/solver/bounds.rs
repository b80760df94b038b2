//! What the hosts of a part of the fleet have at most and at least, and the best score that any of them could get.
//!
//! A bound may be too good, never too bad: then a part whose bound is worse than a host that was found already holds
//! no better one, and need not be looked at.

use super::fleet::{Fleet, KINDS, Slot, bit, coarse};
use super::request::Prepared;
use super::score::{GPU_HOSTS_LAST, WHOLE, by_shares};
use crate::domain::instance::Policy;

/// Extremes over some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Lowest host number.
    pub first: u32,
    most_free: [u64; KINDS],
    /// Of the share that is free now, in millionths of the limit.
    most_share: [i64; KINDS],
    least_share: [i64; KINDS],
    /// Of the scores that hosts have before anything is placed there: spread, pack.
    best_spread: i64,
    best_packed: i64,
    most_reciprocal: [u64; KINDS],
    least_reciprocal: [u64; KINDS],
    /// All bits that any host has.
    traits: u32,
    /// One bit an architecture; the last one stands for all further ones.
    architectures: u64,
    most_whole_gpus: u32,
    most_of_a_gpu: u32,
    most_gpu_left: u32,
    least_gpu_left: u32,
    most_gpu_reciprocal: u64,
    least_gpu_reciprocal: u64,
    any_without_gpu: bool,
}

impl Bounds {
    /// Of no host.
    pub const NOBODY: Self = Self {
        first: u32::MAX,
        most_free: [0; KINDS],
        most_share: [0; KINDS],
        least_share: [WHOLE; KINDS],
        best_spread: i64::MIN / 2,
        best_packed: i64::MIN / 2,
        most_reciprocal: [0; KINDS],
        least_reciprocal: [u64::MAX; KINDS],
        traits: 0,
        architectures: 0,
        most_whole_gpus: 0,
        most_of_a_gpu: 0,
        most_gpu_left: 0,
        least_gpu_left: u32::MAX,
        most_gpu_reciprocal: 0,
        least_gpu_reciprocal: u64::MAX,
        any_without_gpu: false,
    };

    /// Takes one more host in.
    pub fn add(&mut self, fleet: &Fleet, slot: &Slot) {
        let host = slot.host as usize;
        self.first = self.first.min(slot.host);
        let mut shares = [0; KINDS];
        for kind in 0..KINDS {
            let (free, reciprocal) = (slot.free[kind], slot.reciprocal[kind]);
            let share = share(kind, free, reciprocal);
            shares[kind] = share;
            self.most_free[kind] = self.most_free[kind].max(free);
            self.most_share[kind] = self.most_share[kind].max(share);
            self.least_share[kind] = self.least_share[kind].min(share);
            self.most_reciprocal[kind] = self.most_reciprocal[kind].max(reciprocal);
            self.least_reciprocal[kind] = self.least_reciprocal[kind].min(reciprocal);
        }
        self.best_spread = self.best_spread.max(by_shares(Policy::Spread, shares));
        self.best_packed = self.best_packed.max(by_shares(Policy::Pack, shares));
        self.traits |= slot.traits;
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
        }
    }

    /// Of all hosts of both.
    pub fn joined(one: &Self, other: &Self) -> Self {
        let mut both = one.clone();
        both.first = both.first.min(other.first);
        for kind in 0..KINDS {
            both.most_free[kind] = both.most_free[kind].max(other.most_free[kind]);
            both.most_share[kind] = both.most_share[kind].max(other.most_share[kind]);
            both.least_share[kind] = both.least_share[kind].min(other.least_share[kind]);
            both.most_reciprocal[kind] = both.most_reciprocal[kind].max(other.most_reciprocal[kind]);
            both.least_reciprocal[kind] = both.least_reciprocal[kind].min(other.least_reciprocal[kind]);
        }
        both.best_spread = both.best_spread.max(other.best_spread);
        both.best_packed = both.best_packed.max(other.best_packed);
        both.traits |= other.traits;
        both.architectures |= other.architectures;
        both.most_whole_gpus = both.most_whole_gpus.max(other.most_whole_gpus);
        both.most_of_a_gpu = both.most_of_a_gpu.max(other.most_of_a_gpu);
        both.most_gpu_left = both.most_gpu_left.max(other.most_gpu_left);
        both.least_gpu_left = both.least_gpu_left.min(other.least_gpu_left);
        both.most_gpu_reciprocal = both.most_gpu_reciprocal.max(other.most_gpu_reciprocal);
        both.least_gpu_reciprocal = both.least_gpu_reciprocal.min(other.least_gpu_reciprocal);
        both.any_without_gpu |= other.any_without_gpu;
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
            & (prepared.able(self.traits) != 0);
        let right =
            prepared.architecture.is_none_or(|number| self.architectures & architecture_bit(number) != 0);
        if !fits || !right {
            return None;
        }
        let room = match prepared.request.policy {
            Policy::Spread => self.most_spread(prepared),
            Policy::Pack => self.most_packed(prepared),
        };
        Some(room + self.gpu_score(prepared))
    }

    /// What is left of a kind is at most what is free less what the request takes of the largest host: with whole
    /// parts (floor) of x and y, floor(x - y) <= floor(x) - floor(y). So it is of each kind of the best, and so it is
    /// of the best sum, because no more than the least share taken is lost from the least share left.
    fn most_spread(&self, prepared: &Prepared<'_>) -> i64 {
        let (mut left, mut taken) = ([0; KINDS], [0; KINDS]);
        for kind in 0..KINDS {
            taken[kind] = share(kind, prepared.amounts[kind], self.least_reciprocal[kind]);
            left[kind] = self.most_share[kind] - taken[kind];
        }
        by_shares(Policy::Spread, left).min(self.best_spread - by_shares(Policy::Spread, taken))
    }

    /// What is left of a kind is at least what is free less what the request takes of the smallest host, rounded up:
    /// floor(x - y) >= floor(x) - floor(y) - 1, twice (the unit, and the share). How far the shares left are apart is
    /// at least how far they were, less how far the shares taken are.
    fn most_packed(&self, prepared: &Prepared<'_>) -> i64 {
        let (mut least, mut most, mut gone) = ([0; KINDS], [0; KINDS], [0; KINDS]);
        for kind in 0..KINDS {
            let asked = coarse(kind, prepared.amounts[kind]).saturating_add(1);
            let taken = asked.saturating_mul(self.most_reciprocal[kind]) >> 32;
            gone[kind] = i64::try_from(taken).unwrap_or(i64::MAX / 16).saturating_add(1);
            least[kind] = (self.least_share[kind] - gone[kind]).max(0);
            most[kind] =
                self.most_share[kind] - share(kind, prepared.amounts[kind], self.least_reciprocal[kind]);
        }
        let apart = least[0].max(least[1]).max(least[2]) - most[0].min(most[1]).min(most[2]);
        let by_kind = 4 * WHOLE - least[0] - least[1] - least[2] - apart.max(0);
        // the shares taken lie between nothing and `gone`
        let taken = gone[0] + gone[1] + gone[2] + gone[0].max(gone[1]).max(gone[2]);
        by_kind.min(self.best_packed.saturating_add(taken))
    }

    fn gpu_score(&self, prepared: &Prepared<'_>) -> i64 {
        if prepared.gpus_whole + prepared.gpu_share == 0 {
            return if self.any_without_gpu { 0 } else { -GPU_HOSTS_LAST };
        }
        let taken = prepared.request.gpus.total();
        let share = |left: u32, reciprocal: u64| {
            let left = u64::from(left.saturating_sub(taken));
            i64::try_from(left.saturating_mul(reciprocal) >> 16).unwrap_or(WHOLE).min(WHOLE)
        };
        match prepared.request.policy {
            Policy::Spread => 4 * share(self.most_gpu_left, self.most_gpu_reciprocal),
            Policy::Pack => 4 * (WHOLE - share(self.least_gpu_left, self.least_gpu_reciprocal)),
        }
    }
}

/// An amount in millionths of a limit.
pub(super) fn share(kind: usize, amount: u64, reciprocal: u64) -> i64 {
    i64::try_from(coarse(kind, amount).saturating_mul(reciprocal) >> 32).unwrap_or(i64::MAX)
}

fn architecture_bit(number: u16) -> u64 {
    1 << number.min(63)
}
