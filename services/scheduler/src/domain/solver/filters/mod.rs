//! What rules a host out: one file a filter, each with `passes` for the hot loop and `reason` for people.

mod affinity;
mod anti_affinity;
mod capacity;
mod cordon;
mod driver;
mod failed_before;
mod gpu;
mod image;
mod labels;
mod state;

use super::decision::Filter;
use super::fleet::{Fleet, bit};
use super::request::Prepared;

pub(super) use capacity::scarcest;

/// Every filter lets the host pass. The answer does not depend on the order of the questions: the cheapest and most
/// selective come first, and those that most requests do not ask are skipped for the whole fleet.
pub(super) fn pass(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    let traits = fleet.traits[host];
    let open = bit::UP | bit::OPEN;
    capacity::passes(fleet, prepared, host)
        && traits & open == open
        && prepared.able(traits) != 0
        && (prepared.plain
            || image::passes(fleet, prepared, host)
                && gpu::passes(fleet, prepared, host)
                && failed_before::passes(prepared, host)
                && affinity::passes(prepared, host)
                && anti_affinity::passes(prepared, host)
                && labels::passes(fleet, prepared, host))
}

/// The first filter, in the order of [`Filter::ALL`], that rules the host out.
pub(super) fn first_against(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> Option<Filter> {
    Filter::ALL.into_iter().find(|filter| !passes(*filter, fleet, prepared, host))
}

pub(super) fn passes(filter: Filter, fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    match filter {
        Filter::State => state::passes(fleet, host),
        Filter::Cordon => cordon::passes(fleet, host),
        Filter::Driver => driver::passes(fleet, prepared, host),
        Filter::Image => image::passes(fleet, prepared, host),
        Filter::Labels => labels::passes(fleet, prepared, host),
        Filter::Affinity => affinity::passes(prepared, host),
        Filter::AntiAffinity => anti_affinity::passes(prepared, host),
        Filter::FailedBefore => failed_before::passes(prepared, host),
        Filter::Gpu => gpu::passes(fleet, prepared, host),
        Filter::Capacity => capacity::passes(fleet, prepared, host),
    }
}

/// Why the filter ruled the host out, with numbers.
pub(super) fn reason(filter: Filter, fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> String {
    match filter {
        Filter::State => state::reason(),
        Filter::Cordon => cordon::reason(fleet, host),
        Filter::Driver => driver::reason(fleet, prepared, host),
        Filter::Image => image::reason(fleet, prepared, host),
        Filter::Labels => labels::reason(fleet, prepared, host),
        Filter::Affinity => affinity::reason(fleet, prepared),
        Filter::AntiAffinity => anti_affinity::reason(fleet, prepared, host),
        Filter::FailedBefore => failed_before::reason(prepared),
        Filter::Gpu => gpu::reason(fleet, prepared, host),
        Filter::Capacity => capacity::reason(fleet, prepared, host),
    }
}
