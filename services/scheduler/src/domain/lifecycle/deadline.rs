//! An operation took too long: it is failed with the real reason, the work goes on.

use super::course::Course;
use crate::domain::instance::{Instance, OperationKind, Phase};
use kernel::Refusal;

pub(super) fn passed(course: &mut Course<'_>, host_up: bool) {
    let Some(operation) = course.instance.operation else { return };
    if course.now < operation.deadline {
        return;
    }
    let refusal = reason(&course.instance, operation.kind, host_up);
    course.fail(&refusal);
}

fn reason(instance: &Instance, kind: OperationKind, host_up: bool) -> Refusal {
    let host = instance.placement.as_ref().map(|placement| placement.host_name.as_str());
    if let (Some(host), false) = (host, host_up) {
        return Refusal::new(
            "HOST_UNREACHABLE",
            format!("host {host} has not been heard of; the work goes on when it is back"),
        );
    }
    if let Some(refusal) = &instance.refusal {
        return refusal.clone();
    }
    match (instance.phase, host) {
        (Phase::Running, Some(host)) => Refusal::new(
            "GUEST_SILENT",
            format!("it runs on host {host}, but its guest agent has not answered"),
        ),
        (_, Some(host)) => Refusal::new(
            "DEADLINE_PASSED",
            format!("host {host} has not finished to {} it in time; the work goes on", kind.verb()),
        ),
        (_, None) => Refusal::new("DEADLINE_PASSED", "no host was decided in time; it still waits for one"),
    }
}
