//! Webhooks. The row was written with the event; in a replay it is written here.

use crate::store::webhooks;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::WebhookRecord;
use kernel::Message;

/// An event that carries a webhook's record.
pub(super) struct Project<M>(pub(super) fn(M) -> Option<WebhookRecord>);

#[async_trait]
impl<M: Message> Handle<M> for Project<M> {
    async fn handle(&self, work: &mut Work, message: M) -> Result<(), Failure> {
        match (self.0)(message) {
            Some(record) if record.webhook.is_some() => Ok(webhooks::put(work.tx(), &record).await?),
            _ => Err(Failure::Poison(format!("{} without a webhook", M::NAME))),
        }
    }
}
