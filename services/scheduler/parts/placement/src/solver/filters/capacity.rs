//! Every resource asked for is free on the host.

use crate::solver::fleet::{Fleet, KINDS};
use crate::solver::request::Prepared;
use kernel::{Bytes, MilliVcpus};

pub(super) fn passes(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    (0..KINDS).all(|kind| fleet.free[kind][host] >= prepared.amounts[kind])
}

/// The resource that is missing most, relative to what is asked for: 0 CPUs, 1 memory, 2 disk.
pub(in crate::solver) fn scarcest(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> Option<usize> {
    let mut most = None;
    for (kind, asked) in prepared.amounts.into_iter().enumerate() {
        let lack = asked.saturating_sub(fleet.free[kind][host]);
        if lack > 0 {
            let share = u128::from(lack) * 1_000_000 / u128::from(asked);
            // of equal ones the first: CPUs before memory before disk
            if most.is_none_or(|(known, _)| share > known) {
                most = Some((share, kind));
            }
        }
    }
    most.map(|(_, kind)| kind)
}

pub(super) fn reason(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> String {
    let (row, free, asked) = (fleet.host(host), fleet.free(host), prepared.amounts);
    let limit = row.limit.amounts();
    // where more is promised than is there, or less, the limit is not what the machine's data sheet says
    let share =
        |percent: u32| if percent == 100 { String::new() } else { format!(" ({percent}% of what it has)") };
    let mut lacks = Vec::new();
    if asked[0] > free[0] {
        let [free, limit, asked] = [free[0], limit[0], asked[0]].map(MilliVcpus);
        lacks.push(format!("{free} vCPU free of {limit}{}, {asked} asked", share(row.overcommit.vcpus)));
    }
    for (kind, what, percent) in [(1, "memory", row.overcommit.memory), (2, "disk", row.overcommit.disk)] {
        if asked[kind] > free[kind] {
            let [free, limit, asked] = [free[kind], limit[kind], asked[kind]].map(Bytes);
            lacks.push(format!("{free} {what} free of {limit}{}, {asked} asked", share(percent)));
        }
    }
    lacks.join("; ")
}
