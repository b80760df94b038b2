//! The audit: every published row of the outbox is looked for in the stream, at its place and under its id.
//!
//! A broken block on the server's disk loses messages in the middle, and the server counts on as if they were there:
//! only reading finds them. Outbox and stream are read side by side in order, a page at a time, headers only, so a
//! stream of any length takes the same memory.

use super::verify::absent;
use super::{Relay, RelayError, memory};
use crate::fail::FailPoint;
use crate::wait::{ANSWER, Wait, flat};
use crate::watchdog::Pulse;
use crate::{outbox, topology, watch};
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use contracts::bus::v1::RefillReason;
use futures::StreamExt;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Rows compared at once.
const PAGE: i64 = 2_000;
/// Messages put in again by one refill; more follow at once in the next.
const MOST_AT_ONCE: usize = 50_000;
/// Between two looks at whether an audit is due.
const PERIOD: Duration = Duration::from_millis(500);
/// So many audits in a row may fail before it is said.
const FAILURES_IN_SILENCE: u32 = 10;
/// An undisturbed stream is compared again after this long.
const AGAIN: Duration = Duration::from_secs(6 * 3600);
/// The server forgets the ids of messages after this long: what it called a duplicate of a message it has lost is
/// taken then.
const AFTER_REFILL: Duration = Duration::from_secs(150);

