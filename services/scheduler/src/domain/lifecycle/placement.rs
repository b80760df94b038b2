//! Being accepted, and finding a host or none.

use super::course::Course;
use kernel::{OperationId, Refusal};
use scheduler_placement::instance::{OperationKind, Phase, Placement};

pub(super) fn accept(course: &mut Course<'_>, operation: OperationId) {
    if course.instance.revision > 0 {
        // accepted before: the same request again
        return;
    }
    course.instance.created_at = course.now;
    course.begin(operation, OperationKind::Create);
    course.request_placement = true;
}

pub(super) fn placed(course: &mut Course<'_>, placement: Placement) {
    if !course.instance.waits_for_host() {
        return;
    }
    let instance = &mut course.instance;
    instance.placement = Some(placement);
    instance.generation += 1;
    instance.phase = Phase::Starting;
    instance.refusal = None;
    // a new owner counts its observations from the start, and its disks are fresh
    instance.observation_revision = 0;
    instance.addresses.clear();
    instance.unordered = None;
    instance.has_booted = false;
    instance.steps.retain(|step| ["accepted", "relocating"].contains(&step.name.as_str()));
    course.step("placed");
    course.intend();
}

pub(super) fn no_room(course: &mut Course<'_>, refusal: Refusal) {
    if !course.instance.waits_for_host() {
        return;
    }
    if course.instance.failed_hosts.is_empty() {
        // it waits: room may appear
        course.instance.refusal = Some(refusal);
        return;
    }
    let last = course.instance.refusal.take();
    give_up(course, last, refusal.reasons);
}

/// No further host is tried: the first start failed on too many, or on all there are.
pub(super) fn give_up(course: &mut Course<'_>, last: Option<Refusal>, reasons: Vec<String>) {
    let hosts = course.instance.failed_hosts.len();
    let tried = if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") };
    let last = last.map(|refusal| format!("last failure: {refusal}"));
    let refusal = Refusal::new("START_FAILED", format!("it could not be started on {tried}"))
        .because(last.into_iter().chain(reasons));
    course.fail(&refusal);
    course.instance.refusal = Some(refusal);
    course.instance.phase = Phase::Failed;
}
