//! What users ask of an instance.

use super::course::Course;
use super::observed::BRINGING_UP;
use kernel::{OperationId, QuarantineId};
use scheduler_placement::instance::{Desired, Instance, OperationKind, Phase, Placement};

/// Refuses what comes too late. Answers whether the request is over.
fn too_late(course: &mut Course<'_>, operation: OperationId) -> bool {
    if course.busy_with(operation) {
        return true;
    }
    match course.instance.phase {
        Phase::Deleted => course.refuse(operation, "INSTANCE_DELETED", "the instance is deleted".into()),
        Phase::Deleting => {
            course.refuse(operation, "INSTANCE_DELETING", "the instance is being deleted".into())
        }
        _ => return false,
    }
    true
}

/// The hypervisor runs it and its guest, if it can, has answered.
pub(super) fn is_up(instance: &Instance) -> bool {
    match instance.phase {
        Phase::Ready => true,
        Phase::Running => !instance.boot.guest_agent,
        _ => false,
    }
}

pub(super) fn start(course: &mut Course<'_>, operation: OperationId) {
    if too_late(course, operation) {
        return;
    }
    let wanted = course.instance.desired == Desired::Running;
    if wanted && is_up(&course.instance) {
        return course.already(operation);
    }
    let on_its_way = wanted
        && matches!(
            course.instance.phase,
            Phase::Pending | Phase::Starting | Phase::Running | Phase::Relocating
        );
    if let (true, Some(kind)) = (on_its_way, course.operation_kind()) {
        let message = format!("it is being started already: a {} is under way", kind.verb());
        return course.refuse(operation, "INSTANCE_ALREADY_STARTING", message);
    }
    course.begin(operation, OperationKind::Start);
    course.instance.desired = Desired::Running;
    match course.instance.phase {
        // the clean-up comes first; then another host is looked for
        Phase::Relocating => {}
        // a host that hangs gets a new order; one that waits for the guest needs none
        Phase::Running if on_its_way => {}
        Phase::Pending | Phase::Stopped | Phase::Failed if course.instance.placement.is_none() => {
            course.instance.phase = Phase::Pending;
            course.instance.failed_hosts.clear();
            course.instance.refusal = None;
            course.request_placement = true;
        }
        phase => {
            if !matches!(phase, Phase::Running | Phase::Ready | Phase::Paused) {
                course.instance.phase = Phase::Starting;
            }
            course.instance.refusal = None;
            course.intend();
        }
    }
}

pub(super) fn stop(course: &mut Course<'_>, operation: OperationId, grace_s: u32) {
    if too_late(course, operation) {
        return;
    }
    if course.instance.phase == Phase::Stopped {
        return course.already(operation);
    }
    let asked_already = course.operation_kind() == Some(OperationKind::Stop);
    let same_grace = asked_already && course.instance.stop_grace_s == grace_s;
    course.give_grace(grace_s);
    course.begin(operation, OperationKind::Stop);
    course.instance.desired = Desired::Stopped;
    match course.instance.phase {
        Phase::Relocating => {}
        _ if course.instance.placement.is_none() => {
            course.instance.phase = Phase::Stopped;
            course.instance.refusal = None;
            course.succeed(&[OperationKind::Stop]);
        }
        // impatience, or second thoughts
        Phase::Stopping if same_grace => {}
        _ => {
            course.instance.phase = Phase::Stopping;
            course.instance.refusal = None;
            course.intend();
        }
    }
}

pub(super) fn reboot(course: &mut Course<'_>, operation: OperationId) {
    if too_late(course, operation) {
        return;
    }
    if !runs(&course.instance) {
        return not_running(course, operation);
    }
    course.begin(operation, OperationKind::Reboot);
    course.instance.desired = Desired::Running;
    course.instance.phase = Phase::Starting;
    course.instance.reboot_counter += 1;
    course.intend();
}

pub(super) fn pause(course: &mut Course<'_>, operation: OperationId) {
    if too_late(course, operation) {
        return;
    }
    let wanted = course.instance.desired == Desired::Paused;
    if wanted && course.instance.phase == Phase::Paused {
        return course.already(operation);
    }
    if !runs(&course.instance) && course.instance.phase != Phase::Paused {
        return not_running(course, operation);
    }
    course.begin(operation, OperationKind::Pause);
    course.instance.desired = Desired::Paused;
    if !wanted {
        course.intend();
    }
}

