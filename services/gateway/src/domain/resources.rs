//! How small and how big an instance may be.

use gateway_api::domain::violation::Violation;
use kernel::{Bytes, MilliVcpus};

/// Least memory a kernel boots in.
pub const MEMORY_MIN: u64 = 16 << 20;
/// Most memory of one instance: 24 TiB, more than any host QEMU supports today.
pub const MEMORY_MAX: u64 = 24 << 40;
/// Least share of a CPU, in thousandths.
pub const VCPUS_MIN: u64 = 1;
/// Most virtual CPUs, in thousandths: 1024, beyond what KVM takes for one guest.
pub const VCPUS_MAX: u64 = 1_024_000;
/// Least disk, when there is one at all.
pub const DISK_MIN: u64 = 1 << 20;
/// Most disk of one instance: 64 TiB.
pub const DISK_MAX: u64 = 64 << 40;

/// What an instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Share of CPUs.
    pub vcpus: MilliVcpus,
    /// Memory of the guest.
    pub memory: Bytes,
    /// Disk of the guest; 0 = it has none.
    pub disk: Bytes,
}

impl Resources {
    /// The same resources when each is within its bounds.
    pub fn checked(self) -> Result<Self, Violation> {
        let Self { vcpus, memory, disk } = self;
        if !(VCPUS_MIN..=VCPUS_MAX).contains(&vcpus.0) {
            return Err(Violation::new(
                "vcpus_milli",
                format!(
                    "{} is out of range: write {VCPUS_MIN} to {VCPUS_MAX} thousandths of a CPU (1000 = one CPU)",
                    vcpus.0
                ),
            ));
        }
        if !(MEMORY_MIN..=MEMORY_MAX).contains(&memory.0) {
            return Err(Violation::new(
                "memory_bytes",
                format!(
                    "{} is out of range: write {MEMORY_MIN} ({}) to {MEMORY_MAX} ({})",
                    memory.0,
                    Bytes(MEMORY_MIN),
                    Bytes(MEMORY_MAX)
                ),
            ));
        }
        if disk.0 != 0 && !(DISK_MIN..=DISK_MAX).contains(&disk.0) {
            return Err(Violation::new(
                "disk_bytes",
                format!(
                    "{} is out of range: write {DISK_MIN} ({}) to {DISK_MAX} ({}), or 0 for no disk",
                    disk.0,
                    Bytes(DISK_MIN),
                    Bytes(DISK_MAX)
                ),
            ));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vcpus: u64, memory: u64, disk: u64) -> Result<Resources, Violation> {
        Resources { vcpus: MilliVcpus(vcpus), memory: Bytes(memory), disk: Bytes(disk) }.checked()
    }

    #[test]
    fn bounds_belong_to_the_range() {
        assert!(of(1, MEMORY_MIN, 0).is_ok());
        assert!(of(VCPUS_MAX, MEMORY_MAX, DISK_MAX).is_ok());
        assert!(of(250, 128 << 20, DISK_MIN).is_ok());
    }

    #[test]
    fn what_is_outside_is_named() {
        for (resources, field) in [
            (of(0, MEMORY_MIN, 0), "vcpus_milli"),
            (of(VCPUS_MAX + 1, MEMORY_MIN, 0), "vcpus_milli"),
            (of(1, MEMORY_MIN - 1, 0), "memory_bytes"),
            (of(1, u64::MAX, 0), "memory_bytes"),
            (of(1, MEMORY_MIN, 1), "disk_bytes"),
            (of(1, MEMORY_MIN, u64::MAX), "disk_bytes"),
        ] {
            assert_eq!(resources.expect_err(field).field, field);
        }
    }
}
