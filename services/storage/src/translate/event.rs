//! What is said about an image, as messages.

use super::to_wire;
use crate::domain::code;
use crate::domain::image::Image;
use crate::domain::lifecycle::{Event, OperationStage, Said};
use bus::Work;
use contracts::common::v1::{OperationProgress, OperationState};
use contracts::storage::v1 as wire;
use kernel::Refusal;

fn progress((operation_id, step, progress): (String, &'static str, OperationStage)) -> OperationProgress {
    let (state, refusal) = match progress {
        OperationStage::Running => (OperationState::Running, None),
        OperationStage::Succeeded => (OperationState::Succeeded, None),
        OperationStage::Failed(refusal) => (OperationState::Failed, Some(refusal)),
        OperationStage::Superseded(refusal) => (OperationState::Superseded, Some(refusal)),
    };
    OperationProgress {
        operation_id,
        state: state.into(),
        step: step.to_owned(),
        refusal: refusal.map(Into::into),
    }
}

/// Says it with the transaction of `work`.
pub fn say(work: &mut Work, image: &Image, said: Said) {
    let tenant = image.tenant.as_str();
    let operations: Vec<_> = said.operations.into_iter().map(progress).collect();
    let image = Some(to_wire(image));
    match said.event {
        Event::ImportStarted => work.say_for(tenant, &wire::ImageImportStarted { image, operations }),
        Event::Imported => work.say_for(tenant, &wire::ImageImported { image, operations }),
        Event::Rejected => work.say_for(tenant, &wire::ImageRejected { image, operations }),
        Event::Kept => work.say_for(tenant, &wire::ImageKept { image, operations }),
        Event::DeletionStarted => work.say_for(tenant, &wire::ImageDeletionStarted { image, operations }),
        Event::Deleted => work.say_for(tenant, &wire::ImageDeleted { image, operations }),
    }
}

/// Answers a deletion of something this tenant does not have. The image in it has revision 0: nobody's table takes it.
pub fn not_found(work: &mut Work, message: &wire::DeleteImage) {
    let refusal = Refusal::new(code::IMAGE_NOT_FOUND, "there is no such image");
    let image = wire::Image {
        id: message.image_id.clone(),
        tenant: message.tenant.clone(),
        ..wire::Image::default()
    };
    let operations =
        vec![progress((message.operation_id.clone(), "checked", OperationStage::Failed(refusal)))];
    work.say_for(&message.tenant, &wire::ImageKept { image: Some(image), operations });
}
