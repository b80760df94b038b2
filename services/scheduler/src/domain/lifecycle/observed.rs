//! What a host saw of an instance, and what that means for it.

use super::course::{Course, power};
use super::requests::is_up;
use super::{Observation, Power, Seen, placement};
use kernel::Refusal;
use scheduler_placement::instance::{Desired, Instance, OperationKind, Phase, RestartPolicy, VmReason};

/// What an operation that brings an instance up is called.
pub(super) const BRINGING_UP: [OperationKind; 4] =
    [OperationKind::Create, OperationKind::Start, OperationKind::Reboot, OperationKind::Resume];

pub(super) fn observed(course: &mut Course<'_>, observation: Observation) {
    let instance = &mut course.instance;
    let here = instance.placement.as_ref().is_some_and(|placement| placement.host == observation.host);
    let news = observation.revision > instance.observation_revision;
    let known_intent = observation.intent_revision <= instance.intent_revision;
    let ours = observation.generation == instance.generation;
    if instance.phase == Phase::Deleted || !here || !ours || !news || !known_intent {
        return;
    }
    instance.observation_revision = observation.revision;
    instance.confirmed_intent = instance.confirmed_intent.max(observation.intent_revision);
    instance.addresses.clone_from(&observation.addresses);
    instance.unordered.clone_from(&observation.unordered);
    // whether an agent answered is another matter: what ran has written to its disk
    instance.has_booted |= observation.has_run || matches!(observation.seen, Seen::Running | Seen::Paused);
    take_steps(course, &observation);
    if observation.intent_revision < course.instance.intent_revision {
        // seen before the host took the newest order: it says nothing about how that one went
        return;
    }
    if observation.seen == Seen::Unknown {
        course.instance.refusal = observation.failure;
        return;
    }
    if observation.has_run && !observation.gave_up {
        course.instance.restoring = None;
    }
    match power(&course.instance) {
        Power::Running => towards_running(course, observation),
        Power::Stopped => towards_stopped(course, observation),
        Power::Paused => towards_paused(course, observation),
        Power::Absent => towards_absent(course, observation),
    }
}

/// Only what the host did since the request counts: it remembers older starts as well.
fn take_steps(course: &mut Course<'_>, observation: &Observation) {
    let Some(since) = course.instance.steps.first().map(|step| step.at) else { return };
    for step in observation.steps.iter().filter(|step| step.at >= since) {
        course.step_at(&step.name, step.at);
    }
}

fn towards_running(course: &mut Course<'_>, observation: Observation) {
    if observation.gave_up {
        return gave_up_running(course, observation);
    }
    course.instance.refusal = observation.failure.clone().or_else(|| stands_still(&observation));
    match observation.seen {
        Seen::Running => {
            let rebooting = course.operation_kind() == Some(OperationKind::Reboot);
            if !rebooting || observation.reboot_counter >= course.instance.reboot_counter {
                runs(course, observation.agent_answered);
            }
        }
        Seen::Paused if is_running(&course.instance) => course.instance.phase = Phase::Paused,
        Seen::Stopped | Seen::Crashed if ended_for_good(course, &observation) => ended(course, &observation),
        // the host will start it, or start it again
        Seen::Stopped | Seen::Crashed | Seen::Absent => course.instance.phase = Phase::Starting,
        Seen::Paused | Seen::Unknown => {}
    }
}

fn runs(course: &mut Course<'_>, agent_answered: bool) {
    if !is_running(&course.instance) {
        course.step("running");
    }
    if agent_answered && course.instance.phase != Phase::Ready {
        course.step("ready");
    }
    course.instance.phase = if agent_answered { Phase::Ready } else { Phase::Running };
    course.succeed(&[OperationKind::Resume]);
    if is_up(&course.instance) {
        course.succeed(&BRINGING_UP);
    }
}

