//! A request about an instance: shut it down.

use super::{Context, advance};
use crate::domain::lifecycle::Input;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::StopInstance;

/// Handles `StopInstance`.
pub struct OnStopInstance(pub Context);

#[async_trait]
impl Handle<StopInstance> for OnStopInstance {
    async fn handle(&self, work: &mut Work, command: StopInstance) -> Result<(), Failure> {
        let ids = (command.tenant.as_str(), command.instance_id.as_str(), command.operation_id.as_str());
        advance::request(work, &self.0, ids, |operation| Input::Stop { operation, grace_s: command.grace_s })
            .await
    }
}
