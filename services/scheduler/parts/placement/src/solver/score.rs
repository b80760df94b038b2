//! Which of the hosts with room is best. Higher is better.
//!
//! Shares are what is free of the host's limit, in millionths. *Spread* looks at the tightest resource first: the host
//! whose scarcest share stays largest.
//!
//! *Pack* looks for the least waste, and asks not how a host would look but what the instance would change about it:
//! the fullest host is not the best one if the instance makes its rest useless. In that order of weight it avoids
//!
//! 1. the loss of GPUs to those who usually ask for them (`typical`): how many thousandths of a GPU fewer the host could
//!    give to them afterwards, counting that each needs CPUs and memory as well, and whole GPUs or one with enough left;
//! 2. growth of the gaps between the free shares of CPUs, memory and GPUs (CPUs without memory are of no use to anybody):
//!    the difference of the squares, about 1,000 times. An instance that needs much memory for its CPUs so goes where
//!    memory is what would be left over, and evens the host out;
//! 3. the first use of a host, about as bad as a gap that grows to a twentieth: so hosts stay free;
//! 4. what stays free in all: of hosts that suit equally well the fullest.
//!
//! The first is the idea of fragmentation gradient descent (Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing
//! Workloads with Fragmentation Gradient Descent", USENIX ATC '23), which counts GPUs as lost on a host where no more
//! than one typical task does not fit; here they are lost already when CPUs or memory suffice for fewer than all of them.
//! `packing` compares the two, best fit and spread.

use super::bounds::share;
use super::fleet::{Fleet, KINDS, Slot};
use super::request::Prepared;
use crate::instance::Policy;

pub(super) const WHOLE: i64 = 1_000_000;
/// More than any two scores differ by otherwise: gaps by less than 2^32, GPUs by less than 2^37.
pub(super) const GPU_HOSTS_LAST: i64 = 1 << 40;

/// What taking the first CPUs and memory of a host takes away from its score with *pack*.
pub(super) const OPENED: i64 = 2 * WHOLE;

/// Score of a host that passed every filter.
#[cfg(test)]
pub(super) fn of(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> i64 {
    let slot = Slot::of(fleet, host);
    at_most(fleet, prepared, &slot) - lost_gpus(fleet, prepared, &slot, i64::MAX)
}

/// The score without what is dear to work out, and only takes away from it: see [`lost_gpus`].
pub(super) fn at_most(fleet: &Fleet, prepared: &Prepared<'_>, slot: &Slot) -> i64 {
    let left = [left(slot, prepared, 0), left(slot, prepared, 1), left(slot, prepared, 2)];
    let wants_gpus = prepared.request.gpus.count > 0;
    // who needs no GPU goes where there is one only when there is no other room: CPUs there are for the GPUs
    let last = if slot.gpus > 0 && !wants_gpus { GPU_HOSTS_LAST } else { 0 };
    match prepared.request.policy {
        // of those who need GPUs, these weigh more than all the rest
        Policy::Spread if wants_gpus => by_shares(left) + 4 * gpu_shares(fleet, prepared, slot)[1],
        Policy::Spread => by_shares(left) - last,
        Policy::Pack => {
            let before =
                [share(0, slot.free[0], slot.reciprocal[0]), share(1, slot.free[1], slot.reciprocal[1])];
            let mut gaps = grown(before[0] - before[1], left[0] - left[1]);
            let mut rest = left[0] + left[1] + left[2];
            if slot.gpus > 0 {
                let [free, stays] = gpu_shares(fleet, prepared, slot);
                gaps += grown(before[0] - free, left[0] - stays) + grown(before[1] - free, left[1] - stays);
                rest += stays;
            }
            let opened = if in_use(before) { 0 } else { OPENED };
            weighed(gaps) - opened - rest - last
        }
    }
}

/// Somebody has some of these, the free shares of CPUs and memory; what is rounded down is all but a millionth.
pub(super) fn in_use(free: [i64; 2]) -> bool {
    free[0].min(free[1]) < WHOLE - 1
}

/// How much the square of a gap grows.
fn grown(before: i64, after: i64) -> i64 {
    after * after - before * before
}

/// What growing gaps take away: about 1,000 times, in millionths.
pub(super) fn weighed(gaps: i64) -> i64 {
    -(gaps >> 10)
}

/// What *pack* takes away for GPUs that typical requests can no longer have; more than `bearable` is not worked out.
pub(super) fn lost_gpus(fleet: &Fleet, prepared: &Prepared<'_>, slot: &Slot, bearable: i64) -> i64 {
    if slot.gpus == 0 || prepared.request.policy != Policy::Pack {
        return 0;
    }
    fleet.lost_gpus(slot.host as usize, prepared.amounts, prepared.request.gpus, bearable)
}

/// Score of these shares left.
pub(super) fn by_shares(left: [i64; KINDS]) -> i64 {
    3 * left[0].min(left[1]).min(left[2]) + left[0] + left[1] + left[2]
}

/// The shares of the host's GPUs that are free, and that stay free.
fn gpu_shares(fleet: &Fleet, prepared: &Prepared<'_>, slot: &Slot) -> [i64; 2] {
    let host = slot.host as usize;
    let (free, reciprocal) = (fleet.gpus.left[host], fleet.gpus.reciprocal[host]);
    [free, free.saturating_sub(prepared.request.gpus.total())].map(|left| gpu_share(left, reciprocal))
}

/// Thousandths of GPUs as millionths of all of a host's.
pub(super) fn gpu_share(left: u32, reciprocal: u64) -> i64 {
    i64::try_from(u64::from(left).saturating_mul(reciprocal) >> 16).unwrap_or(WHOLE).min(WHOLE)
}

/// Millionths of the limit that would stay free. Cannot overflow: what is left is at most the limit, and the
/// reciprocal is at most 1,000,000 * 2^32 / limit, so the product stays below 2^52.
fn left(slot: &Slot, prepared: &Prepared<'_>, kind: usize) -> i64 {
    share(kind, slot.free[kind].saturating_sub(prepared.amounts[kind]), slot.reciprocal[kind])
}
