//! An image can be booted from now.

use crate::store::images;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::storage::v1::ImageImported;

/// Handles `ImageImported`.
pub struct OnImageImported;

#[async_trait]
impl Handle<ImageImported> for OnImageImported {
    async fn handle(&self, work: &mut Work, event: ImageImported) -> Result<(), Failure> {
        let image = event.image.ok_or_else(|| Failure::Poison("image: is missing".to_owned()))?;
        images::restore(work.tx(), &image).await?;
        Ok(())
    }
}
