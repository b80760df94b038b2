//! What a tenant may have: limits as they were set, what it has, and whether more fits.
//!
//! Whoever owns a kind of object counts its own rows, asks [`judge`] inside the transaction that would add to them, and
//! answers with the refusal it gets. There are no counters that could drift.

use crate::{Bytes, MilliVcpus, Refusal};

/// The code of a refusal because of a quota.
pub const QUOTA_EXCEEDED: &str = "QUOTA_EXCEEDED";

/// What can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quota {
    /// Instances that are not deleted.
    Instances,
    /// Their CPUs, in thousandths.
    Vcpus,
    /// Their memory, in bytes.
    Memory,
    /// Their disks, in bytes.
    Disk,
    /// Images that are kept or being taken in.
    Images,
    /// Files of the images that are kept, in bytes.
    ImageBytes,
    /// Snapshots.
    Snapshots,
    /// Backups.
    Backups,
    /// Networks.
    Networks,
    /// Floating IPs.
    FloatingIps,
    /// Requests to the public interface in a second: a rate, which nobody has any of.
    RequestsPerSecond,
}

impl Quota {
    /// Every quota, in the order in which they are shown.
    pub const ALL: [Self; 11] = [
        Self::Instances,
        Self::Vcpus,
        Self::Memory,
        Self::Disk,
        Self::Images,
        Self::ImageBytes,
        Self::Snapshots,
        Self::Backups,
        Self::Networks,
        Self::FloatingIps,
        Self::RequestsPerSecond,
    ];

    /// "floating_ips": in answers, refusals and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Vcpus => "vcpus",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Images => "images",
            Self::ImageBytes => "image_bytes",
            Self::Snapshots => "snapshots",
            Self::Backups => "backups",
            Self::Networks => "networks",
            Self::FloatingIps => "floating_ips",
            Self::RequestsPerSecond => "requests_per_second",
        }
    }

    /// The quota of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.name() == name)
    }

    /// An amount for people: "10", "1.5", "8 GiB".
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Vcpus => MilliVcpus(amount).to_string(),
            Self::Memory | Self::Disk | Self::ImageBytes => Bytes(amount).to_string(),
            _ => amount.to_string(),
        }
    }
}

/// So much of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts([u64; Quota::ALL.len()]);

impl Amounts {
    /// The same with so much of one.
    #[must_use]
    pub fn with(mut self, quota: Quota, amount: u64) -> Self {
        self.0[quota as usize] = amount;
        self
    }

    /// How much of one.
    pub fn of(&self, quota: Quota) -> u64 {
        self.0[quota as usize]
    }

    /// Both together; saturates instead of overflowing.
    #[must_use]
    pub fn plus(mut self, more: Self) -> Self {
        for (amount, more) in self.0.iter_mut().zip(more.0) {
            *amount = amount.saturating_add(more);
        }
        self
    }
}

/// The most of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits([Option<u64>; Quota::ALL.len()]);

impl Limits {
    /// The same with another limit of one; `None` = no limit.
    #[must_use]
    pub fn with(mut self, quota: Quota, limit: Option<u64>) -> Self {
        self.0[quota as usize] = limit;
        self
    }

    /// The limit of one, if it has one.
    pub fn of(&self, quota: Quota) -> Option<u64> {
        self.0[quota as usize]
    }

    /// Whether one of these has a limit.
    pub fn limit_any(&self, quotas: &[Quota]) -> bool {
        quotas.iter().any(|quota| self.of(*quota).is_some())
    }
}

/// More was asked for than there is room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// All quotas that have no room for it.
    pub quotas: Vec<Quota>,
    /// What the caller is told.
    pub refusal: Refusal,
}

