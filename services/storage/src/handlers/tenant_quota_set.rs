//! `TenantQuotaSet`: a tenant may have more or fewer images from now on.

use crate::store::quotas;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::TenantQuotaSet;

/// Takes note of `TenantQuotaSet`.
pub struct TenantQuotaSetHandler;

#[async_trait]
impl Handle<TenantQuotaSet> for TenantQuotaSetHandler {
    async fn handle(&self, work: &mut Work, message: TenantQuotaSet) -> Result<(), Failure> {
        let quota = message.quota.ok_or_else(|| Failure::Poison("an event without a quota".into()))?;
        Ok(quotas::put(work.tx(), &quota).await?)
    }
}
