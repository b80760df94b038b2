//! Where to put an instance: an exact solver over plain integers.
//!
//! Stated properties, each tested against a brute-force check in `properties.rs`:
//! (A) a decision never takes a host past its limit (capacity x overcommit);
//! (B) every rejection is true: the named filter really rules that host out, and none before it does;
//! (C) the decision depends on the set of hosts, not on their order, and is the same every time;
//! (D) if any host would do, one is chosen.
//!
//! Two passes: `choose` looks at every host without allocating anything for those it rejects; the explanation
//! is made afterwards, for the one decision that is kept.

mod decision;
mod explain;
mod filters;
mod fleet;
#[cfg(test)]
mod properties;
mod request;
mod rows;
mod score;

pub use decision::{Candidate, Decision, Filter, MAX_CANDIDATES, MAX_REJECTIONS, Rejection};
pub use explain::decide;
pub use fleet::Fleet;
pub use request::Request;
pub use rows::{GroupKey, HostRow, Resident};

use request::Prepared;

/// Index of the best host in the fleet, or none. Ties go to the lowest host id.
pub fn choose(fleet: &Fleet, request: &Request) -> Option<usize> {
    best(fleet, &Prepared::new(fleet, request))
}

fn best(fleet: &Fleet, prepared: &Prepared<'_>) -> Option<usize> {
    let mut best: Option<(usize, i64)> = None;
    for host in 0..fleet.len() {
        if !filters::pass(fleet, prepared, host) {
            continue;
        }
        let score = score::of(fleet, prepared, host);
        // hosts are in order of their ids: only a strictly better one replaces an earlier one
        if best.is_none_or(|(_, highest)| score > highest) {
            best = Some((host, score));
        }
    }
    best.map(|(host, _)| host)
}