pub(super) fn resume(course: &mut Course<'_>, operation: OperationId) {
    if too_late(course, operation) {
        return;
    }
    let wanted = course.instance.desired == Desired::Running;
    if wanted && runs(&course.instance) {
        return course.already(operation);
    }
    if !runs(&course.instance) && course.instance.phase != Phase::Paused {
        let message =
            format!("only a paused instance can be resumed; it is {}", words(course.instance.phase));
        return course.refuse(operation, "INSTANCE_NOT_PAUSED", message);
    }
    course.begin(operation, OperationKind::Resume);
    course.instance.desired = Desired::Running;
    course.intend();
}

/// Nothing is done to the guest, and what the instance is busy with goes on: but what waits for an agent alone is done when
/// none is expected any more.
pub(super) fn expect_agent(course: &mut Course<'_>, operation: OperationId, expected: bool) {
    if too_late(course, operation) {
        return;
    }
    if course.instance.boot.guest_agent == expected {
        return course.already(operation);
    }
    course.instance.boot.guest_agent = expected;
    if is_up(&course.instance) {
        course.succeed(&BRINGING_UP);
    }
    course.already(operation);
    // only a host that does not ask the agent need be told; one whose guest is off, held or rebooting hears of it with the
    // next order
    let boots = matches!(course.instance.phase, Phase::Starting | Phase::Running);
    if expected && boots && course.operation_kind() != Some(OperationKind::Reboot) {
        course.intend();
    }
}

pub(super) fn delete(course: &mut Course<'_>, operation: OperationId) {
    if course.busy_with(operation) {
        return;
    }
    if course.instance.phase == Phase::Deleted {
        return course.refuse(operation, "INSTANCE_DELETED", "the instance is deleted already".into());
    }
    course.begin(operation, OperationKind::Delete);
    course.instance.desired = Desired::Absent;
    course.instance.refusal = None;
    if course.instance.placement.is_none() {
        course.instance.phase = Phase::Deleted;
        course.step("deleted");
        course.succeed(&[OperationKind::Delete]);
        return;
    }
    // also a host that is cleaning it off: that order let nothing go for good, this one does
    course.intend();
    course.instance.restoring = None;
    course.instance.phase = Phase::Deleting;
}

/// Disks that were put aside are its own again, under a new ownership: what lies on that host under an older one is put
/// aside in turn.
pub(super) fn restore(
    course: &mut Course<'_>,
    operation: OperationId,
    placement: Placement,
    quarantine: QuarantineId,
) {
    if course.busy_with(operation) {
        return;
    }
    let phase = course.instance.phase;
    if phase == Phase::Deleting {
        return course.refuse(operation, "INSTANCE_DELETING", "the instance is being deleted".into());
    }
    if !matches!(phase, Phase::Deleted | Phase::Stopped | Phase::Failed | Phase::Pending) {
        let message =
            format!("only a stopped, failed or deleted instance is restored; it is {}", words(phase));
        return course.refuse(operation, "INSTANCE_NOT_STOPPED", message);
    }
    let elsewhere = course.instance.reservation().is_some_and(|(host, _)| host != placement.host);
    if elsewhere {
        let message = "it has another disk on another host, which would be left behind".to_owned();
        return course.refuse(operation, "INSTANCE_ELSEWHERE", message);
    }
    course.begin(operation, OperationKind::Restore);
    let instance = &mut course.instance;
    instance.placement = Some(placement);
    instance.generation += 1;
    instance.observation_revision = 0;
    instance.addresses.clear();
    instance.unordered = None;
    instance.failed_hosts.clear();
    instance.refusal = None;
    instance.has_booted = true;
    instance.restoring = Some(quarantine);
    instance.desired = Desired::Stopped;
    instance.phase = Phase::Stopping;
    course.step("restoring");
    course.intend();
}

fn runs(instance: &Instance) -> bool {
    matches!(instance.phase, Phase::Running | Phase::Ready)
}

fn not_running(course: &mut Course<'_>, operation: OperationId) {
    let message = format!("the instance must be running; it is {}", words(course.instance.phase));
    course.refuse(operation, "INSTANCE_NOT_RUNNING", message);
}

fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "waiting for a host",
        Phase::Starting => "starting",
        Phase::Running | Phase::Ready => "running",
        Phase::Stopping => "stopping",
        Phase::Stopped => "stopped",
        Phase::Paused => "paused",
        Phase::Deleting => "being deleted",
        Phase::Deleted => "deleted",
        Phase::Failed => "failed",
        Phase::Relocating => "being cleaned off a host that could not start it",
    }
}