/// The host will not try again. A VM that runs is left alone; one that never ran is tried elsewhere; one that ran has
/// data on this host's disk and stays, for somebody to decide.
fn gave_up_running(course: &mut Course<'_>, observation: Observation) {
    let refusal = observation
        .failure
        .unwrap_or_else(|| Refusal::new("HOST_GAVE_UP", "the host could not start it and did not say why"));
    course.instance.refusal = Some(refusal.clone());
    match observation.seen {
        Seen::Running => {
            course.fail(&refusal);
            runs(course, observation.agent_answered);
        }
        Seen::Paused => {
            course.fail(&refusal);
            course.instance.phase = Phase::Paused;
        }
        Seen::Stopped | Seen::Crashed | Seen::Absent if course.instance.has_booted => {
            course.fail(&refusal);
            course.instance.phase = Phase::Failed;
        }
        Seen::Stopped | Seen::Crashed | Seen::Absent => {
            course.instance.phase = Phase::Relocating;
            course.step("relocating");
            course.intend();
        }
        Seen::Unknown => {}
    }
}

fn towards_stopped(course: &mut Course<'_>, observation: Observation) {
    if let (true, Some(refusal)) = (observation.gave_up, &observation.failure) {
        course.fail(refusal);
        course.instance.refusal = Some(refusal.clone());
        course.instance.phase = Phase::Failed;
        return;
    }
    match observation.seen {
        // what keeps its host from giving the disks back lasts: that is not done
        Seen::Absent if course.instance.restoring.is_some() => {
            course.instance.refusal = observation.failure;
        }
        Seen::Stopped | Seen::Crashed | Seen::Absent => {
            if course.instance.phase != Phase::Stopped {
                course.instance.refusal = None;
                course.step("stopped");
            }
            course.instance.phase = Phase::Stopped;
            course.succeed(&[OperationKind::Stop, OperationKind::Restore]);
        }
        Seen::Running | Seen::Paused => {
            course.instance.refusal = observation.failure;
            course.instance.phase = Phase::Stopping;
        }
        Seen::Unknown => {}
    }
}

fn towards_paused(course: &mut Course<'_>, observation: Observation) {
    if observation.gave_up && observation.seen != Seen::Paused {
        // it cannot be frozen: it goes on as it was
        let refusal = observation.failure.unwrap_or_else(|| {
            Refusal::new("HOST_GAVE_UP", "the host could not pause it and did not say why")
        });
        course.fail(&refusal);
        course.instance.desired = Desired::Running;
        course.intend();
        return;
    }
    course.instance.refusal.clone_from(&observation.failure);
    match observation.seen {
        Seen::Paused => {
            if course.instance.phase != Phase::Paused {
                course.step("paused");
            }
            course.instance.phase = Phase::Paused;
            course.succeed(&[OperationKind::Pause]);
        }
        Seen::Running => {
            course.instance.phase = if observation.agent_answered { Phase::Ready } else { Phase::Running };
        }
        Seen::Stopped | Seen::Crashed if ended_for_good(course, &observation) => ended(course, &observation),
        Seen::Stopped | Seen::Crashed | Seen::Absent | Seen::Unknown => {}
    }
}

fn towards_absent(course: &mut Course<'_>, observation: Observation) {
    if observation.seen != Seen::Absent {
        if course.instance.phase == Phase::Deleting {
            course.instance.refusal = observation.failure;
        }
        return;
    }
    if course.instance.desired == Desired::Absent {
        course.instance.phase = Phase::Deleted;
        course.step("deleted");
        course.succeed(&[OperationKind::Delete]);
        return;
    }
    left_host(course);
}

/// A failed first start is cleaned off its host: the reservation goes, and another host is tried.
fn left_host(course: &mut Course<'_>) {
    let Some(placement) = course.instance.placement.take() else { return };
    if !course.instance.failed_hosts.contains(&placement.host) {
        course.instance.failed_hosts.push(placement.host);
    }
    course.instance.addresses.clear();
    course.instance.unordered = None;
    if course.instance.has_booted {
        return left_its_disk(course);
    }
    if course.instance.desired != Desired::Running {
        course.instance.desired = Desired::Stopped;
        course.instance.phase = Phase::Stopped;
        course.instance.refusal = None;
        course.step("stopped");
        course.succeed(&[OperationKind::Stop]);
        return;
    }
    if course.instance.failed_hosts.len() >= course.limits.max_hosts {
        let last = course.instance.refusal.take();
        placement::give_up(course, last, Vec::new());
        return;
    }
    course.instance.phase = Phase::Pending;
    course.request_placement = true;
}

