//! Limits on the wire and in the kernel are the same thing.

use crate::gateway::v1 as wire;
use kernel::quota::{Limits, Quota};

impl From<&wire::QuotaLimits> for Limits {
    fn from(limits: &wire::QuotaLimits) -> Self {
        Self::default()
            .with(Quota::Instances, limits.instances)
            .with(Quota::Vcpus, limits.vcpus_milli)
            .with(Quota::Memory, limits.memory_bytes)
            .with(Quota::Disk, limits.disk_bytes)
            .with(Quota::Images, limits.images)
            .with(Quota::ImageBytes, limits.image_bytes)
            .with(Quota::Snapshots, limits.snapshots)
            .with(Quota::Backups, limits.backups)
            .with(Quota::Networks, limits.networks)
            .with(Quota::FloatingIps, limits.floating_ips)
            .with(Quota::RequestsPerSecond, limits.requests_per_second.map(u64::from))
    }
}

impl From<&Limits> for wire::QuotaLimits {
    fn from(limits: &Limits) -> Self {
        let of = |quota| limits.of(quota);
        let rate = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
        Self {
            instances: of(Quota::Instances),
            vcpus_milli: of(Quota::Vcpus),
            memory_bytes: of(Quota::Memory),
            disk_bytes: of(Quota::Disk),
            images: of(Quota::Images),
            image_bytes: of(Quota::ImageBytes),
            snapshots: of(Quota::Snapshots),
            backups: of(Quota::Backups),
            networks: of(Quota::Networks),
            floating_ips: of(Quota::FloatingIps),
            requests_per_second: of(Quota::RequestsPerSecond).map(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_goes_there_and_back() {
        for (number, quota) in (1..).zip(Quota::ALL) {
            let limits = Limits::default().with(quota, Some(number));
            assert_eq!(Limits::from(&wire::QuotaLimits::from(&limits)), limits, "{}", quota.name());
        }
    }
}
