//! Flavors. The row was written with the event; in a replay it is written here.

use crate::store::flavors;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::gateway::v1::Flavor;

/// An event that carries a flavor.
pub(super) struct Project;

#[async_trait]
impl HandleObject<Flavor> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<Flavor>) -> Result<(), Failure> {
        Ok(flavors::put(work.tx(), &event.object).await?)
    }
}
