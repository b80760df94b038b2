//! An image is being removed: nothing new boots from it.

use crate::store::images;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::storage::v1::ImageDeletionStarted;

/// Handles `ImageDeletionStarted`.
pub struct OnImageDeletionStarted;

#[async_trait]
impl Handle<ImageDeletionStarted> for OnImageDeletionStarted {
    async fn handle(&self, work: &mut Work, event: ImageDeletionStarted) -> Result<(), Failure> {
        let image = event.image.ok_or_else(|| Failure::Poison("image: is missing".to_owned()))?;
        images::restore(work.tx(), &image).await?;
        Ok(())
    }
}
