//! An image is gone.

use crate::store::images;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::storage::v1::ImageDeleted;

/// Handles `ImageDeleted`.
pub struct OnImageDeleted;

#[async_trait]
impl Handle<ImageDeleted> for OnImageDeleted {
    async fn handle(&self, work: &mut Work, event: ImageDeleted) -> Result<(), Failure> {
        let image = event.image.ok_or_else(|| Failure::Poison("image: is missing".to_owned()))?;
        images::restore(work.tx(), &image).await?;
        Ok(())
    }
}
