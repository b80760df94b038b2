//! Reality that left the intent.

/// How reality left the intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DriftKind {
    /// It should run and does not.
    Stopped,
    /// It should not run and does.
    Running,
    /// It should exist and the hypervisor does not know it.
    Undefined,
    /// Its definition is not the one that was made.
    Redefined,
    /// It should run and is paused, or the other way round.
    Paused,
    /// The guest began to boot again, and nobody had asked for it.
    Rebooted,
}

/// A drift and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// How reality left the intent.
    pub kind: DriftKind,
    /// The intent is brought to reality rather than the other way round.
    pub adopt: bool,
    /// One sentence for a person.
    pub detail: String,
}
