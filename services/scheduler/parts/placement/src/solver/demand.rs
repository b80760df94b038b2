//! What a request takes of the hosts of one class, worked out once: the best score that a part of the class could have
//! is then a few sums over its bounds.

use super::bounds::{Bounds, CORNERS, GpuBounds, Range, SLOPES, share};
use super::fleet::{Fleet, KINDS, Slot, bit, coarse};
use super::request::Prepared;
use super::score::{GPU_HOSTS_LAST, OPENED, WHOLE, by_shares, gpu_share, weighed};
use crate::instance::Policy;

/// What kind of machine the hosts of a class are. They are all of one kind where there are not too many kinds; these
/// are the extremes where there are.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// All bits that any host has, and those that all have.
    traits: [u32; 2],
    /// The labels that any host has, and those that all have.
    labels: [u32; 2],
    /// One bit an architecture; the last one stands for all further ones.
    architectures: u64,
    most_reciprocal: [u64; KINDS],
    least_reciprocal: [u64; KINDS],
    /// Any has GPUs.
    pub any_gpu: bool,
    any_without_gpu: bool,
    most_gpu_reciprocal: u64,
    least_gpu_reciprocal: u64,
}

impl Machine {
    /// Of no host.
    pub const NONE: Self = Self {
        traits: [0, u32::MAX],
        labels: [0, u32::MAX],
        architectures: 0,
        most_reciprocal: [0; KINDS],
        least_reciprocal: [u64::MAX; KINDS],
        any_gpu: false,
        any_without_gpu: false,
        most_gpu_reciprocal: 0,
        least_gpu_reciprocal: u64::MAX,
    };

    /// Takes one more host in.
    pub fn add(&mut self, fleet: &Fleet, slot: &Slot) {
        let host = slot.host as usize;
        self.traits = [self.traits[0] | slot.traits, self.traits[1] & slot.traits];
        self.labels = [self.labels[0] | slot.labels, self.labels[1] & slot.labels];
        self.architectures |= architecture_bit(fleet.architecture[host]);
        for (kind, reciprocal) in slot.reciprocal.into_iter().enumerate() {
            self.most_reciprocal[kind] = self.most_reciprocal[kind].max(reciprocal);
            self.least_reciprocal[kind] = self.least_reciprocal[kind].min(reciprocal);
        }
        self.any_gpu |= slot.gpus > 0;
        self.any_without_gpu |= slot.gpus == 0;
        if slot.gpus > 0 {
            let reciprocal = fleet.gpus.reciprocal[host];
            self.most_gpu_reciprocal = self.most_gpu_reciprocal.max(reciprocal);
            self.least_gpu_reciprocal = self.least_gpu_reciprocal.min(reciprocal);
        }
    }

    /// A request takes the same shares of its hosts as of those of another.
    pub fn is_as_large_as(&self, other: &Self) -> bool {
        let gpus =
            |of: &Self| (of.any_gpu, of.any_without_gpu, of.most_gpu_reciprocal, of.least_gpu_reciprocal);
        self.most_reciprocal == other.most_reciprocal
            && self.least_reciprocal == other.least_reciprocal
            && gpus(self) == gpus(other)
    }

    /// Some host could let [`Filter::State`](super::Filter::State) to [`Filter::Labels`](super::Filter::Labels) pass.
    pub fn could_do(&self, prepared: &Prepared<'_>) -> bool {
        let [wanted, avoided] = prepared.labels;
        let right = prepared.architecture.is_none_or(|n| self.architectures & architecture_bit(n) != 0);
        right
            & is_able(prepared, self.traits[0])
            & (self.labels[0] & wanted == wanted)
            & (self.labels[1] & avoided == 0)
    }

    /// All hosts let these filters pass.
    pub fn all_do(&self, prepared: &Prepared<'_>) -> bool {
        let [wanted, avoided] = prepared.labels;
        let right = prepared
            .architecture
            .is_none_or(|n| self.architectures == architecture_bit(n) && n < LAST_ARCHITECTURE);
        right
            & is_able(prepared, self.traits[1])
            & (self.labels[1] & wanted == wanted)
            & (self.labels[0] & avoided == 0)
    }
}

/// Open, with a driver that is right and able to boot it.
fn is_able(prepared: &Prepared<'_>, traits: u32) -> bool {
    let open = bit::UP | bit::OPEN;
    (traits & open == open) & (prepared.able(traits) != 0)
}

