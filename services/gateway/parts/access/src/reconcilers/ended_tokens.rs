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
        let mut work = self.desk.begin(Cause::own(gateway_api::SERVICE_NAME).for_tenant(PLATFORM)).await?;
        work.say(&TokensForgotten { name: expired_before_us.to_string(), expired_before_us });
        work.commit().await?;
        self.forgotten.add(ended.len() as u64, &[]);
        tracing::info!(tokens = ended.len(), "sessions and tokens that ended long ago are forgotten");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::tokens::Forgotten;
    use bus::Subscriptions;
    use contracts::gateway::v1::{Token, TokenRecord};
    use gateway_api::store::MIGRATIONS;
    use kernel::{ManualClock, Timestamp};
    use std::sync::Arc;
    use testkit::{Bench, databases};

    const DAY_US: i64 = 24 * 3_600_000_000;

    #[tokio::test]
    async fn what_ended_long_ago_goes_when_it_was_said_and_the_rest_stays() {
        for database in databases(MIGRATIONS).await {
            let clock = Arc::new(ManualClock::at(Timestamp(100 * DAY_US)));
            let desk = Desk::new("gateway", database.store.clone(), clock);
            let meter = opentelemetry::global::meter("test");
            let ended = EndedTokens::new(desk.clone(), Duration::from_secs(30 * 24 * 3600), &meter);
            let handlers = Subscriptions::new(gateway_api::SERVICE_NAME).on(Forgotten);
            let mut bench = Bench::on(desk.clone(), handlers, 2);
            let mut tx = database.store.begin().await.expect("begins");
            for (id, days) in [("old", 69), ("of late", 71), ("without an end", 0)] {
                let token = Token {
                    id: id.into(),
                    user_id: "ann".into(),
                    name: id.into(),
                    expires_at_us: days * DAY_US,
                    revision: 1,
                    ..Token::default()
                };
                let record = TokenRecord { token: Some(token), hash: None };
                tokens::put(&mut tx, &record).await.expect("written");
            }
            tx.commit().await.expect("commits");
            ended.pass().await.expect("a pass");
            let said: Vec<TokensForgotten> = bench.said_of().await;
            assert_eq!(said.iter().map(|event| event.expired_before_us).collect::<Vec<_>>(), [70 * DAY_US]);
            let known = async |id: &str| {
                tokens::find(database.store.reader(), "ann", id, 0).await.expect("read").is_some()
            };
            assert!(known("old").await, "it goes when the event comes back, {}", database.name);
            bench.deliver(&said[0]).await.expect("handled");
            assert!(!known("old").await && known("of late").await && known("without an end").await);
            ended.pass().await.expect("a pass");
            assert!(bench.said_of::<TokensForgotten>().await.is_empty(), "nothing is left to forget");
            database.remove().await;
        }
    }
}
