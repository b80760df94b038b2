//! The quick look at the streams: on every new connection before anything is published or marked, and now and then.
//!
//! It finds a stream that was made anew, one that lost its end, and rows that are in the stream though nobody marked
//! them. What is missing in the middle is found by the audit, which reads everything.

use super::memory::{self, KnownStream};
use super::refill::Loss;
use super::{Relay, RelayError};
use crate::fail::FailPoint;
use crate::wait::{Wait, flat};
use crate::watchdog::Pulse;
use crate::{outbox, topology};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use contracts::bus::v1::RefillReason;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Nobody acknowledges anything in this stream, so it tells whether a whole store is new or one stream only.
const WITNESS: &str = topology::DEAD;

/// Rows marked in one go.
const ADOPTED_AT_ONCE: usize = 1_000;

impl Relay {
    /// A server that went away may come back with less than it had, and others may publish first: its length proves
    /// nothing. Nothing is published or marked on a new connection before the streams were looked at.
    pub(super) async fn verify_if_reconnected(&self, pulse: &Pulse) -> Result<(), RelayError> {
        let present = self.connection.identity();
        let verified = self.verified.lock().await;
        if verified.as_ref() == Some(&present) {
            return Ok(());
        }
        drop(verified);
        self.verify(pulse).await?;
        *self.verified.lock().await = Some(present);
        Ok(())
    }

    /// The same now and then on a connection that never broke: somebody may have deleted a stream.
    pub(super) async fn verify_again(&self, pulse: &Pulse) -> Result<(), RelayError> {
        if self.holds_lease().await? { self.verify(pulse).await } else { Ok(()) }
    }

    /// Compares each stream with what is remembered of it.
    async fn verify(&self, pulse: &Pulse) -> Result<(), RelayError> {
        pulse.works(|_| "comparing the streams with what is known of them".to_owned());
        let mut known = memory::all(self.desk.store()).await?;
        if !known.is_empty() && known.iter().all(|k| k.stream != WITNESS) {
            known.push(KnownStream { stream: WITNESS.to_owned(), ..KnownStream::default() });
        }
        let mut looked_at = Vec::with_capacity(known.len());
        for known in known {
            let found = self.find(&known.stream).await?;
            pulse.beats();
            looked_at.push((known, found));
        }
        FailPoint::StreamsSeen.reached().await;
        let anew = |known: &KnownStream, found: &Stream| {
            !known.incarnation.is_empty() && known.incarnation != incarnation(found)
        };
        // a stream without messages of ours may be older than what we know of it: it proves nothing
        let wiped = looked_at.iter().all(|(known, found)| known.incarnation.is_empty() || anew(known, found));
        *self.looked_at.lock().await = looked_at.iter().map(|(known, _)| known.stream.clone()).collect();
        for (known, found) in &looked_at {
            let loss = if anew(known, found) {
                let reason = if wiped { RefillReason::Wiped } else { RefillReason::Deleted };
                Some(Loss { after: 0, single: BTreeSet::new(), reason })
            } else {
                self.lost_end(known, found, pulse).await?
            };
            self.settle(known, found, loss, pulse).await?;
        }
        Ok(())
    }

