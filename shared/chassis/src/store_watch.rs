//! A service's database under watch: whether it can be written, and how much waits in its outbox, and how long.

use crate::HealthHandle;
use bus::{Connection, Desk, OldestWaiting, OutboxSize, Trouble};
use kernel::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Gauge;
use std::time::Duration;
use tokio::time::Instant;

/// Between two questions.
const PERIOD: Duration = Duration::from_secs(2);
/// A database that takes longer than this to write one row is held by somebody.
const PATIENCE: Duration = Duration::from_secs(3);

/// A message that has waited so long, with a broker that is there, waits for something that should not be.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Asks for ever.
pub(crate) async fn watch(desk: &Desk, bus: &Connection, store: &HealthHandle, outbox: &HealthHandle) {
    let mut first = First::default();
    let measures = Measures::new(desk.service());
    loop {
        check(desk, store).await;
        match bus::outbox_size(desk.store()).await {
            Ok(size) => {
                measures.record(desk, &size);
                let waits = first.waits(size.oldest.as_ref(), desk.clock().now().micros());
                match judge(&size, waits, bus.limits().outbox_waiting, bus.is_up()) {
                    Ok(detail) => outbox.ok(detail),
                    Err((trouble, detail)) => outbox.troubled(trouble, detail),
                }
            }
            Err(error) => outbox.troubled(Trouble::of_store(&error), error.to_string()),
        }
        match bus::retried_since(desk.store()).await {
            Ok(since) => measures.retried(desk, since),
            Err(error) => tracing::debug!(%error, "what is tried again cannot be read; the store says why"),
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

/// The message that stands first, and since when it was seen there.
#[derive(Default)]
struct First(Option<(i64, Instant)>);

impl First {
    /// How long this message has waited for its turn. What a stream lost waits again since now, though it is old; and
    /// where many wait, each is first only for a moment.
    fn waits(&mut self, oldest: Option<&OldestWaiting>, now_us: i64) -> Duration {
        let Some(oldest) = oldest else {
            self.0 = None;
            return Duration::ZERO;
        };
        let seen = match self.0 {
            Some((seq, seen)) if seq == oldest.seq => seen,
            _ => Instant::now(),
        };
        self.0 = Some((oldest.seq, seen));
        let age = u64::try_from(now_us - oldest.since.micros()).unwrap_or(0);
        seen.elapsed().min(Duration::from_micros(age))
    }
}

/// How the outbox is, in a sentence.
fn judge(
    size: &OutboxSize,
    waits: Duration,
    limit: i64,
    broker_is_there: bool,
) -> Result<String, (Trouble, String)> {
    let count = size.waiting;
    let Some(oldest) = &size.oldest else { return Ok("no message waits for the broker".to_owned()) };
    let OldestWaiting { seq, stream, subject, .. } = oldest;
    let detail = format!(
        "{count} messages wait for the broker, the first of them for {} s: row {seq}, {subject}, for {stream}",
        waits.as_secs()
    );
    if count > limit {
        return Err((Trouble::OutboxFull, format!("{detail}; at most {limit} should wait")));
    }
    if waits >= LONGEST_WAIT && broker_is_there {
        return Err((Trouble::Stuck, format!("{detail}; the broker is there")));
    }
    Ok(detail)
}

struct Measures {
    waiting: Gauge<u64>,
    oldest: Gauge<f64>,
    rows: Gauge<u64>,
    retried: Gauge<f64>,
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
            retried: meter
                .f64_gauge("berth_bus_oldest_retry_seconds")
                .with_description(
                    "Time since the first attempt at the message that has been tried longest and is not done with, by service; 0 = none. What comes behind it about the same object waits.",
                )
                .build(),
            label: [KeyValue::new("service", service)],
        }
    }

    fn retried(&self, desk: &Desk, since: Option<Timestamp>) {
        let age = since.map(|since| desk.clock().now().since(since)).unwrap_or_default();
        self.retried.record(age.as_secs_f64(), &self.label);
    }

    fn record(&self, desk: &Desk, size: &OutboxSize) {
        let age =
            size.oldest.as_ref().map_or(0, |oldest| desk.clock().now().micros() - oldest.since.micros());
        self.waiting.record(u64::try_from(size.waiting).unwrap_or(0), &self.label);
        self.oldest.record(age.max(0) as f64 / 1e6, &self.label);
        self.rows.record(u64::try_from(size.rows).unwrap_or(0), &self.label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(seq: i64, count: i64) -> OutboxSize {
        let oldest = OldestWaiting {
            seq,
            since: Timestamp(0),
            stream: "EVENTS".to_owned(),
            subject: "evt.scheduler.v1.InstanceReady.acme.i".to_owned(),
        };
        OutboxSize { waiting: count, oldest: Some(oldest), rows: count }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stands_first_for_long_is_named_and_one_that_has_just_come_first_is_not() {
        let (mut first, hour_us) = (First::default(), 3_600_000_000);
        let mut how = async |size: &OutboxSize, broker| {
            let waits = first.waits(size.oldest.as_ref(), hour_us);
            tokio::time::sleep(LONGEST_WAIT).await;
            judge(size, waits, 100, broker)
        };
        assert!(how(&waiting(7, 9), true).await.is_ok(), "seen for the first time, however old");
        assert!(how(&waiting(8, 9), true).await.is_ok(), "another one: things move");
        let (trouble, detail) = how(&waiting(8, 9), true).await.expect_err("it does not move");
        assert_eq!(trouble, Trouble::Stuck);
        for part in ["row 8", "evt.scheduler.v1.InstanceReady.acme.i", "EVENTS", "9 messages", "15 s"] {
            assert!(detail.contains(part), "{detail}");
        }
        assert!(how(&waiting(8, 9), false).await.is_ok(), "the broker is away, which is said elsewhere");
        assert_eq!(how(&waiting(8, 101), true).await.expect_err("too many").0, Trouble::OutboxFull);
        assert!(how(&OutboxSize::default(), true).await.is_ok());
        assert!(how(&waiting(8, 9), true).await.is_ok(), "it waits again, since now");
    }

    #[test]
    fn the_age_is_never_more_than_that_of_the_row() {
        let mut first = First::default();
        assert_eq!(first.waits(waiting(1, 1).oldest.as_ref(), 0), Duration::ZERO);
        assert_eq!(first.waits(None, 0), Duration::ZERO);
    }
}
