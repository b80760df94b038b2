//! What an instance takes and a host has.

use kernel::limits::{GPU_MILLI, OVERCOMMIT_PERCENT};
use kernel::{Bytes, MilliVcpus};
use std::fmt;

/// Amounts of everything that is reserved on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Thousandths of a virtual CPU.
    pub vcpus: MilliVcpus,
    /// Memory of the guest.
    pub memory: Bytes,
    /// Local disk.
    pub disk: Bytes,
}

impl Resources {
    /// The same amounts as plain numbers: thousandths of a CPU, bytes, bytes.
    pub fn amounts(self) -> [u64; 3] {
        [self.vcpus.0, self.memory.0, self.disk.0]
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} vCPU, {} memory, {} disk", self.vcpus, self.memory, self.disk)
    }
}

/// GPUs of a host: whole ones, or a share of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gpus {
    /// How many; 0 = none.
    pub count: u32,
    /// Thousandths of each, 1 to 1000; less than 1000 only of one. 0 when there are none.
    pub milli: u32,
}

impl Gpus {
    /// Thousandths of a whole GPU.
    pub const WHOLE: u32 = GPU_MILLI;

    /// Thousandths of a GPU in all.
    pub fn total(self) -> u32 {
        self.count.saturating_mul(self.milli)
    }
}

impl fmt::Display for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.milli) {
            (1, Self::WHOLE) => write!(f, "1 GPU"),
            (1, share) => write!(f, "{share}/1000 of a GPU"),
            (count, _) => write!(f, "{count} GPUs"),
        }
    }
}

/// How far each resource may be promised, in percent of the real capacity: 100 = no overcommit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overcommit {
    /// Percent of the CPUs.
    pub vcpus: u32,
    /// Percent of the memory.
    pub memory: u32,
    /// Percent of the disk.
    pub disk: u32,
}

impl Default for Overcommit {
    fn default() -> Self {
        Self { vcpus: 100, memory: 100, disk: 100 }
    }
}

impl Overcommit {
    /// What is wrong with these percentages, if anything; 0 leaves one as it is.
    pub fn check(self) -> Result<(), String> {
        let all = [self.vcpus, self.memory, self.disk];
        match all.into_iter().find(|percent| *percent > OVERCOMMIT_PERCENT) {
            Some(percent) => Err(format!("overcommit: {percent} % are too many: 1 to {OVERCOMMIT_PERCENT}")),
            None => Ok(()),
        }
    }

    /// What may be promised of `capacity`; saturates instead of overflowing.
    pub fn applied_to(self, capacity: Resources) -> Resources {
        let share = |amount: u64, percent: u32| {
            u64::try_from(u128::from(amount) * u128::from(percent) / 100).unwrap_or(u64::MAX)
        };
        Resources {
            vcpus: MilliVcpus(share(capacity.vcpus.0, self.vcpus)),
            memory: Bytes(share(capacity.memory.0, self.memory)),
            disk: Bytes(share(capacity.disk.0, self.disk)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overcommit_scales_each_resource_by_its_own_percentage() {
        let capacity = Resources { vcpus: MilliVcpus(8000), memory: Bytes(u64::MAX), disk: Bytes(1001) };
        let limit = Overcommit { vcpus: 400, memory: 150, disk: 50 }.applied_to(capacity);
        assert_eq!(limit.amounts(), [32_000, u64::MAX, 500]);
    }
}
