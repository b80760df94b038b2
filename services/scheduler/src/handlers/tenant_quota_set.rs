//! A tenant may have more or less from now on. Nothing it has is taken away.

use super::Context;
use crate::quota;
use crate::store::quotas;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::TenantQuotaSet;

/// Handles `TenantQuotaSet`.
pub struct OnTenantQuotaSet(pub Context);

#[async_trait]
impl Handle<TenantQuotaSet> for OnTenantQuotaSet {
    async fn handle(&self, work: &mut Work, event: TenantQuotaSet) -> Result<(), Failure> {
        let set = event.quota.ok_or_else(|| Failure::Poison("quota: is missing".to_owned()))?;
        // who admits locks the quota after the fleet, and so does everybody
        self.0.fleet.hold(work, &self.0.metrics).await?;
        if quotas::restore(work.tx(), &set).await? {
            quota::changed(work, &set.tenant);
        }
        Ok(())
    }
}