    async fn find(&self, stream: &str) -> Result<Stream, RelayError> {
        let failed = |e: String| RelayError::broker(format!("stream {stream}: {e}"));
        let mut wait = Wait::new(&self.connection);
        let asked = wait.answer(self.connection.jetstream().get_stream(stream)).await.map_err(failed)?;
        match asked {
            Ok(found) => Ok(found),
            Err(error) if topology::is_missing(&error) => {
                flat(wait.answer(self.connection.ensure_streams()).await).map_err(failed)?;
                flat(wait.answer(self.connection.jetstream().get_stream(stream)).await).map_err(failed)
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// What the end of a stream lacks.
    async fn lost_end(
        &self,
        known: &KnownStream,
        found: &Stream,
        pulse: &Pulse,
    ) -> Result<Option<Loss>, RelayError> {
        let state = &found.cached_info().state;
        let held = state.last_sequence as i64;
        // nothing was acknowledged, so nothing can be lost
        if known.last == 0 || (held >= known.last && self.holds(found, &known.stream, known.last).await?) {
            return Ok(None);
        }
        if known.stream != topology::EVENTS {
            // a work queue forgets what was obeyed, so its places tell nothing: all of it is sent again, and the
            // inboxes know what they had
            return Ok(Some(Loss { after: 0, single: BTreeSet::new(), reason: RefillReason::RolledBack }));
        }
        let bound = held.min(known.last);
        let sound = self.sound_place(found, &known.stream, bound, pulse).await?;
        // between the sound place and the end others may have written where our messages were
        let single = self.missing_between(&known.stream, sound, bound, pulse).await?;
        Ok(Some(Loss { after: bound, single, reason: RefillReason::RolledBack }))
    }

    /// A place, at most `bound`, at which the stream still holds our message: looked for backwards in steps that double.
    async fn sound_place(
        &self,
        found: &Stream,
        stream: &str,
        bound: i64,
        pulse: &Pulse,
    ) -> Result<i64, RelayError> {
        let mut back = 0;
        while let Some(place) = outbox::place_before(self.desk.store(), stream, bound, back).await? {
            if self.holds(found, stream, place).await? {
                return Ok(place);
            }
            back = back * 2 + 1;
            pulse.beats();
        }
        Ok(0)
    }

    /// Whether the stream holds our message at `place`. Of a work queue that has no message there this says only that
    /// its end was not cut off: the message was obeyed, or lost from the middle. Which of the two is proven by the
    /// answer and not by the absence: who sent a command and hears nothing of it sends it again (`unanswered`, and the
    /// scheduler's orders to hosts).
    async fn holds(&self, found: &Stream, stream: &str, place: i64) -> Result<bool, RelayError> {
        let ours = outbox::ids_at(self.desk.store(), stream, place).await?;
        if ours.is_empty() {
            return Ok(true);
        }
        let asked = found.direct_get(u64::try_from(place).unwrap_or(0));
        let asked = Wait::new(&self.connection).answer(asked).await;
        match asked.map_err(RelayError::broker)? {
            Ok(message) => {
                let there = message.headers.get("Nats-Msg-Id").map(|id| id.as_str());
                Ok(ours.iter().any(|id| Some(id.as_str()) == there))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(stream != topology::EVENTS),
            Err(error) => Err(RelayError::broker(error.to_string())),
        }
    }

    /// Writes down a loss, takes note of rows that are there already, and remembers the stream as it is.
    async fn settle(
        &self,
        known: &KnownStream,
        found: &Stream,
        loss: Option<Loss>,
        pulse: &Pulse,
    ) -> Result<(), RelayError> {
        let present = incarnation(found);
        if let Some(loss) = loss {
            FailPoint::LossNoticed.reached().await;
            self.refill(known, &present, loss).await?;
            FailPoint::RefillWritten.reached().await;
        } else if known.incarnation != present {
            let mut tx = self.desk.store().begin().await?;
            let now = KnownStream { incarnation: present, ..known.clone() };
            memory::keep(&mut tx, &now).await?;
            tx.commit().await?;
        }
        if known.stream != topology::EVENTS {
            return Ok(());
        }
        let held = found.cached_info().state.last_sequence as i64;
        self.adopt(held, pulse).await?;
        if absent(found) != known.absent {
            self.audit_wanted.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Rows that wait though the stream holds them: a process died between the acknowledgement and the mark. The
    /// server forgets ids after two minutes, so they would be in the stream twice.
    async fn adopt(&self, held: i64, pulse: &Pulse) -> Result<(), RelayError> {
        let known = memory::all(self.desk.store()).await?;
        let last = known.iter().find(|k| k.stream == topology::EVENTS).map_or(0, |k| k.last);
        if held <= last || outbox::pending(self.desk.store()).await? == 0 {
            return Ok(());
        }
        let mut reader = self.own_events(last + 1).await?;
        let mut places = Vec::new();
        while let Some((place, id)) = reader.next().await? {
            places.push((place, id));
            pulse.beats();
        }
        let mut tx = self.desk.store().begin().await?;
        for places in places.chunks(ADOPTED_AT_ONCE) {
            if let Some(newest) = outbox::adopt(&mut tx, topology::EVENTS, places).await? {
                memory::reached(&mut tx, topology::EVENTS, newest).await?;
            }
            pulse.beats();
        }
        FailPoint::Adopted.reached().await;
        Ok(tx.commit().await?)
    }
}

/// When a stream was made.
pub(super) fn incarnation(found: &Stream) -> String {
    found.cached_info().created.unix_timestamp_nanos().to_string()
}

/// How many places up to the end hold no message.
pub(super) fn absent(found: &Stream) -> i64 {
    let state = &found.cached_info().state;
    state.last_sequence.saturating_sub(state.messages) as i64
}