/// It left a host on which it had run after all: its disk lies in quarantine there. It is not begun anew with an empty one
/// unless somebody says so.
fn left_its_disk(course: &mut Course<'_>) {
    let message = "it had run on a host that could not start it again, and its disk was put aside there: restore it, or \
                   start it anew with an empty disk";
    let refusal = Refusal::new("DISK_PUT_ASIDE", message);
    course.fail(&refusal);
    course.instance.refusal = Some(refusal);
    course.instance.phase = Phase::Failed;
}

/// The guest ended by itself and its restart policy says that it stays so.
fn ended_for_good(course: &Course<'_>, observation: &Observation) -> bool {
    let stays = match (course.instance.spec.restart_policy, observation.seen) {
        (RestartPolicy::Never, _) | (RestartPolicy::OnFailure, Seen::Stopped) => true,
        (RestartPolicy::OnFailure | RestartPolicy::Always, _) => false,
    };
    // stopped is also what a VM is before it is started: it ended only if it had run
    let had_run = match course.operation_kind() {
        _ if observation.seen == Seen::Crashed => true,
        _ if is_running(&course.instance) || course.instance.phase == Phase::Paused => true,
        Some(OperationKind::Reboot) => true,
        Some(OperationKind::Create) => observation.steps.iter().any(|step| step.name == "started"),
        _ => false,
    };
    stays && had_run
}

fn ended(course: &mut Course<'_>, observation: &Observation) {
    let refusal = how_it_ended(observation);
    course.fail(&refusal);
    course.instance.refusal = Some(refusal);
    course.instance.phase = Phase::Stopped;
    course.instance.desired = Desired::Stopped;
    course.step("ended");
    // also a host that restarts must leave it off
    course.intend();
}

fn how_it_ended(observation: &Observation) -> Refusal {
    let reason = observation.unordered.as_ref().map(|seen| seen.reason);
    let (code, text) = match (reason, observation.seen) {
        (Some(VmReason::PowerTaken), _) => {
            ("POWER_TAKEN", "its power was taken by somebody at its host, or its host went down")
        }
        (Some(VmReason::GuestShutDown), _) | (None, Seen::Stopped) => {
            ("GUEST_ENDED", "the guest shut itself down")
        }
        (Some(VmReason::GuestCrashed), _) => ("GUEST_CRASHED", "the guest crashed"),
        _ => ("GUEST_CRASHED", "the guest ended without being asked to"),
    };
    Refusal::new(code, text).because(in_its_words(observation))
}

/// Why a guest that should run stands still, where no failure of its host says so.
fn stands_still(observation: &Observation) -> Option<Refusal> {
    let (code, text) = match observation.unordered.as_ref()?.reason {
        VmReason::GuestSuspended => {
            ("GUEST_SUSPENDED", "the guest suspended itself; it sleeps until it is resumed")
        }
        VmReason::HypervisorBusy => {
            ("HYPERVISOR_BUSY", "the hypervisor of its host holds it while it works with it")
        }
        VmReason::PausedByHand => ("PAUSED_BY_HAND", "somebody at its host paused it"),
        // what its host does about these shows in the phase
        VmReason::IoError | VmReason::GuestShutDown | VmReason::GuestCrashed | VmReason::PowerTaken => {
            return None;
        }
    };
    Some(Refusal::new(code, text))
}

/// Kept in the reason: when it is off as ordered, nothing else tells of it any more.
fn in_its_words(observation: &Observation) -> Option<String> {
    let words = &observation.unordered.as_ref()?.words;
    (!words.is_empty()).then(|| format!("its hypervisor says: {words}"))
}

fn is_running(instance: &Instance) -> bool {
    matches!(instance.phase, Phase::Running | Phase::Ready)
}
