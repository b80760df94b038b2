//! What is really there.

use super::held::Held;

/// Everything that was seen of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What the hypervisor knows.
    pub domain: Domain,
    /// What lies on the disk of the host.
    pub files: Files,
    /// The hypervisor ran the VM on these files, or may have: they hold data of its owner.
    pub ran: bool,
}

/// What the hypervisor knows under the VM's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// Nothing.
    Missing,
    /// Something that does not carry the mark of this host: never touched.
    Foreign {
        /// It is in memory: the files under the VM's name may be in its hands.
        active: bool,
    },
    /// A VM with our mark.
    Ours(Ours),
}

/// A VM that carries our mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// Of the intent that defined it.
    pub generation: u64,
    /// The fingerprint we wrote down when we defined it.
    pub marked: String,
    /// The fingerprint of the definition as it is now.
    pub actual: String,
    /// The hypervisor will still know it when it is off.
    pub persistent: bool,
    /// What it does.
    pub power: Power,
    /// The same in the hypervisor's own words, with its reason: "paused (I/O error)".
    pub words: &'static str,
    /// Tells one boot of the guest from the next: see [`booted_since`].
    pub boot: u64,
}

/// A boot as a number: which start of the VM (24 bits), which life of the process that counts (16), and how often it
/// has seen the guest begin anew (24). A counter of another life tells nothing.
pub fn boot_number(start: u64, life: u16, count: u64) -> u64 {
    (start & 0xff_ffff) << 40 | u64::from(life) << 24 | count & 0xff_ffff
}

/// Whether the guest began to boot again between two looks. `None`: nobody was there to see.
pub fn booted_since(earlier: u64, now: u64) -> Option<bool> {
    let (start, life) = (|boot: u64| boot >> 40, |boot: u64| boot >> 24 & 0xffff);
    match (start(earlier) == start(now), life(earlier) == life(now)) {
        (false, _) => Some(true),
        (true, false) => None,
        (true, true) => Some(earlier != now),
    }
}

/// What a VM does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Power {
    /// Its CPUs run.
    Running,
    /// In memory, held.
    Paused(Held),
    /// Not in memory.
    Off(Ended),
}

impl Power {
    /// It is in memory: its disks are in use.
    pub fn is_active(self) -> bool {
        !matches!(self, Power::Off(_))
    }

    /// How the guest ended, if it did. One that crashed may be kept in memory.
    pub fn ended(self) -> Option<Ended> {
        match self {
            Power::Off(ended) => Some(ended),
            Power::Paused(Held::Crashed) => Some(Ended::Crashed),
            Power::Running | Power::Paused(_) => None,
        }
    }

    /// In the words of `virsh domstate --reason`.
    pub fn words(self) -> &'static str {
        match self {
            Power::Running => "running",
            Power::Paused(held) => held.words(),
            Power::Off(Ended::ByGuest) => "shut off (shutdown)",
            Power::Off(Ended::Killed) => "shut off (destroyed)",
            Power::Off(Ended::Crashed) => "shut off (crashed)",
            Power::Off(Ended::Never) => "shut off (unknown)",
        }
    }
}

/// Why a VM is not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The guest shut itself down (or followed a request to).
    ByGuest,
    /// Somebody took its power, or the host went down.
    Killed,
    /// The guest or the hypervisor process crashed.
    Crashed,
    /// It never ran, as far as anybody knows.
    Never,
}

/// What of the VM lies on the disk of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Files {
    /// Nothing.
    Missing,
    /// Something, not finished.
    Partial,
    /// They were made for this generation, and the disk with the guest's data is gone.
    Lost {
        /// Of the intent they were made for.
        generation: u64,
    },
    /// Everything the VM needs, made for this generation.
    Ready {
        /// Of the intent they were made for.
        generation: u64,
    },
}

impl Observed {
    /// Our VM, if there is one.
    pub fn ours(&self) -> Option<&Ours> {
        match &self.domain {
            Domain::Ours(ours) => Some(ours),
            _ => None,
        }
    }

    /// What our VM does, if there is one.
    pub fn power(&self) -> Option<Power> {
        self.ours().map(|o| o.power)
    }

    /// The guest is in memory, running or paused.
    pub fn is_active(&self) -> bool {
        self.power().is_some_and(Power::is_active)
    }
}
