//! The host has the driver asked for, or any when none was.

use crate::solver::fleet::{Fleet, bit};
use crate::solver::request::Prepared;

pub(super) fn passes(prepared: &Prepared<'_>, traits: u32) -> bool {
    (traits >> bit::HAS) & prepared.drivers != 0
}

pub(super) fn reason(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> String {
    let has: Vec<&str> = fleet.host(host).drivers.iter().map(|caps| caps.driver.name()).collect();
    let has = if has.is_empty() { "no driver".to_owned() } else { has.join(", ") };
    match prepared.request.driver {
        Some(driver) => format!("needs driver {}, has {has}", driver.name()),
        None => "has no driver at all".to_owned(),
    }
}
