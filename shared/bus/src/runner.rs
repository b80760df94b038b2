//! The runner: takes messages, lets handlers decide, commits, and only then acknowledges.

mod delivery;
mod in_hand;
mod pace;
mod retry;
mod sweep;

use crate::fail::FailPoint;
use crate::wait::{Wait, flat};
use crate::watchdog::{self, Pulse, Watchdog};
use crate::{Connection, Desk, Report, Subscriptions, Trouble, topology};
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use in_hand::{Coming, Taken};
use opentelemetry::metrics::Counter;
pub use retry::RetryPolicy;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use sweep::Sweep;
use tokio_util::sync::CancellationToken;

/// Messages taken at once at most.
const BATCH: usize = pace::MOST;

/// Messages that the server gives out before some are answered, to all processes of a consumer together. All of them
/// find room here: none waits where nobody says that it is in good hands.
const IN_HAND: usize = 2_000;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It had its effect (now or before), or is a dead letter.
    Done,
    /// Deliver it again after this long.
    Again(Duration),
}

/// Runs one service's subscriptions.
pub struct Runner {
    desk: Desk,
    connection: Connection,
    subscriptions: Subscriptions,
    retry: RetryPolicy,
    report: Report,
    handled: Counter<u64>,
    /// The last batch could not be written.
    store_failed: AtomicBool,
    pace: pace::Pace,
    patience: Duration,
}

/// One durable consumer.
struct Source {
    /// What it is at, for whoever watches it.
    pulse: Pulse,
    stream: String,
    /// Durable name, and the name under which the inbox remembers.
    consumer: String,
    filters: Vec<String>,
}

impl Source {
    /// A queue of commands, not the log.
    fn is_queue(&self) -> bool {
        self.stream != topology::EVENTS
    }
}

impl Runner {
    /// A runner for `subscriptions`, writing through `desk`.
    pub fn new(
        desk: Desk,
        connection: Connection,
        subscriptions: Subscriptions,
        retry: RetryPolicy,
        report: Report,
    ) -> Self {
        let handled = opentelemetry::global::meter("bus")
            .u64_counter("berth_bus_messages")
            .with_description("Messages taken from the bus, by service, message and outcome.")
            .build();
        let store_failed = AtomicBool::new(false);
        let pace = pace::Pace::new();
        let patience = watchdog::PATIENCE;
        Self { desk, connection, subscriptions, retry, report, handled, store_failed, pace, patience }
    }

    /// The same with another time for which a message, or whatever else a loop is at, may get nowhere.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Runs until told to stop; finishes the batch in hand.
    pub async fn run(self, stop: CancellationToken) {
        let sources = self.sources();
        futures::future::join_all(sources.iter().map(|source| self.watched(source, &stop))).await;
    }

    fn sources(&self) -> Vec<Source> {
        let (service, key) = (self.subscriptions.service, self.subscriptions.key.as_deref());
        let consumer = key.map_or_else(|| service.to_owned(), |key| format!("{service}-{key}"));
        let mut sources = Vec::new();
        if !self.subscriptions.commands.is_empty() || !self.subscriptions.events.is_empty() {
            // also without commands of its own: replayed dead letters come this way
            let filter =
                key.map_or_else(|| format!("cmd.{service}.>"), |key| format!("cmd.{service}.*.*.{key}"));
            sources.push(Source {
                pulse: Pulse::default(),
                stream: topology::command_stream(service),
                consumer: consumer.clone(),
                filters: vec![filter],
            });
        }
        if !self.subscriptions.events.is_empty() {
            let names = self.subscriptions.events.keys();
            let mut filters: Vec<String> =
                names.map(|(service, version, name)| format!("evt.{service}.{version}.{name}.>")).collect();
            // in one order, so that the consumer is not another one at every start
            filters.sort();
            sources.push(Source {
                pulse: Pulse::default(),
                stream: topology::EVENTS.to_owned(),
                consumer,
                filters,
            });
        }
        sources
    }

    async fn watched(&self, source: &Source, stop: &CancellationToken) {
        let name = format!("{}.runner {}", self.desk.service(), source.stream);
        let watchdog = Watchdog::new(&name, self.patience, self.report.part(&name));
        watchdog.over(&source.pulse, || self.consume(source, stop)).await;
    }

