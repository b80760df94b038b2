//! What other systems send: messages whose payload is theirs. Taken in batches, one transaction each, and acknowledged
//! after it; what nobody can take becomes a dead letter.
//!
//! There is no inbox: such messages have no ids of ours. Whoever takes them tells repeats apart by what they say.

use crate::fail::FailPoint;
use crate::wait::{Wait, flat};
use crate::watchdog::{self, Pulse, Watchdog};
use crate::{Cause, Connection, Desk, Failure, Report, Trouble, Work, dead, topology};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use sqlx::Executor;
use std::time::Duration;
use store::StoreError;
use tokio_util::sync::CancellationToken;

/// Messages in one transaction at most.
const BATCH: usize = 100;
/// How long the server waits for an acknowledgement.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// When the store does not take a batch it comes again after this long.
const AGAIN: Duration = Duration::from_secs(1);

/// A message of another system.
#[derive(Debug, Clone)]
pub struct Sent {
    /// "ext.acme.orders".
    pub subject: String,
    /// Its headers, in the order in which they were sent.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub payload: Bytes,
}

impl Sent {
    /// Whose subject it is: the second token.
    pub fn tenant(&self) -> &str {
        self.subject.split('.').nth(1).unwrap_or_default()
    }
}

/// Takes what other systems send.
#[async_trait]
pub trait FromOutside: Send + Sync + 'static {
    /// One message. What it wrote is undone when it fails: `Poison` makes a dead letter of it, `Transient` brings it
    /// again.
    async fn take(&self, work: &mut Work, sent: &Sent) -> Result<(), Failure>;

    /// Nobody can take this message: it became a dead letter. Rows and events of this go with it.
    async fn refuse(&self, work: &mut Work, sent: &Sent, reason: &str) -> Result<(), StoreError>;
}

/// Why messages do not come any more.
enum Ended {
    /// The store did not take a batch.
    Undone(String),
    /// The broker ended it.
    Broken(String),
}

/// Takes messages from the stream of other systems.
pub struct Outside<T> {
    desk: Desk,
    connection: Connection,
    taker: T,
    report: Report,
    ack_wait: Duration,
    patience: Duration,
    pulse: Pulse,
}

impl<T: FromOutside> Outside<T> {
    /// Hands what is sent to `taker`, which writes through `desk`.
    pub fn new(desk: Desk, connection: Connection, taker: T, report: Report) -> Self {
        let (patience, pulse) = (watchdog::PATIENCE, Pulse::default());
        Self { desk, connection, taker, report, ack_wait: ACK_WAIT, patience, pulse }
    }

    /// The same with another time after which what was not acknowledged comes again.
    pub fn coming_again_after(self, ack_wait: Duration) -> Self {
        Self { ack_wait, ..self }
    }

    /// The same with another time for which a message, or whatever else the loop is at, may get nowhere.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Runs until told to stop; finishes the batch in hand.
    pub async fn run(self, stop: CancellationToken) {
        let name = format!("{}.outside", self.desk.service());
        let watchdog = Watchdog::new(&name, self.patience, self.report.part(&name));
        watchdog.over(&self.pulse, || self.consume(&stop)).await;
    }

    async fn consume(&self, stop: &CancellationToken) {
        let mut failures: u32 = 0;
        // what another life of this process had in hand comes again before anything that was sent later
        let mut from_the_start = true;
        while !stop.is_cancelled() {
            self.pulse.works(|_| "opening the consumer".to_owned());
            let outcome = match self.open(from_the_start).await {
                Ok(messages) => {
                    failures = 0;
                    self.report.well("listening");
                    let ended = self.pump(messages, stop).await;
                    from_the_start = matches!(ended, Err(Ended::Undone(_)));
                    ended.map_err(|ended| match ended {
                        Ended::Undone(reason) | Ended::Broken(reason) => reason,
                    })
                }
                Err(reason) => Err(reason),
            };
            if let Err(reason) = outcome {
                failures = failures.saturating_add(1);
                tracing::warn!(stream = topology::OUTSIDE, reason, failures, "not listening");
                self.report.unwell(Trouble::of_broker(&reason), format!("{}: {reason}", topology::OUTSIDE));
                self.pulse.works(|_| "bringing streams back".to_owned());
                self.connection.restore_streams().await;
                self.pulse.rests();
                let pause = Duration::from_millis(100 << failures.min(5));
                tokio::select! { () = stop.cancelled() => {} () = tokio::time::sleep(pause) => {} }
            }
        }
    }

