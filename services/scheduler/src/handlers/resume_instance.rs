//! A request about an instance: let it go on.

use super::{Context, advance};
use crate::domain::lifecycle::Input;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::ResumeInstance;

/// Handles `ResumeInstance`.
pub struct OnResumeInstance(pub Context);

#[async_trait]
impl Handle<ResumeInstance> for OnResumeInstance {
    async fn handle(&self, work: &mut Work, command: ResumeInstance) -> Result<(), Failure> {
        let ids = (command.tenant.as_str(), command.instance_id.as_str(), command.operation_id.as_str());
        advance::request(work, &self.0, ids, |operation| Input::Resume { operation }).await
    }
}
