//! Images as the storage service says they are.

use super::Projection;
use crate::store::{images, uploads};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::common::v1::OperationProgress;
use contracts::storage::v1::Image;
use kernel::Message;

type Open<M> = fn(M) -> (Option<Image>, Vec<OperationProgress>);

/// An event that carries an image.
pub(super) struct Project<M> {
    on: Projection,
    open: Open<M>,
}

pub(super) fn project<M: Message>(on: &Projection, open: Open<M>) -> Project<M> {
    Project { on: on.clone(), open }
}

#[async_trait]
impl<M: Message> Handle<M> for Project<M> {
    async fn handle(&self, work: &mut Work, message: M) -> Result<(), Failure> {
        let (image, progress) = (self.open)(message);
        let Some(image) = image else {
            return Err(Failure::Poison(format!("{} without an image", M::NAME)));
        };
        uploads::put(work.tx(), &image).await?;
        if images::put(work.tx(), &image).await? {
            self.on.wake(work, &image.id);
            let staging = self.on.wakeups.staging();
            work.after_commit(move || staging.notify_one());
        }
        self.on.advance(work, &progress, |_| {}).await
    }
}
