//! A request about an instance: bring it up.

use super::{Context, advance};
use crate::domain::lifecycle::Input;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::StartInstance;

/// Handles `StartInstance`.
pub struct OnStartInstance(pub Context);

#[async_trait]
impl Handle<StartInstance> for OnStartInstance {
    async fn handle(&self, work: &mut Work, command: StartInstance) -> Result<(), Failure> {
        let ids = (command.tenant.as_str(), command.instance_id.as_str(), command.operation_id.as_str());
        advance::request(work, &self.0, ids, |operation| Input::Start { operation }).await
    }
}
