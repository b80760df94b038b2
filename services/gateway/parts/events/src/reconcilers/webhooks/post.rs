//! Attempts: what is signed and sent, and what their answers lead to.

use super::Dispatch;
use super::courier::Courier;
use crate::adapters::webhooks::{Attempt, Request, Sender};
use crate::domain::webhook_patience::{Answer, Next, answer};
use crate::store::deliveries::{self, Begun, Outcome};
use crate::store::webhooks;
use bus::Cause;
use contracts::gateway::v1::{DeliveryState, WebhookDisabled, WebhookRecord, WebhookState};
use kernel::Timestamp;
use std::sync::Arc;

/// A receiver and how to sign for it at the moment.
#[derive(Clone)]
pub(super) struct Post {
    sender: Sender,
    url: Arc<str>,
    secrets: Arc<[String]>,
    timestamp: i64,
}

/// An attempt that is over.
pub(super) struct Answered {
    position: i64,
    attempts: u32,
    tried_since: Timestamp,
    attempt: Attempt,
}

/// The secrets that sign at `now`: the present one, and the one before it while that is still good.
pub(crate) fn secrets(
    sealer: &chassis::Sealer,
    record: &WebhookRecord,
    now: Timestamp,
) -> anyhow::Result<Vec<String>> {
    let until = record.webhook.as_ref().map_or(0, |webhook| webhook.previous_secret_until_us);
    let previous = record.previous_secret.as_ref().filter(|_| now.micros() < until);
    let sealed = record.secret.iter().chain(previous);
    sealed.map(|sealed| Ok(String::from_utf8(sealer.open(sealed)?)?)).collect()
}

impl Post {
    pub(super) fn new(dispatch: &Dispatch, record: &WebhookRecord, now: Timestamp) -> anyhow::Result<Self> {
        let url = record.webhook.as_ref().map(|webhook| webhook.url.as_str()).unwrap_or_default();
        Ok(Self {
            sender: dispatch.sender.clone(),
            url: url.into(),
            secrets: secrets(&dispatch.sealer, record, now)?.into(),
            timestamp: now.micros() / 1_000_000,
        })
    }

    pub(super) async fn send(self, begun: Begun) -> Answered {
        let Begun { position, event_id, attempts, tried_since_us, body, .. } = begun;
        let request = Request::signed(&self.url, &event_id, attempts, self.timestamp, &self.secrets, body);
        let attempt = self.sender.send(request).await;
        Answered { position, attempts, tried_since: Timestamp(tried_since_us), attempt }
    }
}

impl Courier<'_> {
    /// Writes what came of attempts. True: the receiver is disabled now.
    pub(super) async fn record(&mut self, answers: Vec<Answered>) -> anyhow::Result<bool> {
        let cause = Cause::own(gateway_api::SERVICE_NAME).for_tenant(&self.webhook.tenant);
        let mut work = self.dispatch.desk.begin(cause).await?;
        self.hold(work.tx()).await?;
        let (now, id) = (work.now(), self.webhook.id.clone());
        let mut cursor = self.cursor.clone();
        let (mut nexts, mut gone) = (Vec::new(), false);
        for Answered { position, attempts, tried_since, attempt } in answers {
            let answer = answer(attempt.status);
            let next = self.dispatch.patience.next(
                answer,
                attempts,
                tried_since,
                now,
                rand::random(),
                attempt.retry_after,
            );
            let (state, next_at_us, word) = match next {
                Next::Delivered => (DeliveryState::Delivered, 0, "delivered"),
                Next::Again(at) => (DeliveryState::Waiting, at.micros(), "again"),
                Next::GivenUp => (DeliveryState::Failed, 0, "failed"),
            };
            if next == Next::Delivered {
                (cursor.failing_since_us, cursor.delivered_at_us) = (0, now.micros());
            } else if cursor.failing_since_us == 0 {
                cursor.failing_since_us = now.micros();
            }
            if next == Next::GivenUp {
                let error = attempt.error.as_str();
                tracing::info!(webhook = id, attempts, error, "a delivery was given up");
            }
            gone |= answer == Answer::Gone;
            let duration_us = i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX);
            let outcome =
                Outcome { state, status: attempt.status, error: &attempt.error, duration_us, next_at_us };
            deliveries::end(work.tx(), &id, position, outcome).await?;
            nexts.push((position, next));
            self.dispatch.measures.attempted(word, attempt.duration);
        }
        webhooks::move_to(work.tx(), &id, &cursor).await?;
        let failing = cursor.failing_since_us != 0
            && self.dispatch.patience.is_over(Timestamp(cursor.failing_since_us), now);
        let over = gone || failing;
        if over {
            let reason = match gone {
                true => "the receiver answered 410 Gone".to_owned(),
                false => format!(
                    "nothing arrived for {} s",
                    now.since(Timestamp(cursor.failing_since_us)).as_secs()
                ),
            };
            self.disable(&mut work, reason).await?;
        }
        work.commit().await?;
        self.cursor = cursor;
        for (position, next) in nexts {
            match next {
                Next::Again(at) => self.queue.again(position, at.micros()),
                Next::Delivered | Next::GivenUp => self.queue.end(position),
            }
        }
        Ok(over)
    }

    async fn disable(&self, work: &mut bus::Work, reason: String) -> anyhow::Result<()> {
        let (now_us, id) = (work.now().micros(), &self.webhook.id);
        self.dispatch.desk.store().lock(work.tx(), &format!("webhook {id}")).await?;
        // somebody may have changed it meanwhile: then it is theirs to see whether it works now
        let Some(mut record) = webhooks::by_id(&mut *work.tx(), id).await? else { return Ok(()) };
        let Some(webhook) = record.webhook.as_mut().filter(|now| now.revision == self.webhook.revision)
        else {
            return Ok(());
        };
        tracing::warn!(webhook = id, reason, "a webhook was disabled");
        webhook.state = WebhookState::Failed as i32;
        webhook.reason = reason;
        webhook.revision += 1;
        webhook.updated_at_us = now_us;
        webhooks::put(work.tx(), &record).await?;
        work.say(&WebhookDisabled { record: Some(record) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::gateway::v1::Webhook;

    #[test]
    fn the_secret_before_signs_while_it_is_good() {
        let sealer = chassis::Sealer::new(&[1; 32]);
        let webhook = Webhook { previous_secret_until_us: 100, ..Webhook::default() };
        let record = WebhookRecord {
            webhook: Some(webhook),
            secret: Some(sealer.seal(b"new")),
            previous_secret: Some(sealer.seal(b"old")),
        };
        let of = |now| secrets(&sealer, &record, Timestamp(now)).expect("opens");
        assert_eq!(of(99), ["new", "old"]);
        assert_eq!(of(100), ["new"]);
        assert!(secrets(&chassis::Sealer::new(&[2; 32]), &record, Timestamp(0)).is_err());
    }
}
