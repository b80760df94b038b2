//! An image was not taken.

use crate::store::images;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::storage::v1::ImageRejected;

/// Handles `ImageRejected`.
pub struct OnImageRejected;

#[async_trait]
impl Handle<ImageRejected> for OnImageRejected {
    async fn handle(&self, work: &mut Work, event: ImageRejected) -> Result<(), Failure> {
        let image = event.image.ok_or_else(|| Failure::Poison("image: is missing".to_owned()))?;
        images::restore(work.tx(), &image).await?;
        Ok(())
    }
}