    async fn consume(&self, source: &Source, stop: &CancellationToken) {
        let mut failures: u32 = 0;
        let report = self.report.part(&source.stream);
        while !stop.is_cancelled() {
            source.pulse.works(|_| "opening the consumer".to_owned());
            let outcome = match self.open(source).await {
                Ok(messages) => {
                    failures = 0;
                    report.well("listening");
                    self.pump(source, messages, stop).await
                }
                Err(reason) => Err(reason),
            };
            if let Err(reason) = outcome {
                failures = failures.saturating_add(1);
                tracing::warn!(
                    stream = source.stream,
                    consumer = source.consumer,
                    reason,
                    failures,
                    "not listening"
                );
                report.unwell(Trouble::of_broker(&reason), format!("{}: {reason}", source.stream));
                source.pulse.works(|_| "bringing streams back".to_owned());
                self.connection.restore_streams().await;
                source.pulse.rests();
                let pause = Duration::from_millis(100 << failures.min(5));
                tokio::select! { () = stop.cancelled() => {} () = tokio::time::sleep(pause) => {} }
            }
        }
    }

    async fn open(&self, source: &Source) -> Result<pull::Stream, String> {
        let mut wait = Wait::new(&self.connection);
        let stream = self.connection.jetstream().get_stream_no_info(&source.stream);
        let stream = flat(wait.answer(stream).await)?;
        let config = pull::Config {
            durable_name: Some(source.consumer.clone()),
            filter_subjects: source.filters.clone(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.retry.ack_wait,
            // the policy is ours: a message the server gave up on would be stuck in the stream
            max_deliver: -1,
            max_ack_pending: IN_HAND as i64,
            ..pull::Config::default()
        };
        let consumer = flat(wait.answer(stream.create_consumer(config)).await)?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .expires(Duration::from_secs(30))
            .heartbeat(Duration::from_secs(5))
            .messages();
        flat(wait.answer(messages).await)
    }

    async fn pump(
        &self,
        source: &Source,
        messages: pull::Stream,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        // whatever is there already goes into one transaction; a lone message does not wait for others
        let mut coming = Coming::of(messages, self.connection.client().clone(), self.retry.ack_wait, IN_HAND);
        let mut sweep = Sweep::of(source);
        loop {
            source.pulse.rests();
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sweep.due() => {
                    source.pulse.works(|_| "clearing the queue of what was obeyed".to_owned());
                    sweep.run(&self.connection).await;
                    continue;
                }
                batch = coming.next(BATCH) => batch,
            };
            if batch.is_empty() {
                return Err("the subscription ended".to_owned());
            }
            let mut broken = None;
            let mut taken = Vec::with_capacity(batch.len());
            for item in batch {
                match item {
                    Ok(message) => taken.push(message),
                    Err(reason) => broken = Some(reason),
                }
            }
            let messages = taken.len();
            self.process(source, taken).await;
            sweep.note(messages);
            if let Some(reason) = broken {
                return Err(reason);
            }
        }
        // what was fetched and not begun goes back at once instead of after the acknowledgement time
        let mut wait = Wait::new(&self.connection);
        for message in coming.left() {
            message.is_answered();
            let _ = wait.answer(message.ack_with(AckKind::Nak(None))).await;
        }
        Ok(())
    }

    /// Handles a batch and answers each message.
    async fn process(&self, source: &Source, batch: Vec<Taken>) {
        if batch.is_empty() {
            return;
        }
        let batch = Arc::new(batch);
        let (named, count) = (batch.clone(), batch.len());
        source.pulse.works(move |at| {
            let (subject, id) = (&named[at].subject, delivery::id(&named[at]));
            format!("message {subject}, {id}, number {} of {count}", at + 1)
        });
        FailPoint::Received.reached().await;
        let verdicts = self.decide(source, &batch).await;
        FailPoint::Committed.reached().await;
        let mut wait = Wait::new(&self.connection);
        for (index, (message, verdict)) in batch.iter().zip(verdicts).enumerate() {
            source.pulse.at(index);
            // a word that it is in good hands would take back a delay
            message.is_answered();
            let kind = match verdict {
                Verdict::Done => AckKind::Ack,
                // the delay stands on the NAK itself: a plain one ignores any back-off
                Verdict::Again(delay) => AckKind::Nak(Some(delay)),
            };
            if let Err(error) = flat(wait.answer_or_now(message.ack_with(kind)).await) {
                // it will be delivered again, and the inbox knows it
                tracing::debug!(%error, "answer not sent");
            }
            FailPoint::Acknowledged.reached().await;
        }
    }
}
