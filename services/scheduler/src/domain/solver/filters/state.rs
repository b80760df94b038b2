//! The host answers.

use crate::domain::solver::fleet::{Fleet, bit};

pub(super) fn passes(fleet: &Fleet, host: usize) -> bool {
    fleet.traits[host] & bit::UP != 0
}

pub(super) fn reason() -> String {
    "unreachable: it has not been heard of within the limit".to_owned()
}
