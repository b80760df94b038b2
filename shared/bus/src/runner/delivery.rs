//! One message, or one batch of them, through the handlers.

use super::in_hand::Taken;
use super::{Runner, Source, Verdict};
use crate::fail::FailPoint;
use crate::{Cause, Envelope, Failure, Trouble, Work, dead, inbox, trace};
use async_nats::jetstream::Message;
use futures::FutureExt;
use kernel::{MessageId, Subject};
use opentelemetry::KeyValue;
use sqlx::Executor;
use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::StoreError;
use tracing::Instrument;

/// When the store itself fails no message is to blame: all come back after this long, uncounted.
const STORE_DELAY: Duration = Duration::from_secs(1);

/// The id of a message as it says it.
pub(super) fn id(message: &Message) -> &str {
    message.headers.as_ref().and_then(|h| h.get("Nats-Msg-Id")).map_or("without an id", |id| id.as_str())
}

fn deliveries(message: &Message) -> i64 {
    message.info().map_or(1, |info| info.delivered)
}

impl Runner {
    /// What becomes of each message of the batch. Messages that came again go first, being the older ones. Before they are
    /// handled once more that is counted, so that one that kills the process cannot take its neighbours along for ever:
    /// the third time each goes alone.
    pub(super) async fn decide(&self, source: &Source, batch: &[Taken]) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Done; batch.len()];
        let (fresh, again): (Vec<usize>, Vec<usize>) =
            (0..batch.len()).partition(|index| deliveries(&batch[*index]) <= 1);
        let (alone, again) = self.untried(source, batch, again).await;
        for index in alone {
            source.pulse.at(index);
            verdicts[index] = self.alone_or_later(source, &batch[index]).await;
        }
        for (indexes, attempt) in [(again, 2), (fresh, 1)] {
            let messages: Vec<(usize, &Message)> =
                indexes.iter().map(|index| (*index, &*batch[*index])).collect();
            let mut decided = Vec::with_capacity(messages.len());
            while decided.len() < messages.len() {
                let left = &messages[decided.len()..];
                let part = &left[..left.len().min(self.pace.messages())];
                decided.extend(self.decide_part(source, part, attempt).await);
            }
            for (index, verdict) in indexes.into_iter().zip(decided) {
                verdicts[index] = verdict;
            }
        }
        let failed = verdicts.contains(&Verdict::Again(STORE_DELAY));
        if !failed && self.store_failed.swap(false, Ordering::SeqCst) {
            self.report.part("store").well("listening");
        }
        verdicts
    }

    /// Which of the messages that came again go alone, and which nobody has tried as far as is known. Those are many when
    /// a reader falls behind: they waited here for longer than the server waits. Handled alone they would take the time
    /// of those after them, which came again as well, and the reader would never catch up. Those that had their effect
    /// are in neither.
    async fn untried(&self, source: &Source, batch: &[Taken], again: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        if again.is_empty() {
            return (again, Vec::new());
        }
        let ids: BTreeMap<usize, MessageId> =
            again.iter().filter_map(|index| Some((*index, read(&batch[*index]).ok()?.id))).collect();
        let (reader, asked) = (self.desk.store().reader(), ids.values().copied().collect::<Vec<_>>());
        // a row is in the inbox before it goes from the attempts, so these are asked first
        let found = async {
            let attempted = inbox::attempted(reader, &source.consumer, &asked).await?;
            Ok::<_, StoreError>((attempted, inbox::known(reader, &source.consumer, &asked).await?))
        };
        let (attempted, known) = match found.await {
            Ok(found) => found,
            // a database that cannot be asked says so when it is written to
            Err(error) => {
                tracing::debug!(%error, "the inbox cannot be asked");
                return (again, Vec::new());
            }
        };
        let has = |set: &HashSet<String>, index: &usize| {
            ids.get(index).is_some_and(|id| set.contains(&id.to_string()))
        };
        let left = again.into_iter().filter(|index| !has(&known, index) || has(&attempted, index));
        left.partition(|index| !ids.contains_key(index) || has(&attempted, index) || self.retry.attempts < 2)
    }

    /// Messages of which this is the first or the second attempt.
    async fn decide_part(&self, source: &Source, batch: &[(usize, &Message)], attempt: i64) -> Vec<Verdict> {
        if batch.len() > 1 {
            if attempt > 1
                && let Err(error) = self.count_second_attempts(source, batch).await
            {
                return vec![self.store_refuses(&error); batch.len()];
            }
            match self.swiftly(source, batch, attempt).await {
                Ok(true) => return vec![Verdict::Done; batch.len()],
                // one of them fails: again, with a place to go back to before each
                Ok(false) => match self.together(source, batch, attempt).await {
                    Ok(verdicts) => return verdicts,
                    Err(error) => tracing::warn!(%error, "batch undone; one by one"),
                },
                Err(error) => tracing::warn!(%error, "batch undone; one by one"),
            }
        }
        let mut verdicts = Vec::with_capacity(batch.len());
        for (index, message) in batch {
            source.pulse.at(*index);
            verdicts.push(self.alone_or_later(source, message).await);
        }
        verdicts
    }

    async fn count_second_attempts(
        &self,
        source: &Source,
        batch: &[(usize, &Message)],
    ) -> Result<(), StoreError> {
        let ids: Vec<MessageId> =
            batch.iter().filter_map(|(_, message)| Some(read(message).ok()?.id)).collect();
        let now = self.desk.clock().now();
        let mut tx = self.desk.store().begin().await?;
        inbox::count_attempts(&mut tx, &source.consumer, &ids, now).await?;
        tx.commit().await?;
        FailPoint::AttemptCounted.reached().await;
        Ok(())
    }

    async fn alone_or_later(&self, source: &Source, message: &Message) -> Verdict {
        match self.alone(source, message).await {
            Ok(verdict) => verdict,
            Err(error) => self.store_refuses(&error),
        }
    }

    fn store_refuses(&self, error: &StoreError) -> Verdict {
        tracing::error!(%error, service = self.desk.service(), "store does not take messages");
        self.report.part("store").unwell(Trouble::of_store(error), error.to_string());
        self.store_failed.store(true, Ordering::SeqCst);
        Verdict::Again(STORE_DELAY)
    }

    /// The whole batch as one, for the common case that every message can be handled: one statement claims all. False:
    /// one of them fails, and nothing was done.
    async fn swiftly(
        &self,
        source: &Source,
        batch: &[(usize, &Message)],
        attempt: i64,
    ) -> Result<bool, StoreError> {
        let mut envelopes = Vec::with_capacity(batch.len());
        for (_, message) in batch {
            match read(message) {
                Ok(envelope) => envelopes.push(envelope),
                Err(_) => return Ok(false),
            }
        }
        let mut work = self.desk.begin(Cause::own(self.desk.service())).await?;
        let began = Instant::now();
        let ids: Vec<MessageId> = envelopes.iter().map(|envelope| envelope.id).collect();
        let now = work.now();
        let mut fresh = inbox::claim_all(work.tx(), &source.consumer, &ids, now).await?;
        FailPoint::BatchClaimed.reached().await;
        if let Err(failure) =
            self.gather(&mut work, envelopes.iter().filter(|e| fresh.contains(&e.id.to_string()))).await
        {
            tracing::debug!(?failure, "batch is done again, message by message");
            return Ok(false);
        }
        for (envelope, (index, _)) in envelopes.iter().zip(batch) {
            source.pulse.at(*index);
            // the second of two copies in one batch finds its claim taken
            if !fresh.remove(&envelope.id.to_string()) {
                continue;
            }
            if let Err(failure) = self.handle(&mut work, envelope).await {
                tracing::debug!(message = %envelope.subject, ?failure, "batch is done again, message by message");
                return Ok(false);
            }
        }
        if attempt > 1 {
            inbox::forget_attempts(work.tx(), &source.consumer, &ids).await?;
        }
        self.pace.note(batch.len(), began.elapsed());
        work.commit().await?;
        for envelope in &envelopes {
            self.count(envelope, &Ok(()));
        }
        Ok(true)
    }

    /// Lets each handler read for all of its messages at once.
    async fn gather<'e>(
        &self,
        work: &mut Work,
        messages: impl Iterator<Item = &'e Envelope>,
    ) -> Result<(), Failure> {
        let mut of_each: BTreeMap<(&str, &str), Vec<&Envelope>> = BTreeMap::new();
        for envelope in messages {
            let Subject { service, name, .. } = &envelope.subject;
            of_each.entry((service, name)).or_default().push(envelope);
        }
        for envelopes in of_each.into_values() {
            if let Some(handler) = self.subscriptions.find(&envelopes[0].subject) {
                handler.gather(work, &envelopes).await?;
            }
        }
        Ok(())
    }

    async fn together(
        &self,
        source: &Source,
        batch: &[(usize, &Message)],
        attempt: i64,
    ) -> Result<Vec<Verdict>, StoreError> {
        let mut work = self.desk.begin(Cause::own(self.desk.service())).await?;
        let mut verdicts = Vec::with_capacity(batch.len());
        for (index, message) in batch {
            source.pulse.at(*index);
            verdicts.push(self.one(&mut work, source, message, attempt).await?);
        }
        work.commit().await?;
        Ok(verdicts)
    }

    async fn alone(&self, source: &Source, message: &Message) -> Result<Verdict, StoreError> {
        let mut attempt = 1;
        if deliveries(message) > 1
            && let Ok(envelope) = read(message)
        {
            let now = self.desk.clock().now();
            let mut tx = self.desk.store().begin().await?;
            attempt = inbox::count_attempt(&mut tx, &source.consumer, envelope.id, now).await?;
            tx.commit().await?;
            FailPoint::AttemptCounted.reached().await;
        }
        let mut work = self.desk.begin(Cause::own(self.desk.service())).await?;
        let envelope = match read(message) {
            Ok(envelope) => envelope,
            Err(invalid) => {
                dead::bury(&mut work, &source.consumer, message, &invalid.0, attempt);
                work.commit().await?;
                return Ok(Verdict::Done);
            }
        };
        let now = work.now();
        if !inbox::claim(work.tx(), &source.consumer, envelope.id, now).await? {
            // it was counted for nothing: another copy had its effect
            inbox::forget_attempts(work.tx(), &source.consumer, &[envelope.id]).await?;
            work.commit().await?;
            return Ok(Verdict::Done);
        }
        FailPoint::Claimed.reached().await;
        let outcome = self.attempt(&mut work, &source.consumer, &envelope, attempt).await?;
        let verdict = match outcome {
            Ok(()) => Verdict::Done,
            Err(failure) => {
                drop(work);
                work = self.desk.begin(Cause::own(self.desk.service())).await?;
                self.after_failure(&mut work, &source.consumer, message, &envelope, attempt, failure).await?
            }
        };
        work.commit().await?;
        Ok(verdict)
    }

    /// Runs the handler of a claimed message, or gives it up. Its writes are the caller's to undo when it fails.
    async fn attempt(
        &self,
        work: &mut Work,
        consumer: &str,
        envelope: &Envelope,
        attempt: i64,
    ) -> Result<Result<(), Failure>, StoreError> {
        let outcome = if attempt > self.retry.attempts {
            let last = inbox::last_error(work.tx(), consumer, envelope.id).await?;
            Err(Failure::Poison(format!("given up after {} attempts: {last}", attempt - 1)))
        } else {
            match self.handle(work, envelope).await {
                // a row that cannot be written is this message's failure
                Ok(()) => work.write_late().await.map_err(Failure::from),
                failed => failed,
            }
        };
        self.count(envelope, &outcome);
        if outcome.is_ok() && attempt > 1 {
            inbox::forget_attempts(work.tx(), consumer, &[envelope.id]).await?;
        }
        Ok(outcome)
    }

    /// One message inside a unit of work. An error means that the whole unit of work is undone.
    async fn one(
        &self,
        work: &mut Work,
        source: &Source,
        message: &Message,
        attempt: i64,
    ) -> Result<Verdict, StoreError> {
        let envelope = match read(message) {
            Ok(envelope) => envelope,
            Err(invalid) => {
                dead::bury(work, &source.consumer, message, &invalid.0, attempt);
                return Ok(Verdict::Done);
            }
        };
        let (consumer, now) = (source.consumer.as_str(), work.now());
        work.tx().execute("SAVEPOINT message").await?;
        if !inbox::claim(work.tx(), consumer, envelope.id, now).await? {
            work.tx().execute("RELEASE SAVEPOINT message").await?;
            if attempt > 1 {
                inbox::forget_attempts(work.tx(), consumer, &[envelope.id]).await?;
            }
            return Ok(Verdict::Done);
        }
        FailPoint::Claimed.reached().await;
        let mark = work.mark();
        match self.attempt(work, consumer, &envelope, attempt).await? {
            Ok(()) => {
                work.tx().execute("RELEASE SAVEPOINT message").await?;
                Ok(Verdict::Done)
            }
            Err(failure) => {
                work.forget_since(mark);
                work.forget_late();
                work.tx().execute("ROLLBACK TO SAVEPOINT message").await?;
                work.tx().execute("RELEASE SAVEPOINT message").await?;
                self.after_failure(work, consumer, message, &envelope, attempt, failure).await
            }
        }
    }

    async fn after_failure(
        &self,
        work: &mut Work,
        consumer: &str,
        message: &Message,
        envelope: &Envelope,
        attempt: i64,
        failure: Failure,
    ) -> Result<Verdict, StoreError> {
        let now = work.now();
        match failure {
            Failure::Transient(reason) => {
                tracing::warn!(message = %envelope.subject, attempt, reason, "trying again later");
                inbox::note_failure(work.tx(), consumer, envelope.id, &reason, now).await?;
                Ok(Verdict::Again(self.retry.delay(attempt)))
            }
            Failure::Poison(reason) => {
                tracing::error!(message = %envelope.subject, attempt, reason, "dead letter");
                inbox::claim(work.tx(), consumer, envelope.id, now).await?;
                inbox::forget_attempts(work.tx(), consumer, &[envelope.id]).await?;
                dead::bury(work, consumer, message, &reason, attempt);
                Ok(Verdict::Done)
            }
        }
    }

    async fn handle(&self, work: &mut Work, envelope: &Envelope) -> Result<(), Failure> {
        let Some(handler) = self.subscriptions.find(&envelope.subject) else {
            let reason = format!("{} has no handler for {}", self.desk.service(), envelope.subject.name);
            return Err(Failure::Poison(reason));
        };
        work.takes(envelope);
        let span = tracing::info_span!(
            "handle",
            otel.name = %format!("{} {}", self.desk.service(), envelope.subject.name),
            otel.kind = "consumer",
            service = self.desk.service(),
            message = envelope.subject.name,
            key = envelope.subject.key,
            correlation = %envelope.cause.correlation,
        );
        trace::continue_from(&span, &envelope.cause.traceparent);
        let running = AssertUnwindSafe(handler.handle(work, envelope).instrument(span)).catch_unwind();
        let outcome = running.await.unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(Failure::Transient(format!("the handler panicked: {}", text.unwrap_or_default())))
        });
        FailPoint::Handled.reached().await;
        outcome
    }

    fn count(&self, envelope: &Envelope, outcome: &Result<(), Failure>) {
        let outcome = match outcome {
            Ok(()) => "handled",
            Err(Failure::Transient(_)) => "retried",
            Err(Failure::Poison(_)) => "dead",
        };
        self.handled.add(
            1,
            &[
                KeyValue::new("service", self.desk.service()),
                KeyValue::new("message", envelope.subject.name.clone()),
                KeyValue::new("outcome", outcome),
            ],
        );
    }
}

/// Reads a message; a replayed dead letter carries the subject it first had in a header.
fn read(message: &Message) -> Result<Envelope, crate::InvalidEnvelope> {
    let first_subject =
        message.headers.as_ref().and_then(|h| h.get(dead::REPLAY_SUBJECT)).map(|v| v.as_str());
    let subject = first_subject.unwrap_or(message.subject.as_str());
    Envelope::read(subject, message.headers.as_ref(), message.payload.clone())
}
