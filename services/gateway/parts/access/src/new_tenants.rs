//! What new tenants begin with.

use crate::translate::quotas;
use anyhow::anyhow;
use contracts::gateway::v1::QuotaLimits;
use kernel::quota::Limits;
use serde::{Deserialize, Serialize};

/// Limits that a tenant gets when it is made; what is left out has no limit. Tenants that are there keep theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewTenantQuota {
    /// Instances that are not deleted.
    pub instances: Option<u64>,
    /// Thousandths of a CPU.
    pub vcpus_milli: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// Bytes.
    pub disk_bytes: Option<u64>,
    /// Images that are kept or being taken in.
    pub images: Option<u64>,
    /// Bytes of their files.
    pub image_bytes: Option<u64>,
    /// Snapshots.
    pub snapshots: Option<u64>,
    /// Backups.
    pub backups: Option<u64>,
    /// Networks.
    pub networks: Option<u64>,
    /// Floating IPs.
    pub floating_ips: Option<u64>,
    /// Requests in a second, all tokens together.
    pub requests_per_second: Option<u32>,
}

impl NewTenantQuota {
    /// The limits; `None`: there is none, and new tenants have no quota. The error says which setting is wrong.
    pub fn limits(&self) -> anyhow::Result<Option<Limits>> {
        let limits = QuotaLimits {
            instances: self.instances,
            vcpus_milli: self.vcpus_milli,
            memory_bytes: self.memory_bytes,
            disk_bytes: self.disk_bytes,
            images: self.images,
            image_bytes: self.image_bytes,
            snapshots: self.snapshots,
            backups: self.backups,
            networks: self.networks,
            floating_ips: self.floating_ips,
            requests_per_second: self.requests_per_second,
        };
        let limits = quotas::read("new_tenant_quota", Some(&limits));
        let limits = limits.map_err(|violation| anyhow!("gateway: {violation}"))?;
        Ok((limits != Limits::default()).then_some(limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::quota::Quota;

    #[test]
    fn a_wrong_setting_is_named_and_none_is_no_quota() {
        assert_eq!(NewTenantQuota::default().limits().expect("fine"), None);
        let some = NewTenantQuota { floating_ips: Some(2), ..NewTenantQuota::default() };
        let limits = some.limits().expect("fine").expect("a limit");
        assert_eq!(limits.of(Quota::FloatingIps), Some(2));
        let wrong = NewTenantQuota { requests_per_second: Some(0), ..NewTenantQuota::default() };
        let error = wrong.limits().expect_err("refused").to_string();
        assert!(error.contains("new_tenant_quota.requests_per_second"), "{error}");
    }
}
