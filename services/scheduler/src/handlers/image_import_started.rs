//! An image is on its way.

use crate::store::images;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::storage::v1::ImageImportStarted;

/// Handles `ImageImportStarted`.
pub struct OnImageImportStarted;

#[async_trait]
impl Handle<ImageImportStarted> for OnImageImportStarted {
    async fn handle(&self, work: &mut Work, event: ImageImportStarted) -> Result<(), Failure> {
        let image = event.image.ok_or_else(|| Failure::Poison("image: is missing".to_owned()))?;
        images::restore(work.tx(), &image).await?;
        Ok(())
    }
}