/// See the module.
pub(super) struct Demand {
    lanes: [u32; KINDS],
    gpus_whole: u32,
    gpu_share: u32,
    /// What every host of the class loses for what it is.
    last: i64,
    by: By,
}

/// What the best score is worked out from.
enum By {
    /// Of each kind, three times the share that is taken and all of them once; the score of what is taken; GPUs taken in
    /// all, and the largest part of a host's that a thousandth of one is.
    Spread { taken: [i64; KINDS], all: i64, gpus: Option<(u32, u64)> },
    /// Of the least and the most that the gap may shrink by, and the shares that are taken, at most.
    Pack { lines: [Line; 2], gone: i64 },
    /// The same with GPUs: shares of CPUs and memory that are taken, and of GPUs.
    PackGpus { taken: [Range; 2], gpus: Range, gone: i64, any_without: bool },
}

impl Demand {
    /// Of hosts of this kind of machine.
    pub fn of(prepared: &Prepared<'_>, machine: &Machine) -> Self {
        let asked = [0, 1, 2]
            .map(|kind: usize| u32::try_from(coarse(kind, prepared.amounts[kind])).unwrap_or(u32::MAX));
        let last_of_all = prepared.request.gpus.count == 0 && !machine.any_without_gpu;
        Self {
            lanes: asked,
            gpus_whole: prepared.gpus_whole,
            gpu_share: prepared.gpu_share,
            last: if last_of_all { GPU_HOSTS_LAST } else { 0 },
            by: match prepared.request.policy {
                Policy::Spread => By::spread(prepared, machine),
                Policy::Pack => By::pack(prepared, machine),
            },
        }
    }

    /// No host of this part scores higher than this; none: no host of it would do. What is said of GPUs is left out for
    /// classes without any.
    pub fn best_score(&self, bounds: &Bounds, gpus: Option<&GpuBounds>) -> Option<i64> {
        let fits = (bounds.first != u32::MAX)
            & (bounds.most_free[0] >= self.lanes[0])
            & (bounds.most_free[1] >= self.lanes[1])
            & (bounds.most_free[2] >= self.lanes[2]);
        let [whole, most] = gpus.map_or([0; 2], |gpus| [gpus.most_whole, gpus.most_of_one]);
        if !fits | (whole < self.gpus_whole) | (most < self.gpu_share) {
            return None;
        }
        let opened = if bounds.any_in_use { 0 } else { OPENED };
        let room = match &self.by {
            By::Spread { taken, all, gpus: wanted } => {
                let by_kind = |kind: usize| i64::from(bounds.most_spread[kind]) - taken[kind];
                let room =
                    by_kind(0).min(by_kind(1)).min(by_kind(2)).min(i64::from(bounds.best_spread) - all);
                let of_gpus = wanted.zip(gpus).map_or(0, |((wanted, reciprocal), gpus)| {
                    4 * gpu_share(gpus.most_left.saturating_sub(wanted), reciprocal)
                });
                room + of_gpus
            }
            By::Pack { lines, gone } => lines[0].over(bounds).max(lines[1].over(bounds)) + gone - opened,
            By::PackGpus { taken, gpus: taken_gpus, gone, any_without } => {
                let mut gaps = bounds.gap().least_growth(taken[0].less(taken[1]));
                let mut least_sum = i64::MIN;
                if let Some(gpus) = gpus {
                    least_sum = i64::from(gpus.least_sum);
                    let growth = |kind: usize| gpus.gaps[kind].least_growth(taken[kind].less(*taken_gpus));
                    // of closed hosts nothing is known; a host without GPUs has no such gaps
                    if gpus.gaps[0].least <= gpus.gaps[0].most {
                        let with_gpus = growth(0) + growth(1);
                        gaps += if *any_without { with_gpus.min(0) } else { with_gpus };
                    }
                }
                weighed(gaps) - opened - least_sum.saturating_sub(*gone).max(0)
            }
        };
        Some(room - self.last)
    }
}

