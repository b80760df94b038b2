//! The host bears one more member of the anti-affinity group.

use crate::solver::fleet::Fleet;
use crate::solver::request::Prepared;

pub(super) fn passes(prepared: &Prepared<'_>, host: usize) -> bool {
    u32::try_from(host).is_ok_and(|host| prepared.apart.binary_search(&host).is_err())
}

pub(super) fn reason(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> String {
    let Some(group) = &prepared.request.anti_affinity else { return String::new() };
    let (name, most) = (&group.name, prepared.request.max_per_host);
    match (fleet.rivals(group, host), most) {
        (1, 1) => format!("already has a member of anti-affinity group {name:?}"),
        (1, _) => {
            format!("already has a member of anti-affinity group {name:?}, which wants no other on its host")
        }
        (count, _) if u32::try_from(count).is_ok_and(|count| count < most) => {
            format!(
                "already has {count} members of anti-affinity group {name:?}, one of which wants no more on its host"
            )
        }
        (count, _) => {
            format!(
                "already has {count} members of anti-affinity group {name:?}, at most {most} may share a host"
            )
        }
    }
}
