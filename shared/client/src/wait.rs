//! Following an operation to its end.

use super::{Exit, Failure, Gateway};
use contracts::common::v1::OperationState;
use contracts::gateway::v1::{Operation, WaitOperationRequest};
use std::time::Duration;
use tokio::time::Instant;

/// The gateway holds a wait this long before it answers with the operation as it is.
const ONE_WAIT: Duration = Duration::from_secs(20);

/// News while waiting.
#[derive(Debug)]
pub enum Waited<'a> {
    /// The operation changed.
    Changed(&'a Operation),
    /// Nothing happened for a while.
    Quiet(&'a Operation),
}

/// Waits until the operation has succeeded and returns it; `news` hears of every change.
///
/// Fails with the operation's refusal when it failed or was superseded, and with [`Exit::Timeout`] when `limit` is up
/// (the operation goes on all the same).
pub async fn wait_for_operation(
    gateway: &Gateway,
    operation_id: &str,
    limit: Option<Duration>,
    mut news: impl AsyncFnMut(Waited<'_>),
) -> Result<Operation, Failure> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let mut seen = 0;
    loop {
        let left = deadline.map_or(ONE_WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
        let wait = left.min(ONE_WAIT);
        let request = WaitOperationRequest {
            operation: operation_id.to_owned(),
            after_revision: seen,
            timeout_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1),
        };
        let answer = gateway
            .send(request, None, wait + gateway.request_timeout, async |r| {
                gateway.operations().wait_operation(r).await
            })
            .await?;
        let operation = answer.operation.ok_or_else(|| {
            Failure::new(Exit::Failed, format!("the gateway answered without operation {operation_id}"))
        })?;
        let changed = operation.revision > seen;
        seen = seen.max(operation.revision);
        news(if changed { Waited::Changed(&operation) } else { Waited::Quiet(&operation) }).await;
        match operation.state() {
            OperationState::Succeeded => return Ok(operation),
            OperationState::Failed => {
                return Err(Failure::refused(operation.refusal, format!("{} failed", operation.method)));
            }
            OperationState::Superseded => {
                let text = format!("{} was superseded by a later request", operation.method);
                return Err(Failure::refused(operation.refusal, text));
            }
            _ if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                return Err(timeout(operation_id, limit.unwrap_or_default()));
            }
            // a gateway that answers at once without news must not be asked in a tight loop
            _ if !changed => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => {}
        }
    }
}

fn timeout(operation_id: &str, limit: Duration) -> Failure {
    Failure::new(
        Exit::Timeout,
        format!("operation {operation_id} did not end within {} s; it goes on", limit.as_secs()),
    )
    .hint(format!("berth operation wait {operation_id}"))
}
