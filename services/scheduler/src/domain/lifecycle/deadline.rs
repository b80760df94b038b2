//! An operation took too long: it is failed with the real reason, the work goes on.

use super::course::Course;
use kernel::Refusal;
use scheduler_placement::instance::{Instance, OperationKind, Phase};

pub(super) fn passed(course: &mut Course<'_>, host_up: bool) {
    let Some(operation) = course.instance.operation else { return };
    if course.now < operation.deadline {
        return;
    }
    let refusal = reason(&course.instance, operation.kind, host_up);
    course.fail(&refusal);
}

fn reason(instance: &Instance, kind: OperationKind, host_up: bool) -> Refusal {
    // which host it is stands in the instance, for those who may know: these words reach its tenant
    let placed = instance.placement.is_some();
    if placed && !host_up {
        let text = "its host has not been heard of; the work goes on when it is back";
        return Refusal::new("HOST_UNREACHABLE", text);
    }
    if let Some(refusal) = &instance.refusal {
        return refusal.clone();
    }
    match (instance.phase, placed) {
        (Phase::Running, true) => {
            let advice = "if its image has none, say so: berth instance expect-agent NAME no".to_owned();
            Refusal::new("GUEST_SILENT", "it runs, but its guest agent has not answered").because([advice])
        }
        (_, true) => Refusal::new(
            "DEADLINE_PASSED",
            format!("its host has not finished to {} it in time; the work goes on", kind.verb()),
        ),
        (_, false) => Refusal::new("DEADLINE_PASSED", "no host was decided in time; it still waits for one"),
    }
}
