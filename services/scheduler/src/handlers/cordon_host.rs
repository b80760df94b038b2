//! Place nothing new on a host.

use super::{Context, hosts};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::CordonHost;

/// Handles `CordonHost`.
pub struct OnCordonHost(pub Context);

#[async_trait]
impl Handle<CordonHost> for OnCordonHost {
    async fn handle(&self, work: &mut Work, command: CordonHost) -> Result<(), Failure> {
        let CordonHost { host_id, operation_id, reason } = command;
        hosts::request(work, &self.0, (&host_id, &operation_id), |host, now| {
            (host.cordon(reason, now), "cordoned")
        })
        .await
    }
}
