//! `DropQuarantined`: the order is written down, once per operation.

use crate::hosts::Hosts;
use crate::store::hosts;
use crate::store::quarantine::{self, DropOrder};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::host_driver::v1::DropQuarantined;
use kernel::{HostId, QuarantineId};
use std::sync::Arc;
use tokio::sync::Notify;

/// Takes orders to remove files that were put aside.
pub struct DropQuarantinedHandler {
    /// The hosts this process answers for.
    pub hosts: Arc<Hosts>,
    /// Wakes who removes them.
    pub wake: Arc<Notify>,
}

#[async_trait]
impl Handle<DropQuarantined> for DropQuarantinedHandler {
    async fn handle(&self, unit: &mut Work, message: DropQuarantined) -> Result<(), Failure> {
        let host: HostId = message.host_id.parse().map_err(|e| Failure::Poison(format!("host_id: {e}")))?;
        if self.hosts.get(host).is_none() && !hosts::known(unit.tx(), host).await? {
            // the host may come with the next start of this process, under other settings
            return Err(Failure::Transient(format!("host {host} is not one of this process")));
        }
        if message.operation_id.is_empty() {
            return Err(Failure::Poison("operation_id is empty".into()));
        }
        let id: QuarantineId =
            message.quarantine_id.parse().map_err(|e| Failure::Poison(format!("quarantine_id: {e}")))?;
        let mut cause = unit.cause().clone();
        cause.tenant.clone_from(&message.tenant);
        let order = DropOrder {
            operation_id: message.operation_id,
            host: host.to_string(),
            quarantine_id: id.to_string(),
            cause,
        };
        quarantine::order(unit.tx(), &order).await?;
        let wake = self.wake.clone();
        unit.after_commit(move || wake.notify_one());
        Ok(())
    }
}
