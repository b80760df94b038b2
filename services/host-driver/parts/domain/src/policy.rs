//! How patient a host is, and how long it keeps what was put aside.

use super::attempts::Patience;
use super::quarantine::Keep;
use std::time::Duration;

/// The numbers behind the decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often and how long failed work is tried again.
    pub patience: Patience,
    /// The longest pause before a guest that keeps ending is started again.
    pub longest_restart_delay: Duration,
    /// A guest that ran this long does not "keep ending".
    pub stable_after: Duration,
    /// A guest that was held and goes on shows within this time whether it can: its next write fails at once.
    pub settle: Duration,
    /// How long a guest is asked to shut down that runs against an order that was carried out long ago: the time that the
    /// order gave was for the guest that ran then.
    pub stray_grace: Duration,
    /// How long files that were put aside are kept.
    pub keep: Keep,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            longest_restart_delay: Duration::from_secs(300),
            stable_after: Duration::from_secs(60),
            settle: Duration::from_secs(2),
            stray_grace: Duration::from_secs(60),
            keep: Keep::default(),
        }
    }
}

impl Policy {
    /// How long a guest that ended by itself is left off: not at all the first time; then 1, 2, 4 … seconds after its last
    /// start.
    pub fn restart_delay(&self, restarts: u32) -> Duration {
        match restarts {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(20)).min(self.longest_restart_delay),
        }
    }
}
