//! What is said.

use crate::store::VmKey;
use crate::store::execs::ExecRow;
use crate::store::quarantine::DropOrder;
use crate::store::vms::VmRow;
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use host_driver_adapters::{Capabilities, ExecOutcome};
use host_driver_domain::quarantine::Keep;
use host_driver_domain::{
    Condition, Drift, DriftKind, DriverKind, DropReason, Observation, QuarantineReason, Quarantined, Reason,
    SaidPower,
};
use kernel::{HostId, Refusal, Timestamp};
use prost::Message;

/// What becomes of a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftEnd {
    /// Reality was brought back.
    Repaired,
    /// The intent was brought to reality.
    Adopted,
    /// Only said.
    Reported,
}

/// An order that was taken.
pub fn intended(message: &wire::EnsureVm) -> wire::VmIntended {
    wire::VmIntended {
        host_id: message.host_id.clone(),
        generation: message.generation,
        intent_revision: message.intent_revision,
        power: message.power,
        reboot_counter: message.reboot_counter,
        stop_grace_s: message.stop_grace_s,
        spec: message.spec.clone(),
        disposal: message.disposal,
        take_back: message.take_back.clone(),
    }
}

/// An observation; the row says whose, and what was said last.
pub fn observation(row: &VmRow, observed: &Observation, now: Timestamp) -> wire::VmObservation {
    wire::VmObservation {
        instance_id: row.key.instance.to_string(),
        host_id: row.key.host.to_string(),
        tenant: row.tenant.clone(),
        revision: next_revision(row.observation_revision, now),
        generation: observed.followed.generation,
        intent_revision: observed.followed.revision,
        power: power(observed.power).into(),
        agent_answered: observed.agent_answered,
        addresses: observed.addresses.clone(),
        reboot_counter: observed.reboots_done,
        failure: observed.failure.clone().map(Into::into),
        gave_up: observed.gave_up,
        steps: observed
            .steps
            .iter()
            .map(|(name, at)| common::Step { name: name.clone(), at_us: at.0 })
            .collect(),
        observed_at_us: now.0,
        has_run: observed.has_run,
        waits_for_host: observed.waits_for_host,
        reason: reason(observed.reason).into(),
        hypervisor_state: observed.words.to_owned(),
    }
}

/// What is said of a VM that nobody can look at: it may be anything, and nothing is to be concluded from it.
pub fn unseen(row: &VmRow, why: Refusal, now: Timestamp) -> wire::VmObservation {
    let known = last(row).unwrap_or_else(|| wire::VmObservation {
        instance_id: row.key.instance.to_string(),
        host_id: row.key.host.to_string(),
        tenant: row.tenant.clone(),
        ..wire::VmObservation::default()
    });
    wire::VmObservation {
        revision: next_revision(row.observation_revision, now),
        generation: row.intent.generation,
        intent_revision: row.intent.revision,
        power: wire::VmPower::Unknown.into(),
        failure: Some(why.into()),
        gave_up: false,
        observed_at_us: now.0,
        waits_for_host: false,
        reason: wire::VmReason::Unspecified.into(),
        hypervisor_state: String::new(),
        ..known
    }
}

/// The revision after `last`. It never falls behind the clock: a host whose tables were lost goes on above everything it
/// ever said, or nobody would listen to it again.
pub fn next_revision(last: u64, now: Timestamp) -> u64 {
    (last + 1).max(u64::try_from(now.0).unwrap_or(0))
}

/// Whether an observation says anything that the last one did not.
pub fn is_news(row: &VmRow, observation: &wire::VmObservation) -> bool {
    match last(row) {
        None => true,
        Some(last) => {
            last != wire::VmObservation {
                revision: last.revision,
                observed_at_us: last.observed_at_us,
                ..observation.clone()
            }
        }
    }
}

/// What was last said of a VM.
pub fn last(row: &VmRow) -> Option<wire::VmObservation> {
    if row.observation_revision == 0 {
        return None;
    }
    wire::VmObservation::decode(row.observation.as_slice()).ok()
}

/// Whether anything of the VM may be on its host, by what was last said.
pub fn was_made(row: &VmRow) -> bool {
    last(row)
        .is_some_and(|said| said.power() != wire::VmPower::Absent || said.has_run || !said.steps.is_empty())
}

