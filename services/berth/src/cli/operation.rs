//! `berth operation`.

use super::Session;
use super::arguments::duration;
use super::session::all_pages;
use crate::output::{Table, age, fields, local_time, milliseconds, refusal_line, word};
use clap::Subcommand;
use client::Failure;
use contracts::common::v1::{OperationState, Step};
use contracts::gateway::v1::{
    GetOperationRequest, GetOperationResponse, ListOperationsRequest, ListOperationsResponse, Operation,
};
use std::time::Duration;

/// Requests that take time
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth operation list --limit 5
  berth operation wait 0199…")]
pub enum OperationCommand {
    /// List operations, newest first
    #[command(
        after_help = "Examples:\n  berth operation list --limit 20\n  berth operation list --object 0199…"
    )]
    List {
        /// Only those about this object (id)
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        object: String,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one operation and the time each step took
    #[command(after_help = "Examples:\n  berth operation show 0199…")]
    Show {
        /// Id
        operation: String,
    },
    /// Wait until an operation is done
    #[command(after_help = "Ends with 4 when it failed, with 6 when the time is up.

Examples:
  berth operation wait 0199… --timeout 5m")]
    Wait {
        /// Id
        operation: String,
        /// Longest wait, such as 90s, 10m or 1h [default: as long as it takes]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
    },
}

pub(super) async fn run(command: OperationCommand, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    match command {
        OperationCommand::List { object, limit } => {
            let mut all = ListOperationsResponse::default();
            all_pages(async |page_token| {
                let left = limit.saturating_sub(u32::try_from(all.operations.len()).unwrap_or(u32::MAX));
                let request = ListOperationsRequest {
                    page_size: left.clamp(1, 1000),
                    page_token,
                    object_id: object.clone(),
                };
                let page =
                    gateway.read(request, async |r| gateway.operations().list_operations(r).await).await?;
                all.operations.extend(page.operations);
                all.operations.truncate(limit as usize);
                Ok(if all.operations.len() >= limit as usize { String::new() } else { page.next_page_token })
            })
            .await?;
            session.format.print("ListOperationsResponse", &all, || list(&all.operations))
        }
        OperationCommand::Show { operation } => {
            let request = GetOperationRequest { operation };
            let answer = gateway.read(request, async |r| gateway.operations().get_operation(r).await).await?;
            session.format.print("GetOperationResponse", &answer, || {
                answer.operation.as_ref().map(show).unwrap_or_default()
            })
        }
        OperationCommand::Wait { operation, timeout } => {
            let operation = session.follow(&operation, timeout, None).await?;
            let answer = GetOperationResponse { operation: Some(operation) };
            session.format.print("GetOperationResponse", &answer, || {
                answer.operation.as_ref().map(show).unwrap_or_default()
            })
        }
    }
}

fn list(operations: &[Operation]) -> String {
    let mut table = Table::new(["id", "method", "object", "state", "step", "by", "age"], "no operations");
    for operation in operations {
        table.row([
            operation.id.clone(),
            operation.method.clone(),
            operation.object_id.clone(),
            word(operation.state().as_str_name(), "OPERATION_STATE_"),
            reached(operation),
            operation.actor.clone(),
            age(operation.created_at_us),
        ]);
    }
    table.render()
}

/// The last step; of a failed operation the reason, because its last step only says that it failed.
fn reached(operation: &Operation) -> String {
    match (operation.state(), &operation.refusal) {
        (OperationState::Failed, Some(refusal)) if !refusal.code.is_empty() => refusal.code.clone(),
        _ => in_order(&operation.steps).last().map(|step| step.name.clone()).unwrap_or_default(),
    }
}

fn show(operation: &Operation) -> String {
    let text = fields([
        ("id", operation.id.clone()),
        ("method", operation.method.clone()),
        ("object", operation.object_id.clone()),
        ("state", word(operation.state().as_str_name(), "OPERATION_STATE_")),
        ("refused", refusal_line(operation.refusal.as_ref())),
        ("by", operation.actor.clone()),
        ("begun", local_time(operation.created_at_us)),
        ("changed", local_time(operation.updated_at_us)),
        ("idempotency key", operation.idempotency_key.clone()),
    ]);
    format!("{text}{}", steps(operation.created_at_us, &operation.steps))
}

/// Steps by time. Two services may each report the same step: the first report counts.
pub(super) fn in_order(steps: &[Step]) -> Vec<&Step> {
    let mut sorted: Vec<&Step> = steps.iter().collect();
    sorted.sort_by_key(|step| step.at_us);
    sorted.dedup_by(|later, earlier| later.name == earlier.name);
    sorted
}

/// The steps with the time each took since the one before, and the whole.
pub(super) fn steps(begun_us: i64, steps: &[Step]) -> String {
    let steps = in_order(steps);
    let Some(last) = steps.last() else { return String::new() };
    let mut table = Table::new(["step", "took", "after"], "");
    let mut before = begun_us;
    for step in &steps {
        table.row([step.name.clone(), milliseconds(before, step.at_us), milliseconds(begun_us, step.at_us)]);
        before = before.max(step.at_us);
    }
    format!("{}in all {}\n", table.render(), milliseconds(begun_us, last.at_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_operation_is_listed_with_its_reason() {
        let refusal =
            contracts::common::v1::Refusal { code: "NO_HOST_HAS_ROOM".into(), ..Default::default() };
        let steps = vec![Step { name: "failed".into(), at_us: 1 }];
        let mut operation = Operation { refusal: Some(refusal), steps, ..Operation::default() };
        operation.set_state(OperationState::Failed);
        assert_eq!(reached(&operation), "NO_HOST_HAS_ROOM");
        operation.set_state(OperationState::Running);
        assert_eq!(reached(&operation), "failed");
    }

    #[test]
    fn each_step_tells_what_it_took() {
        let at = |name: &str, ms: i64| Step { name: name.into(), at_us: 1_000_000 + ms * 1000 };
        let text = steps(1_000_000, &[at("placed", 40), at("disk", 340), at("ready", 3340)]);
        assert_eq!(
            text,
            "STEP     TOOK     AFTER\nplaced   40 ms    40 ms\ndisk     300 ms   340 ms\nready    3.00 s   3.34 s\nin all 3.34 s\n"
        );
        assert_eq!(steps(0, &[]), "");
    }

    #[test]
    fn steps_stand_in_order_and_none_twice() {
        let at = |name: &str, at_us| Step { name: name.into(), at_us };
        let mixed =
            [at("ready", 40), at("accepted", 10), at("placed", 30), at("accepted", 12), at("placed", 90)];
        let names: Vec<(&str, i64)> = in_order(&mixed).iter().map(|s| (s.name.as_str(), s.at_us)).collect();
        // placed again after it was ready is another placement
        assert_eq!(names, [("accepted", 10), ("placed", 30), ("ready", 40), ("placed", 90)]);
    }
}
