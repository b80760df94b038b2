//! The host has not failed to start this very instance.

use crate::solver::request::Prepared;

pub(super) fn passes(prepared: &Prepared<'_>, host: usize) -> bool {
    u32::try_from(host).is_ok_and(|host| prepared.failed.binary_search(&host).is_err())
}

pub(super) fn reason(prepared: &Prepared<'_>) -> String {
    match prepared.request.failed_hosts.len() {
        1 => "could not start this instance before".to_owned(),
        count => format!("could not start this instance before, one of {count} hosts"),
    }
}
