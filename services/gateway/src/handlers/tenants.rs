//! Tenants. The row was written with the event; in a replay it is written here.

use crate::store::tenants;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::Tenant;
use kernel::Message;

/// An event that carries a tenant.
pub(super) struct Project<M>(pub(super) fn(M) -> Option<Tenant>);

#[async_trait]
impl<M: Message> Handle<M> for Project<M> {
    async fn handle(&self, work: &mut Work, message: M) -> Result<(), Failure> {
        match (self.0)(message) {
            Some(tenant) => Ok(tenants::put(work.tx(), &tenant).await?),
            None => Err(Failure::Poison(format!("{} without a tenant", M::NAME))),
        }
    }
}
