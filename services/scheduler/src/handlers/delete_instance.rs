//! A request about an instance: remove it, and its disks.

use super::{Context, advance};
use crate::domain::lifecycle::Input;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::DeleteInstance;

/// Handles `DeleteInstance`.
pub struct OnDeleteInstance(pub Context);

#[async_trait]
impl Handle<DeleteInstance> for OnDeleteInstance {
    async fn handle(&self, work: &mut Work, command: DeleteInstance) -> Result<(), Failure> {
        let ids = (command.tenant.as_str(), command.instance_id.as_str(), command.operation_id.as_str());
        advance::request(work, &self.0, ids, |operation| Input::Delete { operation }).await
    }
}
