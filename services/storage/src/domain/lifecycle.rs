//! The life of an image as one pure step: `step(image, input) -> (image, what is said)`.

use super::artifact::Artifact;
use super::code;
use super::image::{Image, Phase, Request};
use kernel::{Refusal, Timestamp};

/// Something that happened to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// All its files are fetched, verified and kept.
    Verified(Vec<Artifact>),
    /// One of its files is not to be had, or not what it should be.
    Refused(Refusal),
    /// Somebody wants it gone; `users` are the instances that boot from it.
    Delete {
        /// The operation that waits for it.
        operation_id: String,
        /// Names of instances that use it.
        users: Vec<String>,
    },
    /// Instances turned up that were accepted while the deletion began; its files are still all there.
    StillUsed {
        /// Names of instances that use it.
        users: Vec<String>,
    },
    /// No file of it is kept any more.
    FilesGone,
}

/// The event that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The import was taken on.
    ImportStarted,
    /// It is ready.
    Imported,
    /// It was not taken.
    Rejected,
    /// A deletion was refused.
    Kept,
    /// Its files are being removed.
    DeletionStarted,
    /// It is gone.
    Deleted,
}

/// Where an operation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationStage {
    /// Work goes on.
    Running,
    /// Done.
    Succeeded,
    /// Not done, and why.
    Failed(Refusal),
    /// A later request made it pointless.
    Superseded(Refusal),
}

/// An event and the operations it moves on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Which event.
    pub event: Event,
    /// Operation id, the step just done, and where the operation stands.
    pub operations: Vec<(String, &'static str, OperationStage)>,
}

/// At most so many users are named in a refusal.
const USERS_NAMED: usize = 20;

/// Why a name cannot be had.
pub fn name_taken(name: &str) -> Refusal {
    Refusal::new(code::NAME_TAKEN, format!("the name {name:?} belongs to another image of this tenant"))
}

/// A new image, or the answer to a request that cannot be met.
pub fn begin(request: Request, verdict: Result<(), Refusal>, now: Timestamp) -> (Image, Said) {
    let image = Image {
        id: request.id,
        tenant: request.tenant,
        name: request.name,
        revision: 0,
        phase: Phase::Importing,
        sources: request.sources,
        artifacts: Vec::new(),
        architecture: request.architecture,
        kernel_cmdline: request.kernel_cmdline,
        guest_agent: request.guest_agent,
        refusal: None,
        operation_id: request.operation_id,
        created_at: now,
        updated_at: now,
    };
    match verdict {
        Ok(()) => {
            let operation = image.operation_id.clone();
            said(image, now, Event::ImportStarted, vec![(operation, "accepted", OperationStage::Running)])
        }
        Err(refusal) => reject(image, refusal, now),
    }
}

/// The next state of `image`, and what is said about it; `None` when the input changes nothing any more.
pub fn step(image: &Image, input: Input, now: Timestamp) -> Option<(Image, Said)> {
    let mut image = image.clone();
    let operation = image.operation_id.clone();
    match (image.phase, input) {
        (Phase::Importing, Input::Verified(artifacts)) => {
            image.phase = Phase::Ready;
            image.artifacts = artifacts;
            image.operation_id.clear();
            Some(said(image, now, Event::Imported, vec![(operation, "verified", OperationStage::Succeeded)]))
        }
        (Phase::Importing, Input::Refused(refusal)) => Some(reject(image, refusal, now)),
        // called off, or already decided by another replica
        (_, Input::Verified(_) | Input::Refused(_)) => None,

        // the same request again
        (Phase::Importing | Phase::Deleting, Input::Delete { operation_id, .. })
            if operation_id == operation =>
        {
            None
        }
        (Phase::Ready, Input::Delete { operation_id, users }) if !users.is_empty() => Some(said(
            image,
            now,
            Event::Kept,
            vec![(operation_id, "checked", OperationStage::Failed(in_use(&users)))],
        )),
        (Phase::Importing | Phase::Ready | Phase::Deleting, Input::Delete { operation_id, .. }) => {
            let mut operations = vec![(operation_id.clone(), "accepted", OperationStage::Running)];
            if !operation.is_empty() {
                let refusal = Refusal::new(code::SUPERSEDED, "a later request deletes the image");
                operations.push((operation, "called off", OperationStage::Superseded(refusal)));
            }
            image.phase = Phase::Deleting;
            image.operation_id = operation_id;
            Some(said(image, now, Event::DeletionStarted, operations))
        }
        // nothing of it is kept: there is nothing to wait for
        (Phase::Rejected | Phase::Deleted, Input::Delete { operation_id, .. }) => {
            image.phase = Phase::Deleted;
            Some(said(image, now, Event::Deleted, vec![(operation_id, "removed", OperationStage::Succeeded)]))
        }

        (Phase::Deleting, Input::StillUsed { users }) if !image.artifacts.is_empty() && !users.is_empty() => {
            image.phase = Phase::Ready;
            image.operation_id.clear();
            Some(said(
                image,
                now,
                Event::Kept,
                vec![(operation, "checked", OperationStage::Failed(in_use(&users)))],
            ))
        }
        (Phase::Deleting, Input::FilesGone) => {
            image.phase = Phase::Deleted;
            image.operation_id.clear();
            Some(said(image, now, Event::Deleted, vec![(operation, "removed", OperationStage::Succeeded)]))
        }
        (_, Input::StillUsed { .. } | Input::FilesGone) => None,
    }
}

fn reject(mut image: Image, refusal: Refusal, now: Timestamp) -> (Image, Said) {
    image.phase = Phase::Rejected;
    image.refusal = Some(refusal.clone());
    let operation = std::mem::take(&mut image.operation_id);
    said(image, now, Event::Rejected, vec![(operation, "refused", OperationStage::Failed(refusal))])
}

fn in_use(users: &[String]) -> Refusal {
    let message = match users.len() {
        1 => "an instance boots from this image".to_owned(),
        n => format!("{n} instances boot from this image"),
    };
    let named = users.iter().take(USERS_NAMED).map(|name| format!("instance {name}"));
    let rest = users.len().saturating_sub(USERS_NAMED);
    let more = (rest > 0).then(|| format!("and {rest} more"));
    Refusal::new(code::IMAGE_IN_USE, message).because(named.chain(more))
}

/// Every event has a revision of its own, so that none is taken for one already seen.
fn said(
    mut image: Image,
    now: Timestamp,
    event: Event,
    operations: Vec<(String, &'static str, OperationStage)>,
) -> (Image, Said) {
    image.revision += 1;
    image.updated_at = now;
    (image, Said { event, operations })
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
