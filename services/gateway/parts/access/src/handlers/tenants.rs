//! Tenants. The row was written with the event; in a replay it is written here.

use crate::store::tenants;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::gateway::v1::Tenant;

/// An event that carries a tenant.
pub struct Project;

#[async_trait]
impl HandleObject<Tenant> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<Tenant>) -> Result<(), Failure> {
        Ok(tenants::put(work.tx(), &event.object).await?)
    }
}
