//! A request about an instance: restart its guest.

use super::{Context, advance};
use crate::domain::lifecycle::Input;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::RebootInstance;

/// Handles `RebootInstance`.
pub struct OnRebootInstance(pub Context);

#[async_trait]
impl Handle<RebootInstance> for OnRebootInstance {
    async fn handle(&self, work: &mut Work, command: RebootInstance) -> Result<(), Failure> {
        let ids = (command.tenant.as_str(), command.instance_id.as_str(), command.operation_id.as_str());
        advance::request(work, &self.0, ids, |operation| Input::Reboot { operation }).await
    }
}
