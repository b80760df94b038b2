//! Why a guest stands still in memory.

use super::condition::HostCause;
use kernel::Refusal;

/// Why the CPUs of a VM that is in memory do not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Held {
    /// Somebody paused it; so do we, when that is ordered.
    ByHand,
    /// What the guest wrote could not be written to its disk: the host has no room for it.
    IoError,
    /// The guest suspended itself to memory (ACPI S3).
    Suspended,
    /// The hypervisor is at work with it and lets it go on by itself: a save, a dump, a start, a migration.
    Busy,
    /// The guest crashed, and is kept in memory as it was then.
    Crashed,
}

impl Held {
    /// In the words of `virsh domstate --reason`.
    pub const fn words(self) -> &'static str {
        match self {
            Held::ByHand => "paused (user)",
            Held::IoError => "paused (I/O error)",
            Held::Suspended => "pmsuspended",
            Held::Busy => "paused (creating snapshot)",
            Held::Crashed => "crashed (panicked)",
        }
    }
}

/// What is said of a guest that is held because its disk could not be written. It is of the host: waited out, said once.
pub fn no_room() -> Refusal {
    let text = "its host had no room for what the guest wrote to its disk; the guest is held, loses nothing, and goes on by \
                itself when there is room";
    Refusal::new(HostCause::Storage.code(), text)
}
