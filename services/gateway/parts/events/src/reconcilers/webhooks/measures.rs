//! What is counted of webhooks: of all together, never of a tenant.

use crate::store::webhooks;
use contracts::gateway::v1::WebhookState;
use kernel::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use sqlx::AnyPool;
use std::time::Duration;

/// The metrics of webhooks.
pub struct Measures {
    attempts: Counter<u64>,
    duration: Histogram<f64>,
    delay: Histogram<f64>,
    webhooks: Gauge<u64>,
    waiting: Gauge<u64>,
    oldest: Gauge<f64>,
}

impl Measures {
    /// Registers them.
    pub fn new(meter: &Meter) -> Self {
        let bounds = || vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3_600.0];
        Self {
            attempts: meter
                .u64_counter("berth_gateway_webhook_attempts")
                .with_description("Requests to receivers by what came of them: delivered, again, failed.")
                .build(),
            duration: meter
                .f64_histogram("berth_gateway_webhook_duration_seconds")
                .with_description("Time to a receiver's answer, or to none.")
                .with_boundaries(bounds())
                .build(),
            delay: meter
                .f64_histogram("berth_gateway_webhook_delay_seconds")
                .with_description("From an event to its first attempt at a receiver.")
                .with_boundaries(bounds())
                .build(),
            webhooks: meter
                .u64_gauge("berth_gateway_webhooks")
                .with_description("Webhooks by state.")
                .build(),
            waiting: meter
                .u64_gauge("berth_gateway_webhook_waiting")
                .with_description("Deliveries that are not done, by state of the webhook.")
                .build(),
            oldest: meter
                .f64_gauge("berth_gateway_webhook_oldest_seconds")
                .with_description("Age of the oldest delivery that is not done, by state of the webhook.")
                .build(),
        }
    }

    /// A request was answered, or not.
    pub fn attempted(&self, outcome: &'static str, took: Duration) {
        let outcome = [KeyValue::new("outcome", outcome)];
        self.attempts.add(1, &outcome);
        self.duration.record(took.as_secs_f64(), &outcome);
    }

    /// An event is sent for the first time.
    pub fn delayed(&self, by: Duration) {
        self.delay.record(by.as_secs_f64(), &[]);
    }

    /// Looks at all webhooks.
    pub async fn look(&self, db: &AnyPool, now: Timestamp) -> Result<(), sqlx::Error> {
        let found = webhooks::standing(db).await?;
        for state in [WebhookState::Active, WebhookState::Disabled, WebhookState::Failed] {
            let row = found.iter().find(|row| row.0 == state as i32).copied();
            let (_, count, waiting, oldest_us) = row.unwrap_or_default();
            let age = if oldest_us == 0 { Duration::ZERO } else { now.since(Timestamp(oldest_us)) };
            let word = state.as_str_name().trim_start_matches("WEBHOOK_STATE_").to_lowercase();
            let labels = [KeyValue::new("state", word)];
            self.webhooks.record(count, &labels);
            self.waiting.record(waiting, &labels);
            self.oldest.record(age.as_secs_f64(), &labels);
        }
        Ok(())
    }
}
