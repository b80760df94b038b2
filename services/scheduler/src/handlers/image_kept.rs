//! An image was not removed after all.

use crate::store::images;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::storage::v1::ImageKept;

/// Handles `ImageKept`.
pub struct OnImageKept;

#[async_trait]
impl Handle<ImageKept> for OnImageKept {
    async fn handle(&self, work: &mut Work, event: ImageKept) -> Result<(), Failure> {
        let image = event.image.ok_or_else(|| Failure::Poison("image: is missing".to_owned()))?;
        images::restore(work.tx(), &image).await?;
        Ok(())
    }
}
