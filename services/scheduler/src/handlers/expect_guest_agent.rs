//! A request about an instance: wait for the agent in its guest, or no longer.

use super::{Context, advance};
use crate::domain::lifecycle::Input;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::ExpectGuestAgent;

/// Handles `ExpectGuestAgent`.
pub struct OnExpectGuestAgent(pub Context);

#[async_trait]
impl Handle<ExpectGuestAgent> for OnExpectGuestAgent {
    async fn handle(&self, work: &mut Work, command: ExpectGuestAgent) -> Result<(), Failure> {
        let ids = (command.tenant.as_str(), command.instance_id.as_str(), command.operation_id.as_str());
        let expected = command.expected;
        advance::request(work, &self.0, ids, |operation| Input::ExpectAgent { operation, expected }).await
    }
}
