//! A request about an instance: freeze it.

use super::{Context, advance};
use crate::domain::lifecycle::Input;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::PauseInstance;

/// Handles `PauseInstance`.
pub struct OnPauseInstance(pub Context);

#[async_trait]
impl Handle<PauseInstance> for OnPauseInstance {
    async fn handle(&self, work: &mut Work, command: PauseInstance) -> Result<(), Failure> {
        let ids = (command.tenant.as_str(), command.instance_id.as_str(), command.operation_id.as_str());
        advance::request(work, &self.0, ids, |operation| Input::Pause { operation }).await
    }
}