    /// `from_the_start`: messages that were handed out and not acknowledged come first. The server alone would bring
    /// them after those that were sent meanwhile.
    async fn open(&self, from_the_start: bool) -> Result<pull::Stream, String> {
        let mut wait = Wait::new(&self.connection);
        let stream = self.connection.jetstream().get_stream_no_info(topology::OUTSIDE);
        let stream = flat(wait.answer(stream).await)?;
        if from_the_start
            && let Ok(old) = flat(wait.answer(stream.consumer_info(self.desk.service())).await)
            && old.num_ack_pending > 0
        {
            // the messages stay: the stream keeps what was not acknowledged
            flat(wait.answer(stream.delete_consumer(self.desk.service())).await)?;
        }
        let config = pull::Config {
            durable_name: Some(self.desk.service().to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            max_deliver: -1,
            max_ack_pending: 1_000,
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

    async fn pump(&self, messages: pull::Stream, stop: &CancellationToken) -> Result<(), Ended> {
        let mut batches = messages.ready_chunks(BATCH);
        loop {
            self.pulse.rests();
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                batch = batches.next() => batch.ok_or_else(|| Ended::Broken("the subscription ended".into()))?,
            };
            let mut broken = None;
            let mut taken = Vec::with_capacity(batch.len());
            for item in batch {
                match item {
                    Ok(message) => taken.push(message),
                    Err(error) => broken = Some(error.to_string()),
                }
            }
            if let Err(reason) = self.process(taken).await {
                self.pulse.rests();
                // nothing that was sent later may overtake it
                tokio::select! { () = stop.cancelled() => {} () = tokio::time::sleep(AGAIN) => {} }
                return Err(Ended::Undone(reason));
            }
            if let Some(reason) = broken {
                return Err(Ended::Broken(reason));
            }
        }
        let mut wait = Wait::new(&self.connection);
        while let Some(Some(batch)) = batches.next().now_or_never() {
            for message in batch.into_iter().flatten() {
                let _ = wait.answer(message.ack_with(AckKind::Nak(None))).await;
            }
        }
        Ok(())
    }

    /// An error: the batch was undone, and none of it is acknowledged.
    async fn process(&self, batch: Vec<Message>) -> Result<(), String> {
        if batch.is_empty() {
            return Ok(());
        }
        let subjects: Vec<String> = batch.iter().map(|message| message.subject.to_string()).collect();
        self.pulse
            .works(move |at| format!("message {}, number {} of {}", subjects[at], at + 1, subjects.len()));
        FailPoint::Received.reached().await;
        let decided = self.decide(&batch).await;
        FailPoint::Committed.reached().await;
        if let Err(error) = decided {
            tracing::error!(%error, "the store does not take what other systems sent");
            self.report.unwell(Trouble::of_store(&error), error.to_string());
            return Err(error.to_string());
        }
        let mut wait = Wait::new(&self.connection);
        for (index, message) in batch.iter().enumerate() {
            self.pulse.at(index);
            if let Err(error) = flat(wait.answer_or_now(message.ack()).await) {
                tracing::debug!(%error, "answer not sent; it comes again");
            }
            FailPoint::Acknowledged.reached().await;
        }
        Ok(())
    }

    /// The whole batch in one transaction, with a place to go back to before each message.
    async fn decide(&self, batch: &[Message]) -> Result<(), StoreError> {
        let mut work = self.desk.begin(Cause::own(self.desk.service())).await?;
        for (index, message) in batch.iter().enumerate() {
            self.pulse.at(index);
            let sent = sent(message);
            work.tx().execute("SAVEPOINT message").await?;
            let mark = work.mark();
            work.set_cause(Cause::own(self.desk.service()).for_tenant(sent.tenant()));
            let outcome = self.taker.take(&mut work, &sent).await;
            FailPoint::Handled.reached().await;
            let reason = match outcome {
                Ok(()) => {
                    work.tx().execute("RELEASE SAVEPOINT message").await?;
                    continue;
                }
                Err(Failure::Transient(reason)) => {
                    return Err(sqlx::Error::Protocol(reason).into());
                }
                Err(Failure::Poison(reason)) => reason,
            };
            work.forget_since(mark);
            work.tx().execute("ROLLBACK TO SAVEPOINT message").await?;
            work.tx().execute("RELEASE SAVEPOINT message").await?;
            tracing::warn!(subject = sent.subject, reason, "what another system sent cannot be taken");
            // its headers stay behind: what a stranger wrote must not steer what we publish
            let bare = async_nats::Message { headers: None, ..message.message.clone() };
            dead::bury(&mut work, self.desk.service(), &bare, &reason, 1);
            self.taker.refuse(&mut work, &sent, &reason).await?;
        }
        work.commit().await
    }
}

fn sent(message: &Message) -> Sent {
    let headers = message.headers.iter().flat_map(|headers| headers.iter());
    let headers = headers.flat_map(|(name, values)| {
        values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
    });
    Sent {
        subject: message.subject.to_string(),
        headers: headers.collect(),
        payload: message.payload.clone(),
    }
}
