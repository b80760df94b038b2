//! What becomes of an image: whether instances can boot from it.

use crate::store::images;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::storage::v1::Image;

/// Handles every event that carries an image.
pub struct OnImage;

#[async_trait]
impl HandleObject<Image> for OnImage {
    async fn handle(&self, work: &mut Work, event: Carried<Image>) -> Result<(), Failure> {
        images::restore(work.tx(), &event.object).await?;
        Ok(())
    }
}
