//! Objects of declared kinds, as their owners say they are.

use super::Projection;
use async_trait::async_trait;
use bus::{Failure, HandleObjects, Work};
use contracts::{Content, Told};

/// An event that carries one.
pub(super) struct Project(pub(super) Projection);

#[async_trait]
impl HandleObjects for Project {
    async fn handle(&self, work: &mut Work, told: Told) -> Result<(), Failure> {
        match &told.content {
            Content::Snapshot(object) if object.revision() > 0 => {
                if ::objects::restore(work.tx(), object, &told.bytes).await? {
                    self.0.wake(work, object.id());
                }
            }
            Content::Forgotten(forgotten) => ::objects::forget(work.tx(), forgotten).await?,
            // only operations hear of it
            Content::Snapshot(_) | Content::Mention(_) | Content::Refused | Content::Other(_) => {}
        }
        self.0.advance(work, &told.operations, |_| {}).await
    }
}
