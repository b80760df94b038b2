//! A service's database under watch: whether it can be written, and how much waits in its outbox.

use crate::HealthHandle;
use bus::{Desk, OutboxSize, Trouble};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Gauge;
use std::time::Duration;

/// Between two questions.
const PERIOD: Duration = Duration::from_secs(2);
/// A database that takes longer than this to write one row is held by somebody.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks for ever.
pub(crate) async fn watch(desk: &Desk, store: &HealthHandle, outbox: &HealthHandle, limit: i64) {
    let measures = Measures::new(desk.service());
    loop {
        check(desk, store).await;
        match bus::outbox_size(desk.store()).await {
            Ok(size) => {
                measures.record(desk, &size);
                judge(outbox, &size, limit);
            }
            Err(error) => outbox.troubled(Trouble::of_store(&error), error.to_string()),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn check(desk: &Desk, health: &HealthHandle) {
    let check = desk.store().check();
    tokio::pin!(check);
    let outcome = match tokio::time::timeout(PATIENCE, check.as_mut()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            health.troubled(
                Trouble::StoreLocked,
                format!("no row could be written for {PATIENCE:?}; does another process hold the database?"),
            );
            check.await
        }
    };
    match outcome {
        Ok(()) => health.ok("readable and writable"),
        Err(error) => health.troubled(Trouble::of_store(&error), error.to_string()),
    }
}

fn judge(health: &HealthHandle, size: &OutboxSize, limit: i64) {
    if size.waiting > limit {
        let detail = format!("{} messages wait for the broker, at most {limit} should", size.waiting);
        health.troubled(Trouble::OutboxFull, detail);
    } else {
        health.ok(format!("{} messages wait for the broker", size.waiting));
    }
}

struct Measures {
    waiting: Gauge<u64>,
    oldest: Gauge<f64>,
    rows: Gauge<u64>,
    label: [KeyValue; 1],
}

impl Measures {
    fn new(service: &'static str) -> Self {
        let meter = opentelemetry::global::meter("bus");
        Self {
            waiting: meter
                .u64_gauge("berth_outbox_waiting")
                .with_description("Messages that are committed and not yet published, by service.")
                .build(),
            oldest: meter
                .f64_gauge("berth_outbox_oldest_seconds")
                .with_description(
                    "Age of the oldest message that is not yet published, by service; 0 = none.",
                )
                .build(),
            rows: meter
                .u64_gauge("berth_outbox_rows")
                .with_description("Rows of the outbox with those kept to refill a stream, by service.")
                .build(),
            label: [KeyValue::new("service", service)],
        }
    }

    fn record(&self, desk: &Desk, size: &OutboxSize) {
        let age = size.oldest.map_or(0, |oldest| desk.clock().now().micros() - oldest.micros());
        self.waiting.record(u64::try_from(size.waiting).unwrap_or(0), &self.label);
        self.oldest.record(age.max(0) as f64 / 1e6, &self.label);
        self.rows.record(u64::try_from(size.rows).unwrap_or(0), &self.label);
    }
}
