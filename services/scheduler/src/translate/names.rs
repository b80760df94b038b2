//! Enumerations on the wire and in the domain.

use super::Invalid;
use crate::domain::lifecycle::{OperationStanding, Power, Seen};
use contracts::common::v1 as common;
use contracts::host_driver::v1 as vm;
use contracts::scheduler::v1 as wire;
use scheduler_placement::host::{Driver, HostState};
use scheduler_placement::instance::{
    Desired, DiskFormat, OperationKind, Phase, Policy, RestartPolicy, Role, Unordered, VmReason,
};

fn unknown(field: &'static str, number: i32) -> Invalid {
    Invalid::new(field, format!("{number} is not a value this version knows"))
}

/// A driver; none when it was left open.
pub fn driver(number: i32) -> Result<Option<Driver>, Invalid> {
    match common::Driver::try_from(number) {
        Ok(common::Driver::Unspecified) => Ok(None),
        Ok(common::Driver::Libvirt) => Ok(Some(Driver::Libvirt)),
        Ok(common::Driver::CloudHypervisor) => Ok(Some(Driver::CloudHypervisor)),
        Ok(common::Driver::Firecracker) => Ok(Some(Driver::Firecracker)),
        Ok(common::Driver::Simulated) => Ok(Some(Driver::Simulated)),
        Err(_) => Err(unknown("driver", number)),
    }
}

/// A driver, or that it was left open.
pub fn driver_out(driver: Option<Driver>) -> i32 {
    match driver {
        None => common::Driver::Unspecified,
        Some(Driver::Libvirt) => common::Driver::Libvirt,
        Some(Driver::CloudHypervisor) => common::Driver::CloudHypervisor,
        Some(Driver::Firecracker) => common::Driver::Firecracker,
        Some(Driver::Simulated) => common::Driver::Simulated,
    }
    .into()
}

/// A restart policy; always when it was left open.
pub fn restart_policy(number: i32) -> Result<RestartPolicy, Invalid> {
    match common::RestartPolicy::try_from(number) {
        Ok(common::RestartPolicy::Unspecified | common::RestartPolicy::Always) => Ok(RestartPolicy::Always),
        Ok(common::RestartPolicy::OnFailure) => Ok(RestartPolicy::OnFailure),
        Ok(common::RestartPolicy::Never) => Ok(RestartPolicy::Never),
        Err(_) => Err(unknown("restart_policy", number)),
    }
}

/// A restart policy.
pub fn restart_policy_out(policy: RestartPolicy) -> i32 {
    match policy {
        RestartPolicy::Always => common::RestartPolicy::Always,
        RestartPolicy::OnFailure => common::RestartPolicy::OnFailure,
        RestartPolicy::Never => common::RestartPolicy::Never,
    }
    .into()
}

/// A placement policy; spread when it was left open.
pub fn policy(number: i32) -> Result<Policy, Invalid> {
    match wire::PlacementPolicy::try_from(number) {
        Ok(wire::PlacementPolicy::Unspecified | wire::PlacementPolicy::Spread) => Ok(Policy::Spread),
        Ok(wire::PlacementPolicy::Pack) => Ok(Policy::Pack),
        Err(_) => Err(unknown("placement_policy", number)),
    }
}

/// A placement policy.
pub fn policy_out(policy: Policy) -> i32 {
    match policy {
        Policy::Pack => wire::PlacementPolicy::Pack,
        Policy::Spread => wire::PlacementPolicy::Spread,
    }
    .into()
}

/// What an artifact is for.
pub fn role(number: i32) -> Result<Role, Invalid> {
    match common::ArtifactRole::try_from(number) {
        Ok(common::ArtifactRole::Disk) => Ok(Role::Disk),
        Ok(common::ArtifactRole::Kernel) => Ok(Role::Kernel),
        Ok(common::ArtifactRole::Initramfs) => Ok(Role::Initramfs),
        _ => Err(unknown("artifact.role", number)),
    }
}

/// What an artifact is for.
pub fn role_out(role: Role) -> i32 {
    match role {
        Role::Disk => common::ArtifactRole::Disk,
        Role::Kernel => common::ArtifactRole::Kernel,
        Role::Initramfs => common::ArtifactRole::Initramfs,
    }
    .into()
}

