//! Quotas. The row was written with the event; in a replay it is written here.

use crate::store::quotas;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::TenantQuotaSet;

/// A quota was set.
pub(super) struct Set;

#[async_trait]
impl Handle<TenantQuotaSet> for Set {
    async fn handle(&self, work: &mut Work, event: TenantQuotaSet) -> Result<(), Failure> {
        match event.quota {
            Some(quota) => Ok(quotas::put(work.tx(), &quota).await?),
            None => Err(Failure::Poison("a quota that says nothing".into())),
        }
    }
}
