//! No operator closed the host.

use crate::solver::fleet::{Fleet, bit};

pub(super) fn passes(traits: u32) -> bool {
    traits & bit::OPEN != 0
}

pub(super) fn reason(fleet: &Fleet, host: usize) -> String {
    match fleet.host(host).cordon_reason.as_str() {
        "" => "cordoned".to_owned(),
        why => format!("cordoned: {why}"),
    }
}
