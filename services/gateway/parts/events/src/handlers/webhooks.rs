//! Webhooks. The row was written with the event; in a replay it is written here.

use crate::store::webhooks;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::gateway::v1::WebhookRecord;

/// An event that carries a webhook's record.
pub struct Project;

#[async_trait]
impl HandleObject<WebhookRecord> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<WebhookRecord>) -> Result<(), Failure> {
        if event.object.webhook.is_none() {
            return Err(Failure::Poison("a record without a webhook".into()));
        }
        Ok(webhooks::put(work.tx(), &event.object).await?)
    }
}