impl By {
    /// What is left of a kind is at most what is free less what the request takes of the largest host: with whole
    /// parts (floor) of x and y, floor(x - y) <= floor(x) - floor(y). So it is whichever kind turns out to be the
    /// scarcest, and so it is of the best score, because no more than the least share taken is lost from the least left.
    fn spread(prepared: &Prepared<'_>, machine: &Machine) -> Self {
        let taken = [0, 1, 2].map(|kind: usize| {
            share(kind, prepared.amounts[kind], machine.least_reciprocal[kind]).min(WHOLE)
        });
        let sum = taken[0] + taken[1] + taken[2];
        let gpus = prepared.request.gpus;
        Self::Spread {
            taken: taken.map(|taken| 3 * taken + sum),
            all: by_shares(taken),
            gpus: (gpus.count > 0).then(|| (gpus.total(), machine.most_gpu_reciprocal)),
        }
    }

    /// What is left of a kind is at least what is free less what the request takes of the smallest host, rounded up:
    /// floor(x - y) >= floor(x) - floor(y) - 1; twice where the amount is no whole number of units. So the shares taken
    /// lie in ranges, and with them what becomes of the gaps between the shares that are free now. That GPUs are lost to
    /// others is left out: it only takes away.
    fn pack(prepared: &Prepared<'_>, machine: &Machine) -> Self {
        let taken = [0, 1, 2].map(|kind: usize| {
            let amount = prepared.amounts[kind];
            let whole = kind == 0 || coarse(kind, amount) << 20 == amount;
            let asked = coarse(kind, amount).saturating_add(u64::from(!whole));
            let most = asked.saturating_mul(machine.most_reciprocal[kind]) >> 32;
            let most = i64::try_from(most).unwrap_or(i64::MAX).min(WHOLE) + 1;
            Range { least: share(kind, amount, machine.least_reciprocal[kind]).min(WHOLE), most }
        });
        let gone = taken[0].most + taken[1].most + taken[2].most;
        let shrinks = taken[0].less(taken[1]);
        if !machine.any_gpu {
            // of squares in a range of widths the greatest is no more than this above the line between its ends
            let width = shrinks.most - shrinks.least;
            let above = (width * width + 3) / 4;
            let lines = [shrinks.least, shrinks.most].map(|shrinks| Line::of(shrinks, above));
            return Self::Pack { lines, gone };
        }
        let total = prepared.request.gpus.total();
        let gpus = Range {
            least: gpu_share(total, machine.least_gpu_reciprocal),
            most: gpu_share(total, machine.most_gpu_reciprocal) + 1,
        };
        let any_without = machine.any_without_gpu;
        Self::PackGpus { taken: [taken[0], taken[1]], gpus, gone: gone + gpus.most, any_without }
    }
}

/// The most of the score with *pack* where a gap shrinks by so much, but for what else is the same for all hosts of a
/// class: the growth of its square, as a part of 1024, and what is free now.
///
/// (gap - s)^2 - gap^2 = s^2 - 2 s gap. So the score is that of a straight line over points (gap, sum), s^2 taken off,
/// and its slope lies between two of [`SLOPES`], or beyond them: the most is a weighted sum of two corners of the outline.
struct Line {
    corner: usize,
    weights: [i64; 2],
    shift: u32,
    taken_off: i64,
}

impl Line {
    fn of(shrinks: i64, above: i64) -> Self {
        const UNIT: i64 = 1 << 10;
        let slope = 2 * shrinks;
        let (corner, weights, between) = match SLOPES.iter().position(|known| slope <= known * UNIT) {
            Some(0) => (0, [SLOPES[0] * UNIT - slope, UNIT], 1),
            Some(next) => {
                let (low, high) = (SLOPES[next - 1], SLOPES[next]);
                (next, [high * UNIT - slope, slope - low * UNIT], high - low)
            }
            None => (CORNERS - 2, [UNIT, slope - SLOPES[SLOPES.len() - 1] * UNIT], 1),
        };
        let shift = between.trailing_zeros();
        Self { corner, weights, shift: shift + 10, taken_off: (shrinks * shrinks - above) << shift }
    }

    fn over(&self, bounds: &Bounds) -> i64 {
        let at = |corner: usize| i64::from(bounds.outline[corner]);
        let most = self.weights[0] * at(self.corner) + self.weights[1] * at(self.corner + 1) - self.taken_off;
        // rounded up: what is taken away is rounded down
        (most + (1 << self.shift) - 1) >> self.shift
    }
}

/// All from this one on share a bit.
const LAST_ARCHITECTURE: u16 = 63;

fn architecture_bit(number: u16) -> u64 {
    1 << number.min(LAST_ARCHITECTURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_powers_of_two_apart() {
        let apart = SLOPES.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(apart.into_iter().all(|apart| apart.count_ones() == 1));
    }
}
