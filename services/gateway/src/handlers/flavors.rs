//! Flavors. The row was written with the event; in a replay it is written here.

use crate::store::flavors;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::FlavorCreated;

/// A flavor was made.
pub(super) struct Created;

#[async_trait]
impl Handle<FlavorCreated> for Created {
    async fn handle(&self, work: &mut Work, event: FlavorCreated) -> Result<(), Failure> {
        match event.flavor {
            Some(flavor) => Ok(flavors::put(work.tx(), &flavor).await?),
            None => Err(Failure::Poison("a flavor that says nothing".into())),
        }
    }
}
