//! Where to put an instance: an exact solver over plain integers.
//!
//! Stated properties, each tested against a brute-force check in `properties.rs`:
//! (A) a decision never takes a host past its limit (capacity x overcommit);
//! (B) every rejection is true: the named filter really rules that host out, and none before it does;
//! (C) the decision depends on the set of hosts, not on their order, and is the same every time;
//! (D) if any host would do, one is chosen.
//!
//! [`decide`] is the one way to decide. It finds the best hosts through trees of bounds (`index`), which tell of whole
//! parts of the fleet that none of their hosts would do or be better; without them it asks every host. How many
//! hosts each filter ruled out is always counted, exactly and mostly without asking each (`tally`). Which hosts, and why,
//! is told only where somebody reads it: when there is no host, and in fleets that a person knows by name; that takes a
//! look at every host (`census`).

mod best;
mod bounds;
mod census;
mod class;
mod decision;
mod demand;
mod explain;
mod filters;
mod fits;
mod fleet;
mod index;
#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod packing;
#[cfg(test)]
mod properties;
mod request;
mod rows;
mod score;
mod tally;
mod typical;

pub use decision::{
    Candidate, Decision, Filter, MAX_CANDIDATES, MAX_REJECTIONS, MAX_REJECTIONS_OF_PLACED, Rejection,
    SMALL_FLEET,
};
pub use explain::decide;
pub use fits::fits;
pub use fleet::Fleet;
pub use request::Request;
pub use rows::{GroupKey, HostRow, Resident};

use best::Best;
use fleet::Slot;
use request::Prepared;

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
