//! Sessions and tokens that ended long ago are forgotten: each login leaves a row, and nobody asks for them again.
//!
//! The loop only says so; the rows go when the event comes back through the stream, in its order. A revoked token that
//! has no end keeps its row: without it, an event that was lost and said again could open the door once more.

use crate::store::tokens;
use bus::{Cause, Desk};
use contracts::gateway::v1::TokensForgotten;
use kernel::PLATFORM;
use opentelemetry::metrics::{Counter, Meter};
use std::time::Duration;

/// How often to look.
pub const PERIOD: Duration = Duration::from_secs(600);
/// Rows that go in one transaction, at least when no more end in the same microsecond.
const BATCH: i64 = 10_000;

/// Forgets tokens.
pub struct EndedTokens {
    desk: Desk,
    keep: Duration,
    forgotten: Counter<u64>,
}

impl EndedTokens {
    /// Keeps tokens for so long after their end.
    pub fn new(desk: Desk, keep: Duration, meter: &Meter) -> Self {
        let forgotten = meter
            .u64_counter("berth_gateway_tokens_forgotten")
            .with_description("Sessions and tokens that ended long ago and were removed.")
            .build();
        Self { desk, keep, forgotten }
    }

    /// One pass.
    pub async fn pass(&self) -> anyhow::Result<()> {
        let keep_us = i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX);
        let horizon = self.desk.clock().now().micros().saturating_sub(keep_us);
        let ended = tokens::ended(self.desk.store().reader(), horizon, BATCH).await?;
        let Some(last) = ended.last() else { return Ok(()) };
        // the rest goes in the next passes
        let all = i64::try_from(ended.len()).is_ok_and(|count| count < BATCH);
        let expired_before_us = if all { horizon } else { last + 1 };
        let mut work = self.desk.begin(Cause::own("gateway").for_tenant(PLATFORM)).await?;
        work.say(&TokensForgotten { name: expired_before_us.to_string(), expired_before_us });
        work.commit().await?;
        self.forgotten.add(ended.len() as u64, &[]);
        tracing::info!(tokens = ended.len(), "sessions and tokens that ended long ago are forgotten");
        Ok(())
    }
}
