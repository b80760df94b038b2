//! Quotas between the wire and the rules.

use contracts::gateway::v1 as wire;
use gateway_api::domain::violation::Violation;
use kernel::Timestamp;
use kernel::quota::{Amounts, Limits, Quota};

/// Largest limit: what columns of all databases hold.
const MOST: u64 = i64::MAX as u64;

/// Field of a limit in a request, seen from the limits.
fn field(quota: Quota) -> &'static str {
    match quota {
        Quota::Vcpus => "vcpus_milli",
        Quota::Memory => "memory_bytes",
        Quota::Disk => "disk_bytes",
        other => other.name(),
    }
}

/// Reads limits; `name` is the field they stand in.
pub fn read(name: &str, limits: Option<&wire::QuotaLimits>) -> Result<Limits, Violation> {
    let limits = Limits::from(limits.unwrap_or(&wire::QuotaLimits::default()));
    for quota in Quota::ALL {
        let violation = |text: String| Violation::new(format!("{name}.{}", field(quota)), text);
        if limits.of(quota).is_some_and(|limit| limit > MOST) {
            return Err(violation(format!("at most {MOST}; leave it out when there is no limit")));
        }
        if quota == Quota::RequestsPerSecond && limits.of(quota) == Some(0) {
            let text =
                "0 would let nobody in: write 1 or more, or disable the tenant to stop every change in it";
            return Err(violation(text.to_owned()));
        }
    }
    Ok(limits)
}

/// A quota that was never set.
pub fn unlimited(tenant: &str) -> wire::Quota {
    wire::Quota {
        tenant: tenant.to_owned(),
        limits: Some(wire::QuotaLimits::default()),
        ..wire::Quota::default()
    }
}

/// The limits in a quota.
pub fn limits(quota: Option<&wire::Quota>) -> Limits {
    quota.and_then(|quota| quota.limits.as_ref()).map(Limits::from).unwrap_or_default()
}

/// The next quota of a tenant; `None` when it says the same as `before`.
pub fn next(
    tenant: &str,
    before: Option<&wire::Quota>,
    limits: &Limits,
    now: Timestamp,
) -> Option<wire::Quota> {
    if before.is_some() && self::limits(before) == *limits {
        return None;
    }
    Some(wire::Quota {
        tenant: tenant.to_owned(),
        limits: Some(limits.into()),
        revision: before.map_or(0, |quota| quota.revision) + 1,
        updated_at_us: now.micros(),
    })
}

/// Whether a service of this version counts such objects.
fn enforced(quota: Quota) -> bool {
    !matches!(quota, Quota::Snapshots | Quota::Backups | Quota::Networks | Quota::FloatingIps)
}

/// Use and limit of everything that can be limited.
pub fn uses(limits: &Limits, used: &Amounts) -> Vec<wire::QuotaUse> {
    let one = |quota: Quota| wire::QuotaUse {
        name: quota.name().to_owned(),
        used: used.of(quota),
        limit: limits.of(quota),
        enforced: enforced(quota),
    };
    Quota::ALL.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_limits_are_named() {
        let fine = wire::QuotaLimits { instances: Some(0), ..wire::QuotaLimits::default() };
        assert_eq!(read("limits", Some(&fine)).map(|l| l.of(Quota::Instances)), Ok(Some(0)));
        assert_eq!(read("limits", None), Ok(Limits::default()));
        for (wrong, name) in [
            (wire::QuotaLimits { memory_bytes: Some(1 << 63), ..fine }, "limits.memory_bytes"),
            (wire::QuotaLimits { requests_per_second: Some(0), ..fine }, "limits.requests_per_second"),
        ] {
            assert_eq!(read("limits", Some(&wrong)).expect_err(name).field, name);
        }
    }

    #[test]
    fn a_quota_grows_by_a_revision_with_each_change() {
        let ten = Limits::default().with(Quota::Instances, Some(10));
        let first = next("acme", None, &ten, Timestamp(5)).expect("the first");
        assert_eq!((first.revision, first.updated_at_us), (1, 5));
        assert_eq!(next("acme", Some(&first), &ten, Timestamp(6)), None);
        let second = next("acme", Some(&first), &Limits::default(), Timestamp(7)).expect("another");
        assert_eq!((second.revision, limits(Some(&second))), (2, Limits::default()));
        assert!(next("acme", None, &Limits::default(), Timestamp(5)).is_some(), "set to nothing is set");
    }

    #[test]
    fn everything_is_shown_and_what_nobody_counts_is_said() {
        let limits = Limits::default().with(Quota::Networks, Some(3));
        let shown = uses(&limits, &Amounts::default().with(Quota::Memory, 7));
        assert_eq!(shown.len(), Quota::ALL.len());
        let of = |name: &str| shown.iter().find(|one| one.name == name).expect("shown");
        assert_eq!((of("memory").used, of("memory").limit, of("memory").enforced), (7, None, true));
        assert_eq!((of("networks").limit, of("networks").enforced), (Some(3), false));
    }
}