impl Relay {
    /// Compares whole streams: after each start of the server or of this process, when places went missing, and now
    /// and then.
    pub(super) async fn audits(&self, stop: &CancellationToken, pulse: &Pulse) {
        let mut due = tokio::time::Instant::now();
        let mut server = String::new();
        let mut failures: u32 = 0;
        loop {
            pulse.rests();
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(PERIOD) => {} }
            let present = self.connection.identity().server;
            let wanted = self.audit_wanted.swap(false, Ordering::SeqCst);
            if !wanted && present == server && tokio::time::Instant::now() < due {
                continue;
            }
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.audit(&present, pulse) => outcome,
            };
            match outcome {
                Ok(refilled) => {
                    failures = 0;
                    self.report.part("audits").well("streams are compared");
                    server = present;
                    due = tokio::time::Instant::now() + if refilled > 0 { AFTER_REFILL } else { AGAIN };
                    if refilled >= MOST_AT_ONCE as u64 {
                        self.audit_wanted.store(true, Ordering::SeqCst);
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::debug!(service = self.desk.service(), %error, failures, "audit put off");
                    // while the broker is away the loop that publishes says so
                    if failures >= FAILURES_IN_SILENCE {
                        let detail = format!("streams cannot be compared: {error}");
                        self.report.part("audits").unwell(error.trouble(), detail);
                    }
                    self.audit_wanted.store(true, Ordering::SeqCst);
                }
            }
        }
    }

    /// Compares the outbox with `EVENTS`. Answers how many rows the stream had lost; they wait to be published again.
    async fn audit(&self, server: &str, pulse: &Pulse) -> Result<u64, RelayError> {
        pulse.works(|_| "comparing EVENTS with the outbox".to_owned());
        if !self.holds_lease().await? {
            return Ok(0);
        }
        // an end that was lost is found there, and is none of a hole
        self.verify_if_reconnected(pulse).await?;
        let known = memory::all(self.desk.store()).await?;
        let Some(known) = known.into_iter().find(|k| k.stream == topology::EVENTS && k.last > 0) else {
            return Ok(0);
        };
        let asked = self.connection.jetstream().get_stream(topology::EVENTS);
        let found = flat(Wait::new(&self.connection).answer(asked).await).map_err(RelayError::broker)?;
        let missing = self.missing_between(topology::EVENTS, 0, known.last, pulse).await?;
        if self.connection.identity().server != server {
            // what was read was of two servers
            return Err(RelayError::broker("another server meanwhile".to_owned()));
        }
        let count = missing.len() as u64;
        if count > 0 {
            let loss =
                super::refill::Loss { after: i64::MAX, single: missing, reason: RefillReason::Corrupted };
            FailPoint::HolesNoticed.reached().await;
            self.refill(&known, &known.incarnation, loss).await?;
            self.desk.handoff().committed(None);
        }
        FailPoint::Audited.reached().await;
        let mut tx = self.desk.store().begin().await?;
        memory::audited(&mut tx, topology::EVENTS, server, absent(&found)).await?;
        tx.commit().await?;
        tracing::debug!(service = self.desk.service(), missing = count, "stream compared with the outbox");
        Ok(count)
    }

    /// Places after `after`, up to `upto`, at which the stream should hold a message of ours and does not.
    pub(super) async fn missing_between(
        &self,
        stream: &str,
        after: i64,
        upto: i64,
        pulse: &Pulse,
    ) -> Result<BTreeSet<i64>, RelayError> {
        let mut missing = BTreeSet::new();
        let mut messages = self.own_events(after + 1).await?;
        let mut ahead: Option<(i64, String)> = None;
        let mut from = after;
        while missing.len() < MOST_AT_ONCE {
            let prefixes = self.own_prefixes();
            let rows = outbox::places(self.desk.store(), stream, from, upto, PAGE, &prefixes).await?;
            let Some((last, _)) = rows.last().cloned() else { break };
            let mut held: HashMap<i64, String> = HashMap::with_capacity(rows.len());
            loop {
                let message = match ahead.take() {
                    Some(message) => Some(message),
                    None => messages.next().await?,
                };
                pulse.beats();
                let Some((place, id)) = message else { break };
                if place > last {
                    ahead = Some((place, id));
                    break;
                }
                held.insert(place, id);
            }
            missing.extend(
                rows.iter().filter(|(place, id)| held.get(place) != Some(id)).map(|(place, _)| *place),
            );
            from = last;
        }
        Ok(missing)
    }

    /// Beginnings of the subjects of everything this service says.
    pub(super) fn own_prefixes(&self) -> [String; 2] {
        [format!("evt.{}.", self.desk.service()), "evt.bus.".to_owned()]
    }

    /// Places and ids of the events of this service (and of others of its name) from a place on, as the stream holds
    /// them now.
    pub(super) async fn own_events(&self, from: i64) -> Result<OwnEvents, RelayError> {
        let failed = |e: String| RelayError::broker(e);
        let mut wait = Wait::new(&self.connection);
        let asked = self.connection.jetstream().get_stream_no_info(topology::EVENTS);
        let stream = flat(wait.answer(asked).await).map_err(failed)?;
        let subjects = self.own_prefixes().map(|prefix| format!("{prefix}>")).to_vec();
        let newest = watch::newest(&mut wait, &stream, &subjects, 0).await;
        let newest = newest.map_err(|e| failed(e.to_string()))?;
        if newest < u64::try_from(from).unwrap_or(0) {
            return Ok(OwnEvents { messages: None, newest });
        }
        let config = OrderedConfig {
            name: Some(watch::reader()),
            filter_subjects: subjects,
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: u64::try_from(from).unwrap_or(1),
            },
            headers_only: true,
            ..OrderedConfig::default()
        };
        let consumer = flat(wait.answer(stream.create_consumer(config)).await).map_err(failed)?;
        let messages = flat(wait.answer(consumer.messages()).await).map_err(failed)?;
        Ok(OwnEvents { messages: Some(messages), newest })
    }
}

/// Events of one service, in order, up to the newest.
pub(super) struct OwnEvents {
    messages: Option<Ordered>,
    newest: u64,
}

impl OwnEvents {
    /// The next place and id.
    pub async fn next(&mut self) -> Result<Option<(i64, String)>, RelayError> {
        let Some(messages) = &mut self.messages else { return Ok(None) };
        let message = tokio::time::timeout(ANSWER, messages.next()).await;
        let message = message.map_err(|_| RelayError::broker("the stream is not delivered".to_owned()))?;
        let message = message.ok_or_else(|| RelayError::broker("the subscription ended".to_owned()))?;
        let message = message.map_err(|e| RelayError::broker(e.to_string()))?;
        let info = message.info().map_err(|e| RelayError::broker(e.to_string()))?;
        let place = info.stream_sequence as i64;
        let ended = info.pending == 0 || info.stream_sequence >= self.newest;
        let id = message.headers.as_ref().and_then(|h| h.get("Nats-Msg-Id"));
        let id = id.map(|id| id.as_str().to_owned()).unwrap_or_default();
        if ended {
            self.messages = None;
        }
        Ok(Some((place, id)))
    }
}
