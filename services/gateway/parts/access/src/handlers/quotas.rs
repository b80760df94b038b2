//! Quotas. The row was written with the event; in a replay it is written here.

use crate::store::quotas;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::gateway::v1::Quota;

/// An event that carries a quota.
pub struct Project;

#[async_trait]
impl HandleObject<Quota> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<Quota>) -> Result<(), Failure> {
        Ok(quotas::put(work.tx(), &event.object).await?)
    }
}
