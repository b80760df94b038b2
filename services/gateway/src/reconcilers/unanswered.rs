//! Operations of which no service has said anything long after their command was sent: the command is sent again.
//!
//! It goes under its own id, which is the operation's, so whoever took it the first time drops it. Operations with a
//! deadline are left to it: they are programs in guests, which must not run a second time whatever else is lost.

use bus::{Connection, Desk};
use gateway_api::store::operations;
use kernel::{MessageId, OperationId, Timestamp};
use opentelemetry::metrics::{Counter, Meter};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Rows of one look.
const PAGE: i64 = 500;
/// Commands looked for in one pass; the next pass takes the rest.
const BATCH: usize = 100;
/// The longest pause between two looks for one command.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// The longest time between two passes.
const LONGEST_PERIOD: Duration = Duration::from_secs(15);

/// The loop's state.
pub struct Unanswered {
    desk: Desk,
    bus: Connection,
    patience: Duration,
    sent_again: Counter<u64>,
    /// Operations that were looked after already. Lost with the process: it begins anew with short pauses.
    looks: Mutex<BTreeMap<OperationId, Look>>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    times: u32,
    next_at: Timestamp,
}

impl Unanswered {
    /// Nobody was looked after yet. `patience`: how long an operation may be unanswered; longer than the broker takes
    /// a second copy for a duplicate, or it would drop what it has lost.
    pub fn new(desk: Desk, bus: Connection, patience: Duration, meter: &Meter) -> Self {
        let sent_again = meter
            .u64_counter("berth_gateway_commands_sent_again")
            .with_description("Commands that left their queue, were not answered, and were sent again.")
            .build();
        Self { desk, bus, patience, sent_again, looks: Mutex::default() }
    }

    /// Time between two passes.
    pub fn period(&self) -> Duration {
        (self.patience / 5).min(LONGEST_PERIOD)
    }

    /// One pass over all operations of which nothing was said.
    pub async fn pass(&self) -> anyhow::Result<()> {
        let due = self.due().await?;
        if due.is_empty() {
            return Ok(());
        }
        // a command has the id of its operation
        let ids: Vec<MessageId> = due.iter().map(|id| MessageId::from_u128(id.as_u128())).collect();
        let again = bus::unanswered::send_again(&self.desk, &self.bus, &ids).await?;
        for id in &again {
            tracing::warn!(operation = %id, "its command left its queue and nobody has answered; it is sent again");
        }
        if !again.is_empty() {
            self.sent_again.add(again.len() as u64, &[]);
        }
        self.looked(&due);
        Ok(())
    }

    async fn due(&self) -> anyhow::Result<Vec<OperationId>> {
        let now = self.desk.clock().now();
        let (mut due, mut unanswered, mut after) = (Vec::new(), BTreeMap::new(), String::new());
        loop {
            let page = operations::unanswered(self.desk.store().reader(), &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            for operation in &page {
                let Ok(id) = operation.id.parse::<OperationId>() else { continue };
                let fresh =
                    Look { times: 0, next_at: Timestamp(operation.created_at_us).after(self.patience) };
                let look = looks.get(&id).copied().unwrap_or(fresh);
                if look.next_at <= now && due.len() < BATCH {
                    due.push(id);
                }
                unanswered.insert(id, look);
            }
        }
        // what was answered is forgotten
        *self.looks.lock().unwrap_or_else(PoisonError::into_inner) = unanswered;
        Ok(due)
    }

    fn looked(&self, after: &[OperationId]) {
        let now = self.desk.clock().now();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        for id in after {
            let Some(look) = looks.get_mut(id) else { continue };
            look.times += 1;
            let pause = self.patience.saturating_mul(1 << look.times.min(16));
            look.next_at = now.after(pause.min(LONGEST_PAUSE.max(self.patience)));
        }
    }
}
