//! Required host labels are there, avoided ones are not.

use crate::solver::fleet::{Fleet, right_labels};
use crate::solver::request::Prepared;

pub(super) fn passes(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    let [wanted, avoided] = prepared.labels;
    let bits = fleet.labels_of(host);
    (bits & wanted == wanted) & (bits & avoided == 0)
        && (!prepared.labels_by_name || right_labels(&fleet.host(host).labels, prepared.request))
}

pub(super) fn reason(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> String {
    let labels = &fleet.host(host).labels;
    let mut reasons = Vec::new();
    for (key, value) in &prepared.request.require {
        match labels.get(key) {
            Some(there) if there == value => {}
            Some(there) => reasons.push(format!("needs {key}={value}, has {key}={there}")),
            None => reasons.push(format!("needs {key}={value}, has no {key}")),
        }
    }
    for (key, value) in &prepared.request.avoid {
        if labels.get(key) == Some(value) {
            reasons.push(format!("has {key}={value}, which is to be avoided"));
        }
    }
    reasons.join("; ")
}
