//! No member of the anti-affinity group is on this host.

use crate::domain::solver::request::Prepared;

pub(super) fn passes(prepared: &Prepared<'_>, host: usize) -> bool {
    u32::try_from(host).is_ok_and(|host| prepared.apart.binary_search(&host).is_err())
}

pub(super) fn reason(prepared: &Prepared<'_>) -> String {
    let group = prepared.request.anti_affinity.as_ref().map_or("", |group| group.name.as_str());
    format!("already has a member of anti-affinity group {group:?}")
}
