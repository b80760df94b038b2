//! Objects of the read model as the rules of admission see them, and their verdicts as statuses.

use crate::domain::admission::{ImagePhase, ImageVerdict, Phase, Seen};
use contracts::scheduler::v1::{self as scheduler, DesiredPower, Instance};
use contracts::storage::v1::{self as storage, Image};
use gateway_api::translate::status;
use tonic::{Code, Status};

/// An instance as its requests are judged.
pub fn seen(instance: &Instance) -> Seen {
    use scheduler::InstancePhase as Wire;
    let phase = match Wire::try_from(instance.phase) {
        Ok(Wire::Pending) => Phase::Pending,
        Ok(Wire::Starting) => Phase::Starting,
        Ok(Wire::Running) => Phase::Running,
        Ok(Wire::Ready) => Phase::Ready,
        Ok(Wire::Stopping) => Phase::Stopping,
        Ok(Wire::Stopped) => Phase::Stopped,
        Ok(Wire::Paused) => Phase::Paused,
        Ok(Wire::Deleting) => Phase::Deleting,
        Ok(Wire::Failed) => Phase::Failed,
        Ok(Wire::Relocating) => Phase::Relocating,
        // deleted ones are not found
        Ok(Wire::Deleted | Wire::Unspecified) | Err(_) => Phase::Unknown,
    };
    let busy_with = instance
        .operation
        .as_ref()
        .map(|operation| operation.kind().as_str_name().trim_start_matches("OPERATION_KIND_").to_lowercase());
    Seen {
        phase,
        wants_running: instance.desired == DesiredPower::Running as i32,
        guest_agent: instance.boot.as_ref().is_some_and(|boot| boot.guest_agent),
        busy_with: busy_with.unwrap_or_default(),
    }
}

/// Where an image is.
pub fn image_phase(image: &Image) -> ImagePhase {
    use storage::ImagePhase as Wire;
    match Wire::try_from(image.phase) {
        Ok(Wire::Importing) => ImagePhase::Importing,
        Ok(Wire::Ready) => ImagePhase::Ready,
        Ok(Wire::Rejected) => ImagePhase::Rejected,
        Ok(Wire::Deleting | Wire::Deleted) => ImagePhase::Gone,
        Ok(Wire::Unspecified) | Err(_) => ImagePhase::Unknown,
    }
}

/// What a caller is told who wants to boot from the image they call `name`; `size_field` said how big the disk is.
pub fn image_refused(verdict: ImageVerdict, name: &str, size_field: &str) -> Status {
    match verdict {
        ImageVerdict::NotThere => status::not_found("image", "image", name),
        ImageVerdict::NotNow(refusal) => status::refused(Code::FailedPrecondition, refusal, "image"),
        ImageVerdict::TooLittle(refusal) => status::refused(Code::InvalidArgument, refusal, size_field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::scheduler::v1::{BootSource, CurrentOperation, InstancePhase, OperationKind};

    #[test]
    fn an_instance_is_seen_as_its_owner_said_it() {
        let operation =
            CurrentOperation { kind: OperationKind::Reboot as i32, ..CurrentOperation::default() };
        let instance = Instance {
            phase: InstancePhase::Starting as i32,
            desired: DesiredPower::Running as i32,
            operation: Some(operation),
            boot: Some(BootSource { guest_agent: true, ..BootSource::default() }),
            ..Instance::default()
        };
        let expected = Seen {
            phase: Phase::Starting,
            wants_running: true,
            guest_agent: true,
            busy_with: "reboot".into(),
        };
        assert_eq!(seen(&instance), expected);
        assert_eq!(seen(&Instance { phase: 99, ..instance }).phase, Phase::Unknown);
    }
}
