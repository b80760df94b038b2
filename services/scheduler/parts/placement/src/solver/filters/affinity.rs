//! The affinity group is on this host, or nowhere yet.

use crate::solver::fleet::Fleet;
use crate::solver::request::Prepared;

pub(super) fn passes(prepared: &Prepared<'_>, host: usize) -> bool {
    let here = |hosts: &[u32]| u32::try_from(host).is_ok_and(|host| hosts.binary_search(&host).is_ok());
    prepared.together.as_deref().is_none_or(here)
}

pub(super) fn reason(fleet: &Fleet, prepared: &Prepared<'_>) -> String {
    let group = prepared.request.affinity.as_ref().map_or("", |group| group.name.as_str());
    let name = |host: &u32| usize::try_from(*host).map_or("", |host| fleet.host(host).name.as_str());
    let hosts: Vec<&str> =
        prepared.together.as_deref().unwrap_or_default().iter().take(3).map(name).collect();
    format!("affinity group {group:?} is on {}", hosts.join(", "))
}
