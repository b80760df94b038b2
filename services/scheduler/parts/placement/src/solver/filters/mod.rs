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
use super::fleet::{Fleet, Slot, bit};
use super::request::Prepared;

pub(super) use capacity::scarcest;

/// The filters that cost a few comparisons of numbers let the host pass.
pub(super) fn pass_cheap(prepared: &Prepared<'_>, slot: &Slot) -> bool {
    let open = bit::UP | bit::OPEN;
    // no early exit: comparisons are cheaper than a mispredicted jump
    (slot.free[0] >= prepared.amounts[0])
        & (slot.free[1] >= prepared.amounts[1])
        & (slot.free[2] >= prepared.amounts[2])
        & (slot.traits & open == open)
        & (prepared.able(slot.traits) != 0)
        & (slot.labels & prepared.labels[0] == prepared.labels[0])
        & (slot.labels & prepared.labels[1] == 0)
}

/// The others do, too. Most requests need not ask them: see [`Prepared::plain`].
pub(super) fn pass_costly(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    image::passes(prepared, fleet.traits[host], fleet.architecture[host])
        && gpu::passes(fleet, prepared, host)
        && failed_before::passes(prepared, host)
        && affinity::passes(prepared, host)
        && anti_affinity::passes(prepared, host)
        && labels::passes(fleet, prepared, host)
}

/// The first filter, in the order of [`Filter::ALL`], that rules the host out.
pub(super) fn first_against(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> Option<Filter> {
    Filter::ALL.into_iter().find(|filter| !passes(*filter, fleet, prepared, host))
}

/// The first filter that rules out every host with these traits and this architecture.
pub(super) fn first_against_kind(prepared: &Prepared<'_>, traits: u32, architecture: u16) -> Option<Filter> {
    let passes = [
        (Filter::State, state::passes(traits)),
        (Filter::Cordon, cordon::passes(traits)),
        (Filter::Driver, driver::passes(prepared, traits)),
        (Filter::Image, image::passes(prepared, traits, architecture)),
    ];
    passes.into_iter().find(|(_, passes)| !passes).map(|(filter, _)| filter)
}

/// The first filter that rules the host out, but for those that know single hosts by what happened there.
pub(super) fn first_but_single(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> Option<Filter> {
    let others =
        Filter::ALL.into_iter().filter(|f| !matches!(f, Filter::AntiAffinity | Filter::FailedBefore));
    others.into_iter().find(|filter| !passes(*filter, fleet, prepared, host))
}

pub(super) fn passes(filter: Filter, fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    let (traits, architecture) = (fleet.traits[host], fleet.architecture[host]);
    match filter {
        Filter::State => state::passes(traits),
        Filter::Cordon => cordon::passes(traits),
        Filter::Driver => driver::passes(prepared, traits),
        Filter::Image => image::passes(prepared, traits, architecture),
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
        Filter::State => state::reason(fleet, host),
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
