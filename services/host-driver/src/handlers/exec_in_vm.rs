//! `ExecInVm`: the request is written down, once per operation.

use crate::hosts::Hosts;
use crate::store::execs::{self, ExecRow};
use crate::store::{VmKey, hosts};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::host_driver::v1::ExecInVm;
use kernel::limits::EXEC_TIMEOUT_S;
use prost::Message;
use std::sync::Arc;
use tokio::sync::Notify;

/// Takes requests to run programs.
pub struct ExecInVmHandler {
    /// The hosts this process answers for.
    pub hosts: Arc<Hosts>,
    /// Wakes who runs them.
    pub wake: Arc<Notify>,
}

#[async_trait]
impl Handle<ExecInVm> for ExecInVmHandler {
    async fn handle(&self, unit: &mut Work, message: ExecInVm) -> Result<(), Failure> {
        let key = VmKey {
            host: message.host_id.parse().map_err(|e| Failure::Poison(format!("host_id: {e}")))?,
            instance: message
                .instance_id
                .parse()
                .map_err(|e| Failure::Poison(format!("instance_id: {e}")))?,
        };
        // what a host of an earlier start of this process is ordered is kept until it is back
        if self.hosts.get(key.host).is_none() && !hosts::known(unit.tx(), key.host).await? {
            // the host may come with the next start of this process, under other settings
            return Err(Failure::Transient(format!("host {} is not one of this process", key.host)));
        }
        if message.operation_id.is_empty() {
            return Err(Failure::Poison("operation_id is empty".into()));
        }
        let request = message.request.ok_or_else(|| Failure::Poison("request is missing".into()))?;
        let exec = ExecRow {
            operation_id: message.operation_id,
            key,
            tenant: message.tenant,
            request: request.encode_to_vec(),
            // one that may take no time at all gets the most there is
            timeout_s: match message.timeout_s {
                0 => EXEC_TIMEOUT_S,
                seconds => seconds.min(EXEC_TIMEOUT_S),
            },
            cause: unit.cause().clone(),
        };
        let now = unit.now();
        execs::ask(unit.tx(), &exec, now).await?;
        let wake = self.wake.clone();
        unit.after_commit(move || wake.notify_one());
        Ok(())
    }
}
