//! Operations that wait for a host's answer and will not get it: past their deadline, or their instance is gone.
//!
//! The loop only says so; the row changes when the event comes back through the stream, in its order. So an answer
//! that was on its way wins or loses the same way when the tables are rebuilt. Saying it twice changes nothing.

use bus::{Cause, Desk};
use contracts::common::v1::{OperationProgress, OperationState, Refusal};
use contracts::gateway::v1::{Operation, OperationAbandoned};
use contracts::scheduler::v1::InstancePhase;
use gateway_api::store::operations;
use std::time::Duration;

/// How often to look.
pub const PERIOD: Duration = Duration::from_secs(2);
/// Operations of one pass.
const BATCH: i64 = 200;

/// One pass.
pub async fn pass(desk: &Desk) -> anyhow::Result<()> {
    let now = desk.clock().now();
    let deleted = InstancePhase::Deleted as i32;
    let overdue = operations::overdue(desk.store().reader(), now.micros(), deleted, BATCH).await?;
    for operation in overdue {
        let late = operation.deadline_us <= now.micros();
        tracing::warn!(operation = operation.id, method = operation.method, late, "no answer will come");
        let cause = Cause {
            correlation: operation.id.parse().unwrap_or_default(),
            ..Cause::own(crate::SERVICE.name).for_tenant(&operation.tenant)
        };
        let mut work = desk.begin(cause).await?;
        work.say(&abandoned(operation, late));
        work.commit().await?;
    }
    Ok(())
}

fn abandoned(operation: Operation, late: bool) -> OperationAbandoned {
    let refusal = if late {
        Refusal {
            code: "EXEC_TIMED_OUT".into(),
            message: "the host did not answer in time; the program may have run".into(),
            reasons: Vec::new(),
        }
    } else {
        Refusal {
            code: "INSTANCE_DELETED".into(),
            message: "the instance was deleted".into(),
            reasons: Vec::new(),
        }
    };
    let progress = OperationProgress {
        operation_id: operation.id.clone(),
        state: OperationState::Failed as i32,
        step: "abandoned".into(),
        refusal: Some(refusal),
    };
    OperationAbandoned { operation_id: operation.id, operations: vec![progress] }
}