/// The layout of a disk; none for other files.
pub fn format(number: i32) -> Result<Option<DiskFormat>, Invalid> {
    match common::DiskFormat::try_from(number) {
        Ok(common::DiskFormat::Unspecified) => Ok(None),
        Ok(common::DiskFormat::Raw) => Ok(Some(DiskFormat::Raw)),
        Ok(common::DiskFormat::Qcow2) => Ok(Some(DiskFormat::Qcow2)),
        Err(_) => Err(unknown("artifact.format", number)),
    }
}

/// The layout of a disk.
pub fn format_out(format: Option<DiskFormat>) -> i32 {
    match format {
        None => common::DiskFormat::Unspecified,
        Some(DiskFormat::Raw) => common::DiskFormat::Raw,
        Some(DiskFormat::Qcow2) => common::DiskFormat::Qcow2,
    }
    .into()
}

/// Where an instance is in its life.
pub fn phase(number: i32) -> Result<Phase, Invalid> {
    match wire::InstancePhase::try_from(number) {
        Ok(wire::InstancePhase::Pending) => Ok(Phase::Pending),
        Ok(wire::InstancePhase::Starting) => Ok(Phase::Starting),
        Ok(wire::InstancePhase::Running) => Ok(Phase::Running),
        Ok(wire::InstancePhase::Ready) => Ok(Phase::Ready),
        Ok(wire::InstancePhase::Stopping) => Ok(Phase::Stopping),
        Ok(wire::InstancePhase::Stopped) => Ok(Phase::Stopped),
        Ok(wire::InstancePhase::Paused) => Ok(Phase::Paused),
        Ok(wire::InstancePhase::Deleting) => Ok(Phase::Deleting),
        Ok(wire::InstancePhase::Deleted) => Ok(Phase::Deleted),
        Ok(wire::InstancePhase::Failed) => Ok(Phase::Failed),
        Ok(wire::InstancePhase::Relocating) => Ok(Phase::Relocating),
        _ => Err(unknown("phase", number)),
    }
}

/// Where an instance is in its life.
pub fn phase_out(phase: Phase) -> wire::InstancePhase {
    match phase {
        Phase::Pending => wire::InstancePhase::Pending,
        Phase::Starting => wire::InstancePhase::Starting,
        Phase::Running => wire::InstancePhase::Running,
        Phase::Ready => wire::InstancePhase::Ready,
        Phase::Stopping => wire::InstancePhase::Stopping,
        Phase::Stopped => wire::InstancePhase::Stopped,
        Phase::Paused => wire::InstancePhase::Paused,
        Phase::Deleting => wire::InstancePhase::Deleting,
        Phase::Deleted => wire::InstancePhase::Deleted,
        Phase::Failed => wire::InstancePhase::Failed,
        Phase::Relocating => wire::InstancePhase::Relocating,
    }
}

/// What an instance should come to.
pub fn desired(number: i32) -> Result<Desired, Invalid> {
    match wire::DesiredPower::try_from(number) {
        Ok(wire::DesiredPower::Running) => Ok(Desired::Running),
        Ok(wire::DesiredPower::Stopped) => Ok(Desired::Stopped),
        Ok(wire::DesiredPower::Paused) => Ok(Desired::Paused),
        Ok(wire::DesiredPower::Absent) => Ok(Desired::Absent),
        _ => Err(unknown("desired", number)),
    }
}

/// What an instance should come to.
pub fn desired_out(desired: Desired) -> i32 {
    match desired {
        Desired::Running => wire::DesiredPower::Running,
        Desired::Stopped => wire::DesiredPower::Stopped,
        Desired::Paused => wire::DesiredPower::Paused,
        Desired::Absent => wire::DesiredPower::Absent,
    }
    .into()
}

/// What an operation waits for.
pub fn operation_kind(number: i32) -> Result<OperationKind, Invalid> {
    match wire::OperationKind::try_from(number) {
        Ok(wire::OperationKind::Create) => Ok(OperationKind::Create),
        Ok(wire::OperationKind::Start) => Ok(OperationKind::Start),
        Ok(wire::OperationKind::Stop) => Ok(OperationKind::Stop),
        Ok(wire::OperationKind::Reboot) => Ok(OperationKind::Reboot),
        Ok(wire::OperationKind::Pause) => Ok(OperationKind::Pause),
        Ok(wire::OperationKind::Resume) => Ok(OperationKind::Resume),
        Ok(wire::OperationKind::Delete) => Ok(OperationKind::Delete),
        Ok(wire::OperationKind::Restore) => Ok(OperationKind::Restore),
        _ => Err(unknown("operation.kind", number)),
    }
}

