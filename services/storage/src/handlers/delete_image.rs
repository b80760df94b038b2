//! `DeleteImage`: refuse while instances boot from it, else begin the removal.

use crate::Wakes;
use crate::domain::image::Phase;
use crate::domain::lifecycle::{self, Input};
use crate::store::{self, files, images, uses, work as attempts};
use crate::translate;
use ::store::Store;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::storage::v1::DeleteImage;

/// Obeys `DeleteImage`.
pub struct DeleteImageHandler {
    /// Of this service.
    pub store: Store,
    /// Woken when there is something to remove, or an import to call off.
    pub wakes: Wakes,
}

#[async_trait]
impl Handle<DeleteImage> for DeleteImageHandler {
    async fn handle(&self, work: &mut Work, message: DeleteImage) -> Result<(), Failure> {
        if message.operation_id.is_empty() || message.tenant.is_empty() {
            return Err(Failure::Poison("DeleteImage without operation_id or tenant".into()));
        }
        self.store.lock(work.tx(), files::LOCK).await?;
        let Some(image) = images::load_of(work.tx(), &message.tenant, &message.image_id).await? else {
            translate::not_found(work, &message);
            return Ok(());
        };
        let users = uses::users(work.tx(), image.id).await?;
        let input = Input::Delete { operation_id: message.operation_id, users };
        let Some(next) = lifecycle::step(&image, input, work.now()) else { return Ok(()) };
        if next.0.phase == Phase::Deleting {
            let cause = work.cause().clone();
            attempts::begin(work.tx(), image.id, &cause).await?;
            let wakes = self.wakes.clone();
            work.after_commit(move || wakes.all());
        }
        Ok(store::advance(work, &image, next).await?)
    }
}