/// The VM was to go, was seen to be gone, and that was said of this very order: it has come to its end.
pub fn came_to_its_end(row: &VmRow) -> bool {
    row.power == wire::VmPower::Absent.as_str_name()
        && last(row).is_some_and(|said| {
            said.power() == wire::VmPower::Absent
                && said.failure.is_none()
                && said.generation == row.intent.generation
                && said.intent_revision == row.intent.revision
        })
}

/// Files that a host put aside and holds.
pub fn held(host: HostId, item: &Quarantined, keep: &Keep) -> wire::Quarantined {
    wire::Quarantined {
        id: item.id.to_string(),
        host_id: host.to_string(),
        instance_id: item.instance.to_string(),
        tenant: item.tenant.clone(),
        instance_name: item.name.clone(),
        generation: item.generation,
        reason: match item.reason {
            QuarantineReason::Deleted => wire::QuarantineReason::Deleted,
            QuarantineReason::LeftHost => wire::QuarantineReason::LeftHost,
            QuarantineReason::OlderOwnership => wire::QuarantineReason::OlderOwnership,
        }
        .into(),
        state: wire::QuarantineState::Held.into(),
        dropped: wire::DropReason::Unspecified.into(),
        revision: 1,
        size_bytes: item.size.0,
        at_us: item.at.micros(),
        expires_at_us: keep.until(item).micros(),
    }
}

/// Why files are removed, in the words of the wire.
pub fn drop_reason(reason: DropReason) -> wire::DropReason {
    match reason {
        DropReason::Expired => wire::DropReason::Expired,
        DropReason::Ordered => wire::DropReason::Ordered,
        DropReason::Room => wire::DropReason::Room,
    }
}

/// The same files, no longer held.
pub fn no_longer_held(
    held: &wire::Quarantined,
    state: wire::QuarantineState,
    dropped: wire::DropReason,
) -> wire::Quarantined {
    wire::Quarantined {
        state: state.into(),
        dropped: dropped.into(),
        revision: held.revision + 1,
        ..held.clone()
    }
}

/// A request about files that a host does not hold ended without them.
pub fn not_held(order: &DropOrder) -> wire::QuarantineChanged {
    let message = format!("its host holds no files in quarantine under {}", order.quarantine_id);
    let item = wire::Quarantined {
        id: order.quarantine_id.clone(),
        host_id: order.host.clone(),
        // the last token of a subject is never empty
        instance_id: order.quarantine_id.clone(),
        tenant: order.cause.tenant.clone(),
        state: wire::QuarantineState::Unknown.into(),
        ..wire::Quarantined::default()
    };
    let refusal = Refusal::new("NOT_FOUND", message);
    let operations = vec![common::OperationProgress {
        operation_id: order.operation_id.clone(),
        state: common::OperationState::Failed.into(),
        step: "drop".to_owned(),
        refusal: Some(refusal.into()),
    }];
    wire::QuarantineChanged { item: Some(item), operations }
}

/// An order to remove files was carried out.
pub fn drop_done(operation_id: &str) -> common::OperationProgress {
    common::OperationProgress {
        operation_id: operation_id.to_owned(),
        state: common::OperationState::Succeeded.into(),
        step: "dropped".to_owned(),
        refusal: None,
    }
}

/// The power in the words of the wire.
pub fn power(power: SaidPower) -> wire::VmPower {
    match power {
        SaidPower::Running => wire::VmPower::Running,
        SaidPower::Stopped => wire::VmPower::Stopped,
        SaidPower::Paused => wire::VmPower::Paused,
        SaidPower::Absent => wire::VmPower::Absent,
        SaidPower::Crashed => wire::VmPower::Crashed,
        SaidPower::Unknown => wire::VmPower::Unknown,
    }
}

/// Why a VM is not as ordered, in the words of the wire.
fn reason(reason: Option<Reason>) -> wire::VmReason {
    match reason {
        None => wire::VmReason::Unspecified,
        Some(Reason::IoError) => wire::VmReason::IoError,
        Some(Reason::GuestSuspended) => wire::VmReason::GuestSuspended,
        Some(Reason::PausedByHand) => wire::VmReason::PausedByHand,
        Some(Reason::HypervisorBusy) => wire::VmReason::HypervisorBusy,
        Some(Reason::GuestShutDown) => wire::VmReason::GuestShutDown,
        Some(Reason::GuestCrashed) => wire::VmReason::GuestCrashed,
        Some(Reason::PowerTaken) => wire::VmReason::PowerTaken,
    }
}

