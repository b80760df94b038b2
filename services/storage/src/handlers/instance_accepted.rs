//! `InstanceAccepted`: an instance exists and boots from an image.

use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::InstanceAccepted;

/// Takes note of `InstanceAccepted`.
pub struct InstanceAcceptedHandler;

#[async_trait]
impl Handle<InstanceAccepted> for InstanceAcceptedHandler {
    async fn handle(&self, work: &mut Work, message: InstanceAccepted) -> Result<(), Failure> {
        super::note_use(work, message.instance, true).await
    }
}
