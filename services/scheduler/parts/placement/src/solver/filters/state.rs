//! The host answers, and nothing keeps it as a whole from running instances.

use crate::solver::fleet::{Fleet, bit};

pub(super) fn passes(traits: u32) -> bool {
    traits & bit::UP != 0
}

pub(super) fn reason(fleet: &Fleet, host: usize) -> String {
    match fleet.host(host).trouble.as_str() {
        "" => "unreachable: it has not been heard of within the limit".to_owned(),
        trouble => format!("cannot run instances now: {trouble}"),
    }
}