/// Whether `asked` fits beside `used`. What nothing is asked of does not count, also when more of it is used than a limit
/// that was lowered allows.
pub fn judge(limits: &Limits, used: &Amounts, asked: &Amounts) -> Result<(), Excess> {
    let fits = |quota: Quota| {
        let (used, asked) = (used.of(quota), asked.of(quota));
        asked == 0
            || limits.of(quota).is_none_or(|limit| used.checked_add(asked).is_some_and(|all| all <= limit))
    };
    let quotas: Vec<Quota> = Quota::ALL.into_iter().filter(|quota| !fits(*quota)).collect();
    if quotas.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = quotas.iter().map(|quota| quota.name()).collect();
    let message = format!("the quota of the tenant has no room for this: {}", names.join(", "));
    let reasons = quotas.iter().map(|quota| {
        let [used, limit, asked] = [used.of(*quota), limits.of(*quota).unwrap_or_default(), asked.of(*quota)]
            .map(|amount| quota.show(amount));
        format!("{}: {used} of {limit} used, {asked} asked for", quota.name())
    });
    let refusal = Refusal::new(QUOTA_EXCEEDED, message).because(reasons.collect::<Vec<_>>());
    Err(Excess { quotas, refusal })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn names_are_read_back() {
        for (place, quota) in Quota::ALL.into_iter().enumerate() {
            assert_eq!((Quota::of(quota.name()), quota as usize), (Some(quota), place));
        }
        assert_eq!(Quota::of("cpus"), None);
    }

    #[test]
    fn up_to_the_limit_and_not_beyond() {
        let limits = Limits::default().with(Quota::Instances, Some(2));
        let (one, two) =
            (Amounts::default().with(Quota::Instances, 1), Amounts::default().with(Quota::Instances, 2));
        assert_eq!(judge(&limits, &one, &one), Ok(()));
        assert!(judge(&limits, &two, &one).is_err() && judge(&limits, &one, &two).is_err());
        assert_eq!(judge(&Limits::default(), &two, &two), Ok(()), "no limit");
        let none = Limits::default().with(Quota::Instances, Some(0));
        assert!(judge(&none, &Amounts::default(), &one).is_err());
    }

    #[test]
    fn a_refusal_names_everything_that_does_not_fit_with_its_numbers() {
        let limits = Limits::default()
            .with(Quota::Instances, Some(10))
            .with(Quota::Vcpus, Some(4000))
            .with(Quota::Memory, Some(8 * GIB))
            .with(Quota::Disk, Some(100 * GIB));
        let used = Amounts::default()
            .with(Quota::Instances, 3)
            .with(Quota::Vcpus, 3500)
            .with(Quota::Memory, 7 * GIB)
            .with(Quota::Disk, 30 * GIB);
        let asked = Amounts::default()
            .with(Quota::Instances, 1)
            .with(Quota::Vcpus, 1000)
            .with(Quota::Memory, 2 * GIB)
            .with(Quota::Disk, 10 * GIB);
        let excess = judge(&limits, &used, &asked).expect_err("too much");
        assert_eq!(excess.quotas, [Quota::Vcpus, Quota::Memory]);
        assert_eq!(excess.refusal.code, QUOTA_EXCEEDED);
        assert!(excess.refusal.message.ends_with("vcpus, memory"), "{}", excess.refusal);
        let expected = ["vcpus: 3.5 of 4 used, 1 asked for", "memory: 7 GiB of 8 GiB used, 2 GiB asked for"];
        assert_eq!(excess.refusal.reasons, expected);
        assert_eq!(used.plus(asked).of(Quota::Vcpus), 4500);
    }

    #[test]
    fn a_limit_below_what_is_used_takes_nothing_away_and_lets_nothing_in() {
        let limits = Limits::default().with(Quota::Instances, Some(1)).with(Quota::Disk, Some(GIB));
        let used = Amounts::default().with(Quota::Instances, 5).with(Quota::Disk, 5 * GIB);
        assert!(judge(&limits, &used, &Amounts::default().with(Quota::Instances, 1)).is_err());
        assert_eq!(
            judge(&limits, &used, &Amounts::default().with(Quota::Memory, 1)),
            Ok(()),
            "none of it is asked for"
        );
        let most = Amounts::default().with(Quota::Disk, u64::MAX);
        let wide = Limits::default().with(Quota::Disk, Some(u64::MAX));
        assert!(judge(&wide, &used, &most).is_err(), "a sum beyond 64 bits is no room");
    }
}
