//! The host's architecture is the image's, and one of the right drivers can boot it.

use crate::domain::solver::fleet::Fleet;
use crate::domain::solver::request::Prepared;

pub(super) fn passes(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    right_architecture(fleet, prepared, host) && prepared.able(fleet.traits[host]) != 0
}

fn right_architecture(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    prepared.architecture.is_none_or(|number| fleet.architecture[host] == number)
}

pub(super) fn reason(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> String {
    if !right_architecture(fleet, prepared, host) {
        let (image, host) = (&prepared.request.architecture, &fleet.host(host).architecture);
        return format!("the image is for {image}, the host is {host}");
    }
    let way = if prepared.request.direct_kernel { "a kernel directly" } else { "from a disk" };
    match prepared.request.driver {
        Some(driver) => format!("its {} driver cannot boot {way}", driver.name()),
        None => format!("none of its drivers can boot {way}"),
    }
}
