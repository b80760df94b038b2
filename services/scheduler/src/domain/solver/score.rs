//! Which of the hosts with room is best. Higher is better.
//!
//! Shares are what would stay free of the host's limit, in millionths. *Pack* looks for the least waste: little
//! left over in all, and what is left in even proportions (memory without CPUs is of no use to anybody).
//! *Spread* looks at the tightest resource first: the host whose scarcest share stays largest.

use super::bounds::share;
use super::fleet::{Fleet, KINDS, Slot};
use super::request::Prepared;
use crate::domain::instance::Policy;

pub(super) const WHOLE: i64 = 1_000_000;
/// More than any two scores differ by otherwise.
pub(super) const GPU_HOSTS_LAST: i64 = 8 * WHOLE;

/// Score of a host that passed every filter.
#[cfg(test)]
pub(super) fn of(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> i64 {
    slot(fleet, prepared, &Slot::of(fleet, host))
}

/// The same of a host's slot.
pub(super) fn slot(fleet: &Fleet, prepared: &Prepared<'_>, slot: &Slot) -> i64 {
    let left = [left(slot, prepared, 0), left(slot, prepared, 1), left(slot, prepared, 2)];
    by_shares(prepared.request.policy, left) + gpus(fleet, prepared, slot)
}

/// Score of these shares left.
pub(super) fn by_shares(policy: Policy, left: [i64; KINDS]) -> i64 {
    let sum = left[0] + left[1] + left[2];
    let least = left[0].min(left[1]).min(left[2]);
    let most = left[0].max(left[1]).max(left[2]);
    match policy {
        Policy::Pack => 4 * WHOLE - sum - (most - least),
        Policy::Spread => 3 * least + sum,
    }
}

/// Who needs no GPU goes where there is one only when there is no other room: CPUs there are for the GPUs. Of those
/// who need one, the GPUs weigh more than all the rest.
fn gpus(fleet: &Fleet, prepared: &Prepared<'_>, slot: &Slot) -> i64 {
    if prepared.gpus_whole + prepared.gpu_share == 0 {
        return if slot.gpus > 0 { -GPU_HOSTS_LAST } else { 0 };
    }
    let host = slot.host as usize;
    let left = fleet.gpus.left[host].saturating_sub(prepared.request.gpus.total());
    let share = i64::try_from((u64::from(left) * fleet.gpus.reciprocal[host]) >> 16).unwrap_or(WHOLE);
    match prepared.request.policy {
        Policy::Pack => 4 * (WHOLE - share),
        Policy::Spread => 4 * share,
    }
}

/// Millionths of the limit that would stay free. Cannot overflow: what is left is at most the limit, and the
/// reciprocal is at most 1,000,000 * 2^32 / limit, so the product stays below 2^52.
fn left(slot: &Slot, prepared: &Prepared<'_>, kind: usize) -> i64 {
    share(kind, slot.free[kind].saturating_sub(prepared.amounts[kind]), slot.reciprocal[kind])
}
