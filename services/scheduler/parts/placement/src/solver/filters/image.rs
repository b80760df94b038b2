//! The host's architecture is the image's, and one of the right drivers can boot it.

use crate::solver::fleet::Fleet;
use crate::solver::request::Prepared;

pub(super) fn passes(prepared: &Prepared<'_>, traits: u32, architecture: u16) -> bool {
    right_architecture(prepared, architecture) && prepared.able(traits) != 0
}

fn right_architecture(prepared: &Prepared<'_>, architecture: u16) -> bool {
    prepared.architecture.is_none_or(|number| architecture == number)
}

pub(super) fn reason(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> String {
    if !right_architecture(prepared, fleet.architecture[host]) {
        let (image, host) = (&prepared.request.architecture, &fleet.host(host).architecture);
        return format!("the image is for {image}, the host is {host}");
    }
    let way = if prepared.request.direct_kernel { "a kernel directly" } else { "from a disk" };
    match prepared.request.driver {
        Some(driver) => format!("its {} driver cannot boot {way}", driver.name()),
        None => format!("none of its drivers can boot {way}"),
    }
}
