//! `InstanceDeleted`: an instance is gone; its image may go too.

use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::InstanceDeleted;

/// Takes note of `InstanceDeleted`.
pub struct InstanceDeletedHandler;

#[async_trait]
impl Handle<InstanceDeleted> for InstanceDeletedHandler {
    async fn handle(&self, work: &mut Work, message: InstanceDeleted) -> Result<(), Failure> {
        super::note_use(work, message.instance, false).await
    }
}
