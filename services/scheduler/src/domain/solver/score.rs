//! Which of the hosts with room is best. Higher is better.
//!
//! Shares are what would stay free of the host's limit, in millionths. *Pack* looks for the least waste: little
//! left over in all, and what is left in even proportions (memory without CPUs is of no use to anybody).
//! *Spread* looks at the tightest resource first: the host whose scarcest share stays largest.

use super::fleet::{Fleet, KINDS, coarse};
use super::request::Prepared;
use crate::domain::instance::Policy;

const WHOLE: i64 = 1_000_000;
/// More than any two scores differ by otherwise.
const GPU_HOSTS_LAST: i64 = 8 * WHOLE;

/// Score of a host that passed every filter.
pub(super) fn of(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> i64 {
    let (mut sum, mut least, mut most) = (0, WHOLE, 0);
    for kind in 0..KINDS {
        let left = share_left(fleet, prepared, host, kind);
        sum += left;
        least = least.min(left);
        most = most.max(left);
    }
    let room = match prepared.request.policy {
        Policy::Pack => 4 * WHOLE - sum - (most - least),
        Policy::Spread => 3 * least + sum,
    };
    room + gpus(fleet, prepared, host)
}

/// Who needs no GPU goes where there is one only when there is no other room: CPUs there are for the GPUs. Of those
/// who need one, the GPUs weigh more than all the rest.
fn gpus(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> i64 {
    if prepared.gpus_whole + prepared.gpu_share == 0 {
        return if fleet.gpus.count[host] > 0 { -GPU_HOSTS_LAST } else { 0 };
    }
    let left = fleet.gpus.left[host].saturating_sub(prepared.request.gpus.total());
    let share = i64::try_from((u64::from(left) * fleet.gpus.reciprocal[host]) >> 16).unwrap_or(WHOLE);
    match prepared.request.policy {
        Policy::Pack => 4 * (WHOLE - share),
        Policy::Spread => 4 * share,
    }
}

/// Millionths of the limit that would stay free. Cannot overflow: what is left is at most the limit, and the
/// reciprocal is at most 1,000,000 * 2^32 / limit, so the product stays below 2^52.
fn share_left(fleet: &Fleet, prepared: &Prepared<'_>, host: usize, kind: usize) -> i64 {
    let left = coarse(kind, fleet.free[kind][host].saturating_sub(prepared.amounts[kind]));
    let millionths = left.saturating_mul(fleet.reciprocal[kind][host]) >> 32;
    i64::try_from(millionths).unwrap_or(WHOLE)
}
