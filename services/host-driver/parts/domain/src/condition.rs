//! What holds for a whole host, and not for one VM.

/// What can hold for a whole host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostCause {
    /// The network that VMs are attached to is down or missing.
    Network,
    /// Images cannot be read.
    Datastore,
    /// No room, or no writing, on the disk of the host.
    Storage,
    /// Memory of the host.
    Memory,
    /// A program or a limit of the host: qemu-img, open files.
    System,
}

impl HostCause {
    /// Its code in refusals and reports.
    pub fn code(self) -> &'static str {
        match self {
            HostCause::Network => "HOST_NETWORK_DOWN",
            HostCause::Datastore => "DATASTORE_AWAY",
            HostCause::Storage => "HOST_STORAGE_FULL",
            HostCause::Memory => "HOST_MEMORY_SHORT",
            HostCause::System => "HOST_SYSTEM",
        }
    }

    /// What the words of another program tell of: QEMU, qemu-img and libvirt pass the system's own on.
    pub fn of_words(words: &str) -> Option<Self> {
        const KNOWN: [(&str, HostCause); 9] = [
            ("No space left on device", HostCause::Storage),
            ("Disk quota exceeded", HostCause::Storage),
            ("Read-only file system", HostCause::Storage),
            ("Stale file handle", HostCause::Datastore),
            ("Transport endpoint is not connected", HostCause::Datastore),
            ("Cannot allocate memory", HostCause::Memory),
            ("Too many open files", HostCause::System),
            ("Resource temporarily unavailable", HostCause::System),
            ("virtlogd", HostCause::System),
        ];
        KNOWN.iter().find(|(said, _)| words.contains(said)).map(|(_, cause)| *cause)
    }
}

/// Something that keeps a host from working as it should, as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What.
    pub cause: HostCause,
    /// For a person: what was found, and what would be right.
    pub message: String,
}