/// A drift and what became of it.
pub fn drifted(row: &VmRow, drift: &Drift, end: DriftEnd) -> wire::VmDrifted {
    let kind = match drift.kind {
        DriftKind::Stopped => wire::DriftKind::Stopped,
        DriftKind::Running => wire::DriftKind::Running,
        DriftKind::Undefined => wire::DriftKind::Undefined,
        DriftKind::Redefined => wire::DriftKind::Redefined,
        DriftKind::Paused => wire::DriftKind::Paused,
        DriftKind::Rebooted => wire::DriftKind::Rebooted,
    };
    wire::VmDrifted {
        instance_id: row.key.instance.to_string(),
        host_id: row.key.host.to_string(),
        tenant: row.tenant.clone(),
        kind: kind.into(),
        action: drift_action(end).into(),
        detail: drift.detail.clone(),
    }
}

fn drift_action(end: DriftEnd) -> wire::DriftAction {
    match end {
        DriftEnd::Repaired => wire::DriftAction::Repaired,
        DriftEnd::Adopted => wire::DriftAction::Adopted,
        DriftEnd::Reported => wire::DriftAction::Reported,
    }
}

/// A VM with our mark that no order names.
pub fn orphan(key: VmKey, removed: bool) -> wire::VmDrifted {
    let end = if removed { DriftEnd::Repaired } else { DriftEnd::Reported };
    let done = if removed { "it was removed" } else { "it was left alone" };
    wire::VmDrifted {
        instance_id: key.instance.to_string(),
        host_id: key.host.to_string(),
        tenant: kernel::PLATFORM.to_owned(),
        kind: wire::DriftKind::Orphan.into(),
        action: drift_action(end).into(),
        detail: format!("the hypervisor has a VM with our mark that nobody ordered; {done}"),
    }
}

/// A driver in the words of the wire.
pub fn driver(kind: DriverKind) -> common::Driver {
    match kind {
        DriverKind::Libvirt => common::Driver::Libvirt,
        DriverKind::CloudHypervisor => common::Driver::CloudHypervisor,
        DriverKind::Firecracker => common::Driver::Firecracker,
        DriverKind::Simulated => common::Driver::Simulated,
    }
}

/// What holds for a whole host.
pub fn condition(condition: &Condition, now: Timestamp) -> wire::HostCondition {
    wire::HostCondition {
        code: condition.cause.code().to_owned(),
        message: condition.message.clone(),
        since_us: now.micros(),
    }
}

/// What a driver can do.
pub fn driver_report(can: &Capabilities) -> wire::DriverReport {
    wire::DriverReport {
        driver: driver(can.driver).into(),
        version: can.version.clone(),
        acceleration: can.acceleration.clone(),
        direct_kernel_boot: can.direct_kernel_boot,
        disk_boot: can.disk_boot,
        guest_agent: can.guest_agent,
        console: can.console,
        pause: can.pause,
    }
}

/// What a program wrote, to be sealed.
pub fn exec_output(outcome: &ExecOutcome) -> Vec<u8> {
    wire::ExecOutput {
        stdout: outcome.stdout.clone(),
        stderr: outcome.stderr.clone(),
        truncated: outcome.truncated,
    }
    .encode_to_vec()
}

/// A program ended, or was refused.
pub fn exec_finished(exec: &ExecRow, ended: Result<(i32, common::Sealed), Refusal>) -> wire::ExecFinished {
    let (exit_code, output, state, refusal) = match ended {
        Ok((code, output)) => (code, Some(output), common::OperationState::Succeeded, None),
        Err(refusal) => (-1, None, common::OperationState::Failed, Some(refusal.into())),
    };
    wire::ExecFinished {
        instance_id: exec.key.instance.to_string(),
        host_id: exec.key.host.to_string(),
        tenant: exec.tenant.clone(),
        exit_code,
        output,
        operations: vec![common::OperationProgress {
            operation_id: exec.operation_id.clone(),
            state: state.into(),
            step: "exec".to_owned(),
            refusal,
        }],
    }
}
