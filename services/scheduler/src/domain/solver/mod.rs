//! Where to put an instance: an exact solver over plain integers.
//!
//! Stated properties, each tested against a brute-force check in `properties.rs`:
//! (A) a decision never takes a host past its limit (capacity x overcommit);
//! (B) every rejection is true: the named filter really rules that host out, and none before it does;
//! (C) the decision depends on the set of hosts, not on their order, and is the same every time;
//! (D) if any host would do, one is chosen.
//!
//! `choose` finds the best host through a tree of bounds (`index`), which tells of whole parts of the fleet that none of
//! their hosts would do or be better; without the tree it asks every host. The explanation is made for the one decision
//! that is kept: it counts by filter over all hosts, and names a few.

mod bounds;
mod census;
mod decision;
mod explain;
mod filters;
mod fits;
mod fleet;
mod index;
#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod properties;
mod request;
mod rows;
mod score;

pub use decision::{
    Candidate, Decision, Filter, MAX_CANDIDATES, MAX_REJECTIONS, MAX_REJECTIONS_OF_PLACED, Rejection,
};
pub use explain::decide;
pub use fits::fits;
pub use fleet::Fleet;
pub use request::Request;
pub use rows::{GroupKey, HostRow, Resident};

use fleet::Slot;
use index::Best;
use request::Prepared;

/// Index of the best host in the fleet, or none. Ties go to the lowest host id.
pub fn choose(fleet: &Fleet, request: &Request) -> Option<usize> {
    best(fleet, &Prepared::new(fleet, request), 1).first().map(|(_, host)| *host as usize)
}

/// The best hosts with their scores, best first; fewer when fewer would do.
fn best(fleet: &Fleet, prepared: &Prepared<'_>, count: usize) -> Vec<(i64, u32)> {
    let mut best = Best::new(count);
    let mut offer = |host: usize| best.offer(fleet, prepared, &Slot::of(fleet, host));
    match (prepared.few(fleet), fleet.index()) {
        (Some(few), _) => few.iter().for_each(|host| offer(*host as usize)),
        (None, Some(index)) => index.search(fleet, prepared, &mut best),
        (None, None) => (0..fleet.len()).for_each(offer),
    }
    best.into_kept()
}
