//! Use a host again.

use super::{Context, hosts};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::UncordonHost;

/// Handles `UncordonHost`.
pub struct OnUncordonHost(pub Context);

#[async_trait]
impl Handle<UncordonHost> for OnUncordonHost {
    async fn handle(&self, work: &mut Work, command: UncordonHost) -> Result<(), Failure> {
        let UncordonHost { host_id, operation_id } = command;
        hosts::request(work, &self.0, (&host_id, &operation_id), |host, now| {
            (host.uncordon(now), "uncordoned")
        })
        .await
    }
}
