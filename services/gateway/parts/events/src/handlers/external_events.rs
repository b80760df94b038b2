//! Events of other systems. The row was written with the event; in a replay it is written here.

use crate::store::external_events;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::ExternalEventReceived;

/// An event was taken.
pub struct Received;

#[async_trait]
impl Handle<ExternalEventReceived> for Received {
    async fn handle(&self, work: &mut Work, event: ExternalEventReceived) -> Result<(), Failure> {
        let received_at_us = event.received_at_us;
        let Some(event) = event.event else {
            return Err(Failure::Poison("an event that says nothing".into()));
        };
        let tenant = work.cause().tenant.clone();
        external_events::claim(work.tx(), &tenant, &event.source, &event.id, received_at_us).await?;
        Ok(())
    }
}
