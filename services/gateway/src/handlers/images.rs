//! Images as the storage service says they are.

use super::Projection;
use crate::store::images;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::storage::v1::Image;
use gateway_api::store::uploads;

/// An event that carries an image.
pub(super) struct Project(pub(super) Projection);

#[async_trait]
impl HandleObject<Image> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<Image>) -> Result<(), Failure> {
        let image = &event.object;
        uploads::put(work.tx(), image).await?;
        if images::put(work.tx(), image).await? {
            self.0.wake(work, &image.id);
            let staging = self.0.wakeups.staging();
            work.after_commit(move || staging.notify_one());
        }
        self.0.advance(work, &event.operations, |_| {}).await
    }
}
