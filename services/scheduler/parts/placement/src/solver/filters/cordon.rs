//! No operator closed the host: what is said of it where a decision names its reasons. The search for a host asks for
//! the same bit, `bit::OPEN`, of many hosts at once (`demand`, `bounds`, `tally`, `census`).

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