/// What an operation waits for.
pub fn operation_kind_out(kind: OperationKind) -> i32 {
    match kind {
        OperationKind::Create => wire::OperationKind::Create,
        OperationKind::Start => wire::OperationKind::Start,
        OperationKind::Stop => wire::OperationKind::Stop,
        OperationKind::Reboot => wire::OperationKind::Reboot,
        OperationKind::Pause => wire::OperationKind::Pause,
        OperationKind::Resume => wire::OperationKind::Resume,
        OperationKind::Delete => wire::OperationKind::Delete,
        OperationKind::Restore => wire::OperationKind::Restore,
    }
    .into()
}

/// What a VM was seen doing.
pub fn seen(number: i32) -> Result<Seen, Invalid> {
    match vm::VmPower::try_from(number) {
        Ok(vm::VmPower::Running) => Ok(Seen::Running),
        Ok(vm::VmPower::Stopped) => Ok(Seen::Stopped),
        Ok(vm::VmPower::Paused) => Ok(Seen::Paused),
        Ok(vm::VmPower::Absent) => Ok(Seen::Absent),
        Ok(vm::VmPower::Crashed) => Ok(Seen::Crashed),
        Ok(vm::VmPower::Unknown) => Ok(Seen::Unknown),
        _ => Err(unknown("observation.power", number)),
    }
}

/// Why a VM is not as ordered; none when it is.
pub fn unordered(number: i32, words: String) -> Result<Option<Unordered>, Invalid> {
    let reason = match vm::VmReason::try_from(number) {
        Ok(vm::VmReason::Unspecified) => return Ok(None),
        Ok(vm::VmReason::IoError) => VmReason::IoError,
        Ok(vm::VmReason::GuestSuspended) => VmReason::GuestSuspended,
        Ok(vm::VmReason::PausedByHand) => VmReason::PausedByHand,
        Ok(vm::VmReason::HypervisorBusy) => VmReason::HypervisorBusy,
        Ok(vm::VmReason::GuestShutDown) => VmReason::GuestShutDown,
        Ok(vm::VmReason::GuestCrashed) => VmReason::GuestCrashed,
        Ok(vm::VmReason::PowerTaken) => VmReason::PowerTaken,
        Err(_) => return Err(unknown("reason", number)),
    };
    Ok(Some(Unordered { reason, words }))
}

/// Why a VM is not as ordered.
pub fn vm_reason_out(reason: Option<VmReason>) -> i32 {
    match reason {
        None => vm::VmReason::Unspecified,
        Some(VmReason::IoError) => vm::VmReason::IoError,
        Some(VmReason::GuestSuspended) => vm::VmReason::GuestSuspended,
        Some(VmReason::PausedByHand) => vm::VmReason::PausedByHand,
        Some(VmReason::HypervisorBusy) => vm::VmReason::HypervisorBusy,
        Some(VmReason::GuestShutDown) => vm::VmReason::GuestShutDown,
        Some(VmReason::GuestCrashed) => vm::VmReason::GuestCrashed,
        Some(VmReason::PowerTaken) => vm::VmReason::PowerTaken,
    }
    .into()
}

/// What a host should make of a VM.
pub fn power_out(power: Power) -> i32 {
    match power {
        Power::Running => vm::VmPower::Running,
        Power::Stopped => vm::VmPower::Stopped,
        Power::Paused => vm::VmPower::Paused,
        Power::Absent => vm::VmPower::Absent,
    }
    .into()
}

/// Where an operation stands.
pub fn standing_out(standing: OperationStanding) -> common::OperationState {
    match standing {
        OperationStanding::Running => common::OperationState::Running,
        OperationStanding::Succeeded => common::OperationState::Succeeded,
        OperationStanding::Failed => common::OperationState::Failed,
        OperationStanding::Superseded => common::OperationState::Superseded,
    }
}

/// Whether a host answers.
pub fn host_state(number: i32) -> Result<HostState, Invalid> {
    match wire::HostState::try_from(number) {
        Ok(wire::HostState::Up) => Ok(HostState::Up),
        Ok(wire::HostState::Unreachable) => Ok(HostState::Unreachable),
        _ => Err(unknown("host.state", number)),
    }
}

/// Whether a host answers.
pub fn host_state_out(state: HostState) -> wire::HostState {
    match state {
        HostState::Up => wire::HostState::Up,
        HostState::Unreachable => wire::HostState::Unreachable,
    }
}
