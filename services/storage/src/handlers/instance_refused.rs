//! `InstanceRefused`: an instance never came to be.

use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::InstanceRefused;

/// Takes note of `InstanceRefused`.
pub struct InstanceRefusedHandler;

#[async_trait]
impl Handle<InstanceRefused> for InstanceRefusedHandler {
    async fn handle(&self, work: &mut Work, message: InstanceRefused) -> Result<(), Failure> {
        super::note_use(work, message.instance, false).await
    }
}
