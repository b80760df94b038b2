//! How small and how big an instance may be.

use gateway_api::domain::violation::Violation;
use kernel::limits::{DISK, DISK_LEAST, MEMORY, MEMORY_LEAST, VCPUS, VCPUS_LEAST};
use kernel::{Bytes, MilliVcpus};

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
        if !(VCPUS_LEAST..=VCPUS).contains(&vcpus) {
            return Err(Violation::new(
                "vcpus_milli",
                format!(
                    "{} is out of range: write {} to {} thousandths of a CPU (1000 = one CPU; an instance has at most {VCPUS})",
                    vcpus.0, VCPUS_LEAST.0, VCPUS.0
                ),
            ));
        }
        let range = |least: Bytes, most: Bytes| format!("write {} ({least}) to {} ({most})", least.0, most.0);
        if !(MEMORY_LEAST..=MEMORY).contains(&memory) {
            let text = format!("{} is out of range: {}", memory.0, range(MEMORY_LEAST, MEMORY));
            return Err(Violation::new("memory_bytes", text));
        }
        if disk.0 != 0 && !(DISK_LEAST..=DISK).contains(&disk) {
            let text = format!("{} is out of range: {}, or 0 for no disk", disk.0, range(DISK_LEAST, DISK));
            return Err(Violation::new("disk_bytes", text));
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
        assert!(of(1, MEMORY_LEAST.0, 0).is_ok());
        assert!(of(VCPUS.0, MEMORY.0, DISK.0).is_ok());
        assert!(of(250, 128 << 20, DISK_LEAST.0).is_ok());
    }

    #[test]
    fn what_is_outside_is_named() {
        for (resources, field) in [
            (of(0, MEMORY_LEAST.0, 0), "vcpus_milli"),
            // 255 CPUs and a thousandth are 256 in the guest
            (of(255_001, MEMORY_LEAST.0, 0), "vcpus_milli"),
            (of(1, MEMORY_LEAST.0 - 1, 0), "memory_bytes"),
            (of(1, u64::MAX, 0), "memory_bytes"),
            (of(1, MEMORY_LEAST.0, 1), "disk_bytes"),
            (of(1, MEMORY_LEAST.0, u64::MAX), "disk_bytes"),
        ] {
            assert_eq!(resources.expect_err(field).field, field);
        }
    }
}
